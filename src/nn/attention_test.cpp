// Attention goes backward as LibTorch's own operations do.
#include "nn/attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <limits>
#include <utility>
#include <vector>

#include "nn/kv_cache.h"

namespace graft {
namespace {

constexpr float kHidden = -std::numeric_limits<float>::infinity();

struct Inputs {
  Inputs(std::int64_t tokens, std::int64_t heads, std::int64_t groups, at::ScalarType dtype, std::int64_t dim = 8) {
    const auto made = [&](std::int64_t count, std::uint64_t seed) {
      return at::randn({tokens, count, dim}, at::detail::createCPUGenerator(seed)).to(dtype).requires_grad_(true);
    };
    q = made(heads, 1), k = made(groups, 2), v = made(groups, 3);
  }
  at::Tensor q, k, v;
};

// Softmax written out, for whole rows of queries and keys.
at::Tensor plain(const Inputs& in, const AttentionCall& call, const at::Tensor& bias, double scale) {
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
  if (call.mask.defined()) scores = scores + call.mask;
  if (call.causal || call.ordered) {
    const std::int64_t queries = q.size(1), count = keys.size(1);
    scores = scores + at::full({queries, count}, kHidden).triu(count - queries + 1);
  }
  return at::matmul(at::softmax(scores, -1), values).permute({1, 0, 2}).flatten(1);
}

// Two prompts, one of which two choices read behind what they hold themselves.
std::vector<AttentionCall> calls() {
  AttentionCall first, second, choices;
  first.queries = {0, 5};
  first.keys = {{0, 5}};
  first.causal = true;
  second.queries = {5, 3};
  second.keys = {{5, 3}};
  second.causal = true;
  choices.queries = {8, 4};
  choices.keys = {{0, 5}, {8, 4}};
  choices.mask = at::zeros({4, 9});
  for (const auto& [query, key] :
       {std::pair{0, 6}, {0, 7}, {0, 8}, {1, 7}, {1, 8}, {2, 5}, {2, 6}, {2, 8}, {3, 5}, {3, 6}})
    choices.mask[query][key] = kHidden;
  return {first, second, choices};
}

// A text of several blocks, another that reads a part of it and itself, and a third that reads parts of both.
std::vector<AttentionCall> long_calls() {
  AttentionCall text, behind, beside;
  text.queries = {0, 300};
  text.keys = {{0, 300}};
  text.causal = true;
  behind.queries = {300, 130};
  behind.keys = {{20, 200}, {300, 130}};
  behind.ordered = true;
  behind.mask = at::full({130, 330}, kHidden).triu(201);
  behind.mask.narrow(1, 7, 5).fill_(kHidden);
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
  Inputs got(tokens, heads, groups, dtype, dim), want(tokens, heads, groups, dtype, dim);
  const at::Tensor above = at::randn({tokens, heads * dim}, at::detail::createCPUGenerator(4));
  const at::Tensor result = attention(got.q, got.k, got.v, all, options);
  std::vector<at::Tensor> parts;
  for (std::size_t c = 0; c < all.size(); ++c)
    parts.push_back(plain(want, all[c], biased ? biases[c].to(dtype).to(at::kFloat) : at::Tensor(), options.scale));
  const at::Tensor reference = at::cat(parts);
  EXPECT_LE((result.to(at::kFloat) - reference).abs().max().item<double>(), tolerance);
  result.backward(above.to(dtype));
  reference.backward(above);
  for (const auto& [a, b] : {std::pair{got.q, want.q}, {got.k, want.k}, {got.v, want.v}}) {
    const at::Tensor exact = b.grad().to(at::kFloat);
    EXPECT_LE((a.grad().to(at::kFloat) - exact).abs().max().item<double>(),
              tolerance * exact.abs().max().item<double>());
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

TEST(Attention, ChoicesBehindAPromptGoBackward) {
  const auto all = calls_of_choices(40, 77);
  ASSERT_EQ(all.size(), 1u);
  ASSERT_FALSE(all[0].until.empty());
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

TEST(Attention, ChoicesWithAWindowGoBackward) {
  expect_all_gradients(calls_of_choices(40, 20, 7));
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
  std::vector<Inputs> runs;
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
  expect_same_bits_of_threads(long_calls());
  expect_same_bits_of_threads(calls_of_choices(40, 77));
}

void expect_bits_of_their_own(const std::vector<AttentionCall>& all) {
  const at::NoGradGuard no_grad;
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const Inputs in(tokens_of(all), 6, 2, dtype);
    const at::Tensor together = attention(in.q, in.k, in.v, all, {});
    for (const AttentionCall& call : all) {
      const auto rows = [&](const at::Tensor& x) { return x.narrow(0, call.queries.begin, call.queries.length); };
      EXPECT_TRUE(at::equal(rows(attention(in.q, in.k, in.v, {call}, {})), rows(together)));
      const at::Tensor want = plain(in, call, at::Tensor(), 1);
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
    how.dtype = dtype;
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
    const Inputs in(60, 4, 2, at::kFloat);
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
    whole.causal = true;
    if (window > 0) whole.mask = at::full({60, 60}, kHidden).tril(-window);
    EXPECT_TRUE(at::allclose(at::cat(read), plain(in, whole, at::Tensor(), 1), 1e-5, 1e-5)) << window;
  }
}

TEST(Attention, ATrainedBiasHasItsGradient) {
  Inputs in(12, 2, 2, at::kFloat);
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
  Inputs in(3, 2, 1, at::kFloat);
  std::vector<AttentionCall> all(3);
  for (std::int64_t t = 0; t < 3; ++t) {
    AttentionCall& call = all[static_cast<std::size_t>(t)];
    call.queries = {t, 1};
    call.keys = {{t, 1}};
    call.causal = true;
  }
  const at::Tensor result = attention(in.q.detach(), in.k, in.v, all, {});
  ASSERT_TRUE(result.requires_grad());
  result.sum().backward();
  ASSERT_TRUE(in.v.grad().defined());
  EXPECT_TRUE(at::allclose(in.v.grad(), at::full({3, 1, 8}, 2.0))) << "two heads read each value";
}

}  // namespace
}  // namespace graft
