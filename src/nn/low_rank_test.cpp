// low_rank_sums() is LibTorch's operations one by one, run by run, and goes backward as they do.
#include "nn/low_rank.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <vector>

namespace graft {
namespace {

constexpr std::int64_t kLowRankIn = 40, kLowRankOut = 20;

struct Packing {
  const char* name;
  std::vector<std::int64_t> ranks;  // of the updates
  std::vector<SlotRun> runs;

  std::int64_t rows() const { return runs.back().tokens.begin + runs.back().tokens.length; }
};

const Packing kOne{"one run", {3}, {{{0, 9}, 0}}};
const Packing kOneBesideTheBase{"one run beside rows of none", {3}, {{{0, 2}, -1}, {{2, 6}, 0}, {{8, 1}, -1}}};
const Packing kTwoRuns{"two runs", {2, 5}, {{{0, 4}, 1}, {{4, 5}, 0}}};
const Packing kFive{"five slots, rows of none between",
                    {1, 4, 2, 3, 8},
                    {{{0, 1}, 2}, {{1, 3}, -1}, {{4, 5}, 0}, {{9, 2}, 4}, {{11, 2}, 1}, {{13, 1}, -1}, {{14, 6}, 3}}};
// More rows than are multiplied at a time.
const Packing kAgain{"a slot in several runs, some long",
                     {3, 2},
                     {{{0, 300}, 1}, {{300, 4}, 0}, {{304, 7}, -1}, {{311, 129}, 1}, {{440, 2}, 0}, {{442, 1}, 1}}};

const std::vector<Packing> kSeveral = {kTwoRuns, kFive, kAgain};

std::vector<Packing> packings() {
  std::vector<Packing> all = {kOne, kOneBesideTheBase};
  all.insert(all.end(), kSeveral.begin(), kSeveral.end());
  return all;
}

at::Tensor made(at::IntArrayRef shape, std::uint64_t seed) {
  return at::randn(shape, at::detail::createCPUGenerator(seed));
}

struct LowRankInputs {
  LowRankInputs(const Packing& packing, at::ScalarType dtype) {
    y = made({packing.rows(), kLowRankOut}, 1).to(dtype).requires_grad_(true);
    x = made({packing.rows(), kLowRankIn}, 2).to(dtype).requires_grad_(true);
    above = made({packing.rows(), kLowRankOut}, 3).to(dtype);
    by.runs = packing.runs;
    for (const std::int64_t rank : packing.ranks) {
      const auto seed = static_cast<std::uint64_t>(10 * by.updates.size());
      by.updates.push_back({made({rank, kLowRankIn}, seed + 4).requires_grad_(true),
                            made({kLowRankOut, rank}, seed + 5).requires_grad_(true),
                            0.7 + static_cast<double>(by.updates.size())});
    }
  }

  at::Tensor summed() const { return low_rank_sums(y, x, by); }

  at::Tensor by_hand() const {
    std::vector<at::Tensor> parts;
    for (const auto& run : by.runs) {
      const at::Tensor rows = y.narrow(0, run.tokens.begin, run.tokens.length),
                       read = x.narrow(0, run.tokens.begin, run.tokens.length);
      parts.push_back(rows);
      if (run.slot < 0) continue;
      const LowRankUpdate& update = by.updates[static_cast<std::size_t>(run.slot)];
      const at::Tensor added = at::linear(at::linear(read.to(at::kFloat), update.a), update.b);
      parts.back() = at::add(rows, added, update.scale).to(y.scalar_type());
    }
    return at::cat(parts);
  }

  std::vector<at::Tensor> gradients() const {
    std::vector<at::Tensor> found = {y.grad(), x.grad()};
    for (const auto& update : by.updates) found.insert(found.end(), {update.a.grad(), update.b.grad()});
    return found;
  }

  at::Tensor y, x, above;
  LowRankRuns by;
};

void expect_close(const at::Tensor& got, const at::Tensor& want, double tolerance) {
  const at::Tensor exact = want.to(at::kFloat);
  EXPECT_EQ(got.scalar_type(), want.scalar_type());
  EXPECT_LE((got.to(at::kFloat) - exact).abs().max().item<double>(), tolerance * exact.abs().max().item<double>());
}

TEST(LowRankSums, AreTheOperationsOneByOne) {
  for (const auto& packing : packings()) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      SCOPED_TRACE(packing.name);
      const double tolerance = dtype == at::kFloat ? 1e-5 : 1e-2;
      const LowRankInputs mine(packing, dtype), theirs(packing, dtype);
      const at::Tensor got = mine.summed(), want = theirs.by_hand();
      expect_close(got, want, tolerance);
      got.backward(mine.above);
      want.backward(theirs.above);
      const auto gradients = mine.gradients(), wanted = theirs.gradients();
      for (std::size_t i = 0; i < wanted.size(); ++i) {
        ASSERT_TRUE(gradients[i].defined()) << i;
        expect_close(gradients[i], wanted[i], tolerance);
      }
    }
  }
}

TEST(LowRankSums, RowsOfNoUpdateKeepTheirBits) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const LowRankInputs in(kFive, dtype);
    const at::Tensor got = in.summed();
    got.backward(in.above);
    for (const auto& run : kFive.runs) {
      const auto same = [&](const at::Tensor& one, const at::Tensor& other) {
        return at::equal(one.narrow(0, run.tokens.begin, run.tokens.length),
                         other.narrow(0, run.tokens.begin, run.tokens.length));
      };
      EXPECT_EQ(same(got, in.y), run.slot < 0);
      EXPECT_EQ(same(in.x.grad(), at::zeros_like(in.x)), run.slot < 0);
    }
    EXPECT_TRUE(at::equal(in.y.grad(), in.above));
  }
}

