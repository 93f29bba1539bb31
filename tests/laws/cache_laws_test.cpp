// What cached keys and values must not change, on every golden model with every method, and with the variants.
#include "generate/cached_step.h"
#include "law_model.h"
#include "nn/kv_cache.h"

namespace graft::laws {
namespace {

// Of what a cache gives back.
std::int64_t bytes_in(KvCache& cache, std::int64_t layers) {
  std::size_t bytes = 0;
  const auto count = [&bytes](const at::Tensor& x) { bytes += x.defined() ? x.nbytes() : 0; };
  for (std::int32_t sequence = 0; sequence < static_cast<std::int32_t>(cache.sequences()); ++sequence) {
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      const auto visible = cache.visible(sequence, layer);
      for (const HeadRows* rows : {&visible.first, &visible.second}) {
        count(rows->rows);
        count(rows->scales);
      }
      count(cache.cross(sequence, layer).first);
      count(cache.cross(sequence, layer).second);
    }
  }
  return static_cast<std::int64_t>(bytes);
}

class CacheLaw : public Law {
 protected:
  // A few tokens at a time, of two texts side by side.
  void expect_cached_as_whole(const SiteHooks* adapter, double rounding) {
    const Text whole = text(22), other = text(22);
    const std::int32_t slot = adapter == nullptr ? -1 : 0;
    KvCache cache(model().cache_layers());
    ForwardOptions options;
    if (adapter != nullptr) options.slots = {adapter};
    options.cache = &cache;
    for (int sequence = 0; sequence < 2; ++sequence) cache.add_sequence();
    std::vector<at::Tensor> first, second;
    std::int64_t done = 0;
    for (const std::int64_t count : {5, 1, 4, 1, 1, 7, 1, 2}) {
      StepInput input;
      std::vector<Segment> places;
      for (const Text* each : {&whole, &other}) {
        const Text part{done == 0 ? each->source : std::vector<std::int64_t>(),
                        {each->tokens.begin() + done, each->tokens.begin() + done + count}};
        places.push_back(add(input, part, slot));
        input.decoder.segments.back().cache = static_cast<std::int32_t>(places.size()) - 1;
      }
      const at::Tensor got = logits(model(), input, options);
      first.push_back(rows(got, places[0]));
      second.push_back(rows(got, places[1]));
      done += count;
    }
    EXPECT_LE(relative_gap(at::cat(first), logits(model(), whole, adapter)), rounding);
    EXPECT_LE(relative_gap(at::cat(second), logits(model(), other, adapter)), rounding);
  }
};

TEST_P(CacheLaw, CachedStepsEqualTheWholePass) {
  const at::NoGradGuard no_grad;
  expect_cached_as_whole(nullptr, kRounding);
  for_every_variant([&](const MethodVariant& variant) {
    expect_cached_as_whole(stirred(variant).get(), variant.listed ? kCoarseRounding : kRounding);
  });
}

// graft plan and --memory count on it: heads that share keys, 8 bits, what an encoder–decoder keeps of its encoder.
TEST_P(CacheLaw, WhatIsKeptTakesTheBytesThatAreTold) {
  const at::NoGradGuard no_grad;
  for (const KvFormat format : {KvFormat::Dense, KvFormat::EightBit}) {
    KvCache cache(model().cache_layers(), format);
    ForwardOptions options;
    options.cache = &cache;
    StepInput input;
    KeptTexts texts;
    for (const std::int64_t count : {5, 9}) {
      const Text one = text(count);
      add(input, one);
      input.decoder.segments.back().cache = cache.add_sequence();
      ++texts.count;
      (model().encoder_decoder() ? texts.written : texts.read) += count;
      texts.read += static_cast<std::int64_t>(one.source.size());
    }
    model().forward(input, options);
    EXPECT_EQ(bytes_in(cache, model().cache_layers()), kept_bytes(model(), texts, format));
  }
}

TEST_P(CacheLaw, ACacheSequenceMustBeThereAndBeNamedOnce) {
  StepInput input;
  const Text one = text(3);
  add(input, one);
  input.decoder.segments[0].cache = 0;
  expect_error(Category::InvalidArgument, "ForwardOptions::cache is not set", [&] { model().forward(input); });
  KvCache cache(model().cache_layers());
  ForwardOptions options;
  options.cache = &cache;
  expect_error(Category::InvalidArgument, "names cache sequence 0 of 0", [&] { model().forward(input, options); });
  cache.add_sequence();
  add(input, one);
  input.decoder.segments[1].cache = 0;
  expect_error(Category::InvalidArgument, "a second time", [&] { model().forward(input, options); });
  input.decoder.segments[1].parent = 0;
  expect_error(Category::InvalidArgument, "only a root goes on a cache", [&] { model().forward(input, options); });
}

INSTANTIATE_TEST_SUITE_P(Golden, CacheLaw, ::testing::ValuesIn(models()), title);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(CacheLaw);

}  // namespace
}  // namespace graft::laws
