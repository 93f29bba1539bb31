// Attention goes backward as LibTorch's own operations do.
#include "nn/attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "nn/attention_mask.h"
#include "nn/kv_cache.h"

namespace graft {
namespace {

constexpr float kHidden = -std::numeric_limits<float>::infinity();

struct AttentionInputs {
  AttentionInputs(std::int64_t tokens, std::int64_t heads, std::int64_t groups, at::ScalarType dtype,
                  std::int64_t dim = 8) {
    const auto made = [&](std::int64_t count, std::uint64_t seed) {
      return at::randn({tokens, count, dim}, at::detail::createCPUGenerator(seed)).to(dtype).requires_grad_(true);
    };
    q = made(heads, 1), k = made(groups, 2), v = made(groups, 3);
  }
  at::Tensor q, k, v;
};

// [Tq, Tk] 0 or -inf, key by key as sight.h says it.
at::Tensor written_out(const Sight& sight, std::int64_t queries, std::int64_t keys) {
  if (!sight.ordered) return at::zeros({queries, keys});
  at::Tensor mask = at::full({queries, keys}, kHidden);
  auto cells = mask.accessor<float, 2>();
  for (std::int64_t query = 0; query < queries; ++query) {
    std::vector<TokenRange> ranges = {{0, keys}};
    for (const AttentionPath& path : sight.paths) {
      if (query >= path.queries.begin && query < path.queries.begin + path.queries.length) ranges = path.keys;
    }
    std::vector<std::int64_t> way;
    for (const auto& range : ranges) {
      for (std::int64_t key = range.begin; key < range.begin + range.length; ++key) {
        if (key <= keys - queries + query) way.push_back(key);
      }
    }
    const auto size = static_cast<std::int64_t>(way.size());
    for (std::int64_t i = sight.window > 0 ? std::max<std::int64_t>(0, size - sight.window) : 0; i < size; ++i)
      cells[query][way[static_cast<std::size_t>(i)]] = 0;
  }
  return mask;
}

// Softmax written out, for whole rows of queries and keys.
at::Tensor plain_attention(const AttentionInputs& in, const AttentionCall& call, const at::Tensor& bias, double scale) {
  std::vector<at::Tensor> k, v;
  for (const auto& range : call.keys) {
    k.push_back(in.k.narrow(0, range.begin, range.length));
    v.push_back(in.v.narrow(0, range.begin, range.length));
  }
  const std::int64_t ratio = in.q.size(1) / in.k.size(1);
  const auto heads = [](const at::Tensor& x) { return x.to(at::kFloat).permute({1, 0, 2}); };
  const at::Tensor q = heads(in.q.narrow(0, call.queries.begin, call.queries.length)),
                   keys = heads(at::cat(k)).repeat_interleave(ratio, 0),
                   values = heads(at::cat(v)).repeat_interleave(ratio, 0);
  at::Tensor scores = at::matmul(q, keys.transpose(1, 2)) * scale;
  if (bias.defined()) scores = scores + bias;
  scores = scores + written_out(call.sight, q.size(1), keys.size(1));
  return at::matmul(at::softmax(scores, -1), values).permute({1, 0, 2}).flatten(1);
}

// Two prompts, one of which two choices read behind what they hold themselves.
std::vector<AttentionCall> calls() {
  AttentionCall first, second, choices;
  first.queries = {0, 5};
  first.keys = {{0, 5}};
  first.sight.ordered = true;
  second.queries = {5, 3};
  second.keys = {{5, 3}};
  second.sight.ordered = true;
  choices.queries = {8, 4};
  choices.keys = {{0, 5}, {8, 4}};
  choices.sight.ordered = true;
  choices.sight.paths = {{{0, 2}, {{0, 5}, {5, 2}}}, {{2, 2}, {{0, 5}, {7, 2}}}};
  return {first, second, choices};
}

// A text of several blocks, another that branches behind a part of it, and a third that reads parts of both.
std::vector<AttentionCall> long_calls(std::int64_t window = 0) {
  AttentionCall text, behind, beside;
  text.queries = {0, 300};
  text.keys = {{0, 300}};
  text.sight.ordered = true;
  text.sight.window = window;
  behind.queries = {300, 130};
  behind.keys = {{20, 200}, {300, 130}};
  behind.sight.ordered = true;
  behind.sight.window = window;
  behind.sight.paths = {{{0, 20}, {{0, 7}, {12, 188}, {200, 20}}},
                        {{20, 60}, {{0, 7}, {12, 188}, {200, 20}, {220, 60}}},
                        {{80, 50}, {{0, 7}, {12, 188}, {200, 20}, {280, 50}}}};
  beside.queries = {430, 150};
  beside.keys = {{100, 40}, {300, 50}};
  return {text, behind, beside};
}

std::vector<std::int64_t> blank(std::int64_t count) {
  return std::vector<std::int64_t>(static_cast<std::size_t>(count), 0);
}

// Onto a forest: a prompt, and choices of a few tokens behind it, some of which begin alike.
void add_choices(Forest& forest, std::int64_t prompt, std::int64_t choices) {
  const auto root = forest.add(blank(prompt));
  for (std::int64_t c = 0; c < choices; ++c) {
    const auto beginning = forest.add(blank(1 + c * 5 % 6), root);
    for (std::int64_t end = 0; end < c % 3; ++end) forest.add(blank(1 + end), beginning);
  }
}

std::vector<AttentionCall> calls_of_choices(std::int64_t prompt, std::int64_t choices, std::int64_t window = 0) {
  Forest forest;
  add_choices(forest, prompt, choices);
  PlanOptions how;
  how.window = window;
  const ForestPlan planned = plan(forest, how);
  return window > 0 ? planned.windowed : planned.calls;
}

std::vector<AttentionCall> calls_of_short_texts(std::int64_t count) {
  Forest forest;
  for (std::int64_t t = 0; t < count; ++t) forest.add(blank(1 + t * 3 % 7));
  PlanOptions how;
  how.joins = true;
  return plan(forest, how).calls;
}

std::int64_t tokens_of(const std::vector<AttentionCall>& all) {
  return all.back().queries.begin + all.back().queries.length;
}

void expect_gradients(const std::vector<AttentionCall>& all, std::int64_t heads, std::int64_t groups,
                      at::ScalarType dtype, bool biased, double tolerance, std::int64_t dim = 8) {
  const std::int64_t tokens = tokens_of(all);
  std::vector<at::Tensor> biases;
  for (const auto& call : all) {
    std::int64_t keys = 0;
    for (const auto& range : call.keys) keys += range.length;
    biases.push_back(at::randn({heads, call.queries.length, keys}, at::detail::createCPUGenerator(9)));
  }
  AttentionOptions options;
  options.scale = 0.3;
  if (biased) options.bias = [&](std::size_t c) { return biases[c].to(dtype); };
  AttentionInputs got(tokens, heads, groups, dtype, dim), want(tokens, heads, groups, dtype, dim);
  const at::Tensor above = at::randn({tokens, heads * dim}, at::detail::createCPUGenerator(4));
  const at::Tensor result = attention(got.q, got.k, got.v, all, options);
  std::vector<at::Tensor> parts;
  for (std::size_t c = 0; c < all.size(); ++c)
    parts.push_back(
        plain_attention(want, all[c], biased ? biases[c].to(dtype).to(at::kFloat) : at::Tensor(), options.scale));
  const at::Tensor reference = at::cat(parts);
  EXPECT_LE((result.to(at::kFloat) - reference).abs().max().item<double>(), tolerance);
  result.backward(above.to(dtype));
  reference.backward(above);
  for (const auto& [a, b] : {std::pair{got.q, want.q}, {got.k, want.k}, {got.v, want.v}}) {
    const at::Tensor exact = b.grad().to(at::kFloat);
    EXPECT_LE((a.grad().to(at::kFloat) - exact).abs().max().item<double>(),
              tolerance * std::max(0.1, exact.abs().max().item<double>()));  // with a window of 1 it is 0
  }
}

TEST(Attention, GoesBackwardToQueriesKeysAndValues) {
  for (const auto& [heads, groups] : {std::pair{1, 1}, {4, 4}, {6, 2}, {3, 1}}) {
    for (const bool biased : {false, true}) {
      SCOPED_TRACE(fmt::format("{} heads, {} groups{}", heads, groups, biased ? ", biased" : ""));
      expect_gradients(calls(), heads, groups, at::kFloat, biased, 1e-5);
      expect_gradients(calls(), heads, groups, at::kBFloat16, biased, 3e-2);
    }
  }
}

TEST(Attention, LongTextsGoBackwardBlockByBlock) {
  for (const auto& [heads, groups] : {std::pair{6, 1}, {4, 2}, {2, 2}}) {
    for (const bool biased : {false, true}) {
      SCOPED_TRACE(fmt::format("{} heads, {} groups{}", heads, groups, biased ? ", biased" : ""));
      expect_gradients(long_calls(), heads, groups, at::kFloat, biased, 1e-5);
      expect_gradients(long_calls(), heads, groups, at::kBFloat16, biased, 3e-2);
    }
  }
}

// In both types, and a bias is taken where heads share keys and where they do not.
void expect_all_gradients(const std::vector<AttentionCall>& all) {
  for (const auto& [heads, groups] : {std::pair{9, 3}, {2, 2}, {4, 1}}) {
    for (const bool biased : {false, true}) {
      SCOPED_TRACE(fmt::format("{} heads, {} groups{}", heads, groups, biased ? ", biased" : ""));
      expect_gradients(all, heads, groups, at::kFloat, biased, 1e-5);
      expect_gradients(all, heads, groups, at::kBFloat16, biased, 3e-2);
    }
  }
}

// Texts behind tokens that they share.
std::vector<AttentionCall> texts_behind(std::int64_t front, const std::vector<std::int64_t>& lengths) {
  std::vector<AttentionCall> calls(1);
  calls[0].queries = {0, front};
  calls[0].keys = {{0, front}};
  calls[0].sight.ordered = true;
  std::int64_t begin = front;
  for (const std::int64_t length : lengths) {
    AttentionCall& text = calls.emplace_back();
    text.queries = {begin, length};
    text.keys = {{0, front}, {begin, length}};
    text.sight.ordered = true;
    begin += length;
  }
  return calls;
}

TEST(Attention, WhatTextsShareGetsTheGradientsOfAll) {
  expect_all_gradients(texts_behind(10, {1, 57, 130, 64}));
}

// Windows that end within a block, that reach over a branch, and that none of these texts fills.
TEST(Attention, WindowedTextsGoBackwardBlockByBlock) {
  for (const std::int64_t window : {1, 37, 90, 1000}) {
    for (const bool biased : {false, true}) {
      SCOPED_TRACE(fmt::format("window {}{}", window, biased ? ", biased" : ""));
      expect_gradients(long_calls(window), 6, 2, at::kFloat, biased, 1e-5);
      expect_gradients(long_calls(window), 2, 2, at::kBFloat16, biased, 3e-2);
    }
  }
}

// With a cap, which is so high here that it changes nothing, it is LibTorch's operation that computes.
TEST(Attention, ByTheLibrarySeesTheSameKeys) {
  const at::NoGradGuard no_grad;
  for (const std::int64_t window : {0, 1, 37}) {
    const AttentionInputs in(580, 4, 2, at::kFloat);
    AttentionOptions capped;
    capped.softcap = 1e4;
    const at::Tensor want = attention(in.q, in.k, in.v, long_calls(window), {});
    for (const bool shared : {false, true}) {
      auto all = long_calls(window);
      for (AttentionCall& call : all) call.masks = shared ? std::make_shared<SharedMasks>() : nullptr;
      for (int layer = 0; layer < 2; ++layer)
        EXPECT_TRUE(at::allclose(attention(in.q, in.k, in.v, all, capped), want, 1e-3, 1e-4)) << window << shared;
    }
  }
}

TEST(Attention, ChoicesBehindAPromptGoBackward) {
  const auto all = calls_of_choices(40, 77);
  ASSERT_EQ(all.size(), 1u);
  ASSERT_FALSE(all[0].sight.paths.empty());
  expect_all_gradients(all);
  expect_gradients(all, 9, 3, at::kBFloat16, false, 3e-2, 64);
  expect_all_gradients(calls_of_choices(1, 5));
  expect_all_gradients(calls_of_choices(33, 1));
}

TEST(Attention, ChoicesBehindALongPromptGoBackward) {
  const auto all = calls_of_choices(700, 20);
  ASSERT_EQ(all.size(), 2u) << "the prompt, and its choices together";
  expect_gradients(all, 3, 1, at::kFloat, false, 1e-5);
  expect_gradients(all, 3, 1, at::kBFloat16, true, 3e-2);
}

// Windows of which some end within a choice, some in the prompt, and some before it for all but the longest.
TEST(Attention, ChoicesWithAWindowGoBackward) {
  for (const std::int64_t window : {1, 3, 7, 42}) {
    SCOPED_TRACE(window);
    const auto all = calls_of_choices(40, 20, window);
    ASSERT_EQ(all.size(), 1u);
    ASSERT_EQ(all[0].sight.window, window);
    expect_all_gradients(all);
  }
}

TEST(Attention, ShortTextsInOneProductGoBackward) {
  const auto all = calls_of_short_texts(60);
  ASSERT_LT(all.size(), 5u);
  expect_all_gradients(all);
  expect_gradients(all, 2, 2, at::kBFloat16, true, 3e-2, 64);
}

void expect_same_bits_of_threads(const std::vector<AttentionCall>& all) {
  const int before = at::get_num_threads();
  const at::Tensor above = at::randn({tokens_of(all), 48}, at::detail::createCPUGenerator(4));
  std::vector<AttentionInputs> runs;
  std::vector<at::Tensor> results;
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    runs.emplace_back(tokens_of(all), 6, 2, at::kFloat);
    results.push_back(attention(runs.back().q, runs.back().k, runs.back().v, all, {}));
    results.back().backward(above);
  }
  at::set_num_threads(before);
  for (std::size_t run = 0; run < runs.size(); ++run) {
    EXPECT_TRUE(at::equal(results[run], results[0]));
    EXPECT_TRUE(at::equal(runs[run].q.grad(), runs[0].q.grad()));
    EXPECT_TRUE(at::equal(runs[run].k.grad(), runs[0].k.grad()));
    EXPECT_TRUE(at::equal(runs[run].v.grad(), runs[0].v.grad()));
  }
}

TEST(Attention, GivesTheSameBitsForAnyNumberOfThreads) {
  expect_same_bits_of_threads(long_calls(90));
  expect_same_bits_of_threads(calls_of_choices(40, 77));
}

void expect_bits_of_their_own(const std::vector<AttentionCall>& all) {
  const at::NoGradGuard no_grad;
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const AttentionInputs in(tokens_of(all), 6, 2, dtype);
    const at::Tensor together = attention(in.q, in.k, in.v, all, {});
    for (const AttentionCall& call : all) {
      const auto rows = [&](const at::Tensor& x) { return x.narrow(0, call.queries.begin, call.queries.length); };
      EXPECT_TRUE(at::equal(rows(attention(in.q, in.k, in.v, {call}, {})), rows(together)));
      const at::Tensor want = plain_attention(in, call, at::Tensor(), 1);
      EXPECT_LE((rows(together).to(at::kFloat) - want).abs().max().item<double>(), dtype == at::kFloat ? 1e-5 : 3e-2);
    }
  }
}