TEST(LowRankSums, OfOneRunAreThoseOfTheRunAlone) {
  const LowRankInputs in(kAgain, at::kBFloat16);
  const at::Tensor all = in.summed();
  for (const auto& run : kAgain.runs) {
    if (run.slot < 0) continue;
    const auto rows = [&](const at::Tensor& of) { return of.narrow(0, run.tokens.begin, run.tokens.length); };
    expect_close(rows(all), low_rank_sum(rows(in.y), rows(in.x), in.by.updates[static_cast<std::size_t>(run.slot)]),
                 1e-2);
  }
}

TEST(LowRankSums, OfSeveralRunsHaveTheSameBitsForAnyNumberOfThreads) {
  const int before = at::get_num_threads();
  for (const auto& packing : kSeveral) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      SCOPED_TRACE(packing.name);
      std::vector<std::vector<at::Tensor>> results;
      for (const int threads : {1, 2, 3}) {
        at::set_num_threads(threads);
        const LowRankInputs in(packing, dtype);
        const at::Tensor sum = in.summed();
        sum.backward(in.above);
        results.push_back(in.gradients());
        results.back().push_back(sum.detach());
      }
      at::set_num_threads(before);
      for (const auto& result : results) {
        for (std::size_t i = 0; i < result.size(); ++i) EXPECT_TRUE(at::equal(result[i], results.front()[i])) << i;
      }
    }
  }
}

// Other threads know nothing of the modes of the one that asks.
TEST(LowRankSums, AreTheSameWithoutGradientsAndInInferenceMode) {
  const int before = at::get_num_threads();
  at::set_num_threads(2);
  for (const auto& packing : packings()) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      SCOPED_TRACE(packing.name);
      const LowRankInputs in(packing, dtype);
      const at::Tensor want = in.summed().detach();
      {
        const at::NoGradGuard no_grad;
        const at::Tensor got = in.summed();
        EXPECT_FALSE(got.requires_grad());
        EXPECT_TRUE(at::equal(got, want));
      }
      const c10::InferenceMode inference;
      const at::Tensor got = in.summed();
      EXPECT_TRUE(got.is_inference());
      EXPECT_TRUE(at::equal(got, want));
      const at::Tensor again = low_rank_sums(got, in.x, in.by);
      EXPECT_FALSE(at::equal(again, got));
    }
  }
  at::set_num_threads(before);
}

TEST(LowRankSums, FactorsMayLieInMemoryAnyhow) {
  const auto turned = [](const at::Tensor& x) { return x.t().contiguous().t(); };
  const auto cut = [](const at::Tensor& x) { return at::cat({x, x}, 1).narrow(1, 0, x.size(1)); };
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const LowRankInputs in(kFive, dtype);
    const at::Tensor want = in.summed();
    want.backward(in.above);
    for (const bool turns : {true, false}) {
      const LowRankInputs other(kFive, dtype);
      LowRankRuns by = other.by;
      for (auto& update : by.updates)
        update = {turns ? turned(update.a) : cut(update.a), turns ? turned(update.b) : cut(update.b), update.scale};
      const at::Tensor got = low_rank_sums(other.y, other.x, by);
      EXPECT_TRUE(at::equal(got, want)) << turns << dtype;
      got.backward(other.above);
      const auto gradients = other.gradients(), wanted = in.gradients();
      for (std::size_t i = 0; i < wanted.size(); ++i) EXPECT_TRUE(at::equal(gradients[i], wanted[i])) << i << dtype;
    }
  }
}

// What a method trains may be all that is trained: those of the first layer.
TEST(LowRankSums, WhatTheyAreAddedToMayBeGiven) {
  for (const auto& packing : packings()) {
    SCOPED_TRACE(packing.name);
    const LowRankInputs in(packing, at::kBFloat16), all(packing, at::kBFloat16);
    const at::Tensor y = in.y.detach(), x = in.x.detach(), sum = low_rank_sums(y, x, in.by);
    ASSERT_TRUE(sum.requires_grad());
    sum.backward(in.above);
    all.summed().backward(all.above);
    EXPECT_FALSE(y.grad().defined() || x.grad().defined());
    const auto some = in.gradients(), every = all.gradients();
    for (std::size_t i = 2; i < every.size(); ++i) EXPECT_TRUE(at::equal(some[i], every[i])) << i;
    LowRankRuns given = in.by;
    for (auto& update : given.updates) update = {update.a.detach(), update.b.detach(), update.scale};
    EXPECT_FALSE(low_rank_sums(y, x, given).requires_grad());
  }
}

TEST(LowRankSums, SoMaySomeOfTheFactors) {
  const LowRankInputs in(kFive, at::kFloat), all(kFive, at::kFloat);
  LowRankRuns some = in.by;
  some.updates[0].a = some.updates[0].a.detach();
  some.updates[2].b = some.updates[2].b.detach();
  some.updates[3] = {some.updates[3].a.detach(), some.updates[3].b.detach(), some.updates[3].scale};
  low_rank_sums(in.y, in.x, some).backward(in.above);
  all.summed().backward(all.above);
  const auto got = in.gradients(), want = all.gradients();
  for (std::size_t i = 0; i < want.size(); ++i) {
    const bool given = i == 2 || i == 7 || i == 8 || i == 9;  // behind y and x, a and b of each
    ASSERT_EQ(got[i].defined(), !given) << i;
    EXPECT_TRUE(given || at::equal(got[i], want[i])) << i;
  }
}

}  // namespace
}  // namespace graft