TEST(Attention, WithoutGradientsTheBitsOfACallDoNotDependOnTheOthers) {
  expect_bits_of_their_own(long_calls());
  Forest forest;
  for (const std::int64_t prompt : {40, 7, 130}) add_choices(forest, prompt, 30);
  const auto trees = plan(forest, {}).calls;
  ASSERT_EQ(trees.size(), 3u);
  expect_bits_of_their_own(trees);
}

// A text of nine tokens, read by parts of these lengths through a cache.
at::Tensor by_parts(const std::vector<std::int64_t>& lengths, at::ScalarType dtype, KvFormat format,
                    std::int64_t window, bool biased) {
  const auto random = [&](at::IntArrayRef shape, std::uint64_t seed) {
    return at::randn(shape, at::detail::createCPUGenerator(seed)).to(dtype);
  };
  const at::Tensor q = random({9, 4, 8}, 1), k = random({9, 2, 8}, 2), v = random({9, 2, 8}, 3),
                   bias = random({4, 9, 9}, 4);
  KvCache cache(1, format);
  cache.add_sequence();
  std::vector<at::Tensor> read;
  std::int64_t done = 0;
  for (const auto length : lengths) {
    Forest forest;
    forest.add(std::vector<std::int64_t>(static_cast<std::size_t>(length), 0));
    forest.segments.front().cache = 0;
    PlanOptions how;
    how.window = window;
    how.cache = &cache;
    const ForestPlan planned = plan(forest, how);
    AttentionOptions options;
    options.scale = 0.3;
    options.cache = &cache;
    if (biased) options.bias = [&](std::size_t) { return bias.narrow(1, done, length).narrow(2, 0, done + length); };
    read.push_back(attention(q.narrow(0, done, length), k.narrow(0, done, length), v.narrow(0, done, length),
                             window > 0 ? planned.windowed : planned.calls, options));
    cache.advance(0, length);
    done += length;
  }
  return at::cat(read);
}

void expect_as_if_one_by_one(at::ScalarType dtype, KvFormat format) {
  for (const std::int64_t window : {0, 3, 6}) {
    for (const bool biased : {false, true}) {
      SCOPED_TRACE(fmt::format("{}, window {}{}", toString(dtype), window, biased ? ", biased" : ""));
      const at::Tensor together = by_parts({4, 5}, dtype, format, window, biased);
      EXPECT_TRUE(at::equal(together, by_parts({4, 1, 1, 1, 1, 1}, dtype, format, window, biased)));
      EXPECT_TRUE(at::equal(together, by_parts({4, 2, 3}, dtype, format, window, biased)));
      const at::Tensor whole = by_parts({9}, dtype, format, window, biased).to(at::kFloat);
      EXPECT_LE((together.to(at::kFloat) - whole).abs().max().item<double>(), dtype == at::kFloat ? 1e-5 : 5e-2);
    }
  }
}

TEST(Attention, AFewTokensBehindACacheAreReadAsIfOneByOne) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    expect_as_if_one_by_one(dtype, KvFormat::Dense);
    expect_as_if_one_by_one(dtype, KvFormat::EightBit);
  }
}

// More than are taken one by one.
TEST(Attention, ManyTokensBehindACacheSeeItAndTheirOwn) {
  const at::NoGradGuard no_grad;
  for (const std::int64_t window : {0, 5}) {
    const AttentionInputs in(60, 4, 2, at::kFloat);
    KvCache cache(1);
    cache.add_sequence();
    std::vector<at::Tensor> read;
    for (const std::int64_t begin : {0, 30}) {
      Forest forest;
      forest.add(std::vector<std::int64_t>(30, 0));
      forest.segments.front().cache = 0;
      PlanOptions how;
      how.window = window;
      how.cache = &cache;
      const ForestPlan planned = plan(forest, how);
      AttentionOptions options;
      options.cache = &cache;
      const auto part = [&](const at::Tensor& x) { return x.narrow(0, begin, 30); };
      read.push_back(
          attention(part(in.q), part(in.k), part(in.v), window > 0 ? planned.windowed : planned.calls, options));
      cache.advance(0, 30);
    }
    AttentionCall whole;
    whole.queries = {0, 60};
    whole.keys = {{0, 60}};
    whole.sight.ordered = true;
    whole.sight.window = window;
    EXPECT_TRUE(at::allclose(at::cat(read), plain_attention(in, whole, at::Tensor(), 1), 1e-5, 1e-5)) << window;
  }
}

TEST(Attention, ATrainedBiasHasItsGradient) {
  AttentionInputs in(12, 2, 2, at::kFloat);
  const auto all = calls();
  const at::Tensor bias = at::randn({2, 5, 5}, at::detail::createCPUGenerator(9)).requires_grad_(true);
  AttentionOptions options;
  options.bias = [&](std::size_t) { return bias; };
  attention(in.q, in.k, in.v, {all[0]}, options).sum().backward();
  ASSERT_TRUE(bias.grad().defined());
  EXPECT_GT(bias.grad().abs().max().item<double>(), 0);
}

// Values are trained in the first layer, whose queries nothing trained is before.
TEST(Attention, TextsOfOneTokenGoBackwardToValuesWhereQueriesAreGiven) {
  AttentionInputs in(3, 2, 1, at::kFloat);
  std::vector<AttentionCall> all(3);
  for (std::int64_t t = 0; t < 3; ++t) {
    AttentionCall& call = all[static_cast<std::size_t>(t)];
    call.queries = {t, 1};
    call.keys = {{t, 1}};
    call.sight.ordered = true;
  }
  const at::Tensor result = attention(in.q.detach(), in.k, in.v, all, {});
  ASSERT_TRUE(result.requires_grad());
  result.sum().backward();
  ASSERT_TRUE(in.v.grad().defined());
  EXPECT_TRUE(at::allclose(in.v.grad(), at::full({3, 1, 8}, 2.0))) << "two heads read each value";
}

}  // namespace
}  // namespace graft
