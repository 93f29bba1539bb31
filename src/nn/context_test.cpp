// Which of an adapter's words a map's output is made by: what several adapters do that can be done at once is.
#include "nn/context.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <optional>
#include <vector>

#include "checkpoint/fixture_test.h"
#include "nn/tensor_file.h"

namespace graft {
namespace {

constexpr Site kAdapted{Stack::Decoder, 0, Role::Q}, kOther{Stack::Decoder, 0, Role::K};
constexpr std::int64_t kFeatures = 6;

at::Tensor numbers(at::IntArrayRef shape, std::uint64_t seed) {
  return at::randn(shape, at::detail::createCPUGenerator(seed));
}

class Acting : public SiteHooks {
 public:
  bool acts_on(const Site& site) const override { return site == kAdapted; }
};

// Counts how often it is asked for the output itself.
class Adding : public Acting {
 public:
  explicit Adding(std::int64_t rank)
      : update_{numbers({rank, kFeatures}, 1), numbers({kFeatures, rank}, static_cast<std::uint64_t>(rank)), 0.5} {}

  std::optional<LowRankUpdate> low_rank(const Site&) const override { return update_; }
  at::Tensor output(const Site&, const at::Tensor& x, const at::Tensor& y) const override {
    ++asked;
    return low_rank_sum(y, x, update_);
  }

  mutable int asked = 0;

 private:
  LowRankUpdate update_;
};

class Scaling : public Acting {
 public:
  std::optional<at::Tensor> output_scale(const Site&) const override { return numbers({kFeatures}, 9); }
};

class Doubling : public Acting {
 public:
  at::Tensor output(const Site&, const at::Tensor&, const at::Tensor& y) const override { return y * 2; }
};

// A vector that training changes; counts how often it is asked for.
class Trained : public Acting {
 public:
  explicit Trained(std::uint64_t seed) : scale(numbers({kFeatures}, seed).requires_grad_(true)) {}
  std::optional<at::Tensor> output_scale(const Site&) const override {
    ++asked;
    return scale;
  }

  at::Tensor scale;
  mutable int asked = 0;
};

class Behind : public Acting {
 public:
  bool changes_sublayer(const Site& last) const override { return last == kAdapted; }
  at::Tensor sublayer(const Site&, const at::Tensor& x, const at::Tensor& y) const override {
    ++asked;
    return x + y;
  }

  mutable int asked = 0;
};

class ContextOfManySlots : public ::testing::Test {
 protected:
  /// Slot s has the rows [3 s, 3 s + 3) of x and y, the base what is behind them.
  Context context(const std::vector<const SiteHooks*>& slots, Activations activations = Activations::Exact) const {
    ForestPlan plan;
    for (std::size_t slot = 0; slot < slots.size(); ++slot)
      plan.runs.push_back({{static_cast<std::int64_t>(3 * slot), 3}, static_cast<std::int32_t>(slot)});
    const auto taken = static_cast<std::int64_t>(3 * slots.size());
    plan.runs.push_back({{taken, x_.size(0) - taken}, -1});
    return Context(none_, slots, plan, nullptr, activations);
  }

  at::Tensor adapted(const std::vector<const SiteHooks*>& slots, Activations activations = Activations::Exact,
                     const Site& site = kAdapted) const {
    return context(slots, activations).adapt_output(site, x_, y_);
  }

  at::Tensor rows_of_slot(const at::Tensor& of, std::int64_t slot) const { return of.narrow(0, 3 * slot, 3); }

  void expect_each_alone(const at::Tensor& all, const std::vector<const SiteHooks*>& slots) const {
    for (std::size_t slot = 0; slot < slots.size(); ++slot) {
      const auto rows = [&](const at::Tensor& of) { return of.narrow(0, static_cast<std::int64_t>(3 * slot), 3); };
      const at::Tensor want = adapted_output(*slots[slot], kAdapted, rows(x_), rows(y_));
      EXPECT_TRUE(at::allclose(rows(all), want, 1e-5, 1e-5)) << "slot " << slot;
      EXPECT_FALSE(at::allclose(rows(all), rows(y_), 1e-2, 1e-2)) << "slot " << slot;
    }
    const auto behind = [&](const at::Tensor& of) { return of.slice(0, static_cast<std::int64_t>(3 * slots.size())); };
    EXPECT_TRUE(at::equal(behind(all), behind(y_)));
  }

  ParameterTable none_;
  Adding small_{1}, large_{4};
  Scaling scaling_;
  Doubling doubling_;
  at::Tensor x_ = numbers({14, kFeatures}, 7), y_ = numbers({14, kFeatures}, 8);
};

TEST_F(ContextOfManySlots, UpdatesOfLowRankAreAddedAtOnce) {
  const std::vector<const SiteHooks*> slots = {&small_, &large_, &small_};
  const at::Tensor all = adapted(slots);
  EXPECT_EQ(small_.asked + large_.asked, 0);
  expect_each_alone(all, slots);
}

TEST_F(ContextOfManySlots, AlsoBesideRowsThatAreScaled) {
  const std::vector<const SiteHooks*> slots = {&scaling_, &small_, &scaling_, &large_};
  const at::Tensor all = adapted(slots);
  EXPECT_EQ(small_.asked + large_.asked, 0);
  expect_each_alone(all, slots);
}

TEST_F(ContextOfManySlots, NotBesideAnAdapterThatDoesSomethingElse) {
  const std::vector<const SiteHooks*> slots = {&small_, &doubling_, &scaling_, &large_};
  const at::Tensor all = adapted(slots);
  EXPECT_EQ(small_.asked, 1);
  EXPECT_EQ(large_.asked, 1);
  expect_each_alone(all, slots);
}

// Their products would have other bits beside other rows.
TEST_F(ContextOfManySlots, NorWhereBitsAreARowsOwn) {
  const std::vector<const SiteHooks*> slots = {&small_, &large_};
  const at::Tensor all = adapted(slots, Activations::BatchInvariant);
  EXPECT_EQ(small_.asked, 1);
  EXPECT_EQ(large_.asked, 1);
  expect_each_alone(all, slots);
}

TEST_F(ContextOfManySlots, NothingIsDoneWhereNoneActs) {
  EXPECT_TRUE(adapted({&small_, &scaling_}, Activations::Exact, kOther).is_same(y_));
}

TEST_F(ContextOfManySlots, ASlotIsAskedOnceForAMapHoweverManyRunsItHas) {
  const Trained first(1), second(2);
  ForestPlan plan;
  plan.runs = {{{0, 3}, 1}, {{3, 3}, 0}, {{6, 2}, -1}, {{8, 3}, 1}, {{11, 3}, 0}};
  const at::Tensor all = Context(none_, {&first, &second}, plan).adapt_output(kAdapted, x_, y_);
  EXPECT_EQ(first.asked, 1);
  EXPECT_EQ(second.asked, 1);
  for (const SlotRun& run : plan.runs) {
    const auto rows = [&](const at::Tensor& of) { return of.narrow(0, run.tokens.begin, run.tokens.length); };
    const at::Tensor want = run.slot < 0 ? rows(y_) : rows(y_) * (run.slot == 0 ? first : second).scale;
    EXPECT_TRUE(at::equal(rows(all), want)) << run.tokens.begin;
  }
}

TEST_F(ContextOfManySlots, AChangedVectorIsTakenAsItIsNow) {
  const Trained first(1), second(2);
  const at::Tensor before = adapted({&first, &second});
  before.sum().backward();
  EXPECT_TRUE(first.scale.grad().defined() && second.scale.grad().defined());
  {
    const at::NoGradGuard no_grad;
    at::Tensor(first.scale).mul_(2);
  }
  const at::Tensor after = adapted({&first, &second}), swapped = adapted({&second, &first});
  EXPECT_TRUE(at::equal(rows_of_slot(after, 0), rows_of_slot(before, 0) * 2));
  EXPECT_TRUE(at::equal(rows_of_slot(after, 1), rows_of_slot(before, 1)));
  EXPECT_TRUE(at::equal(rows_of_slot(swapped, 0), rows_of_slot(y_, 0) * second.scale));
  EXPECT_TRUE(at::equal(rows_of_slot(swapped, 1), rows_of_slot(y_, 1) * first.scale));
}

// Cut into the runs of many slots it would be a copy, and backward a tensor of zeros for each of them.
TEST_F(ContextOfManySlots, TheOutputOfASublayerIsCutForThoseAloneThatChangeIt) {
  EXPECT_TRUE(context({&scaling_, &small_, &doubling_}).sublayer(kAdapted, x_, y_).is_same(y_));
  Behind behind;
  EXPECT_TRUE(context({&scaling_, &behind}).sublayer(kOther, x_, y_).is_same(y_));
  for (const auto activations : {Activations::Exact, Activations::BatchInvariant}) {
    const at::Tensor all = context({&scaling_, &behind}, activations).sublayer(kAdapted, x_, y_);
    EXPECT_TRUE(at::equal(rows_of_slot(all, 0), rows_of_slot(y_, 0)));
    EXPECT_TRUE(at::equal(rows_of_slot(all, 1), rows_of_slot(x_, 1) + rows_of_slot(y_, 1)));
    EXPECT_TRUE(at::equal(all.slice(0, 6), y_.slice(0, 6)));
  }
  EXPECT_EQ(behind.asked, 2);
}

TEST_F(ContextOfManySlots, GradientsGoThroughBoth) {
  y_.requires_grad_(true);
  x_.requires_grad_(true);
  const at::Tensor above = numbers({14, kFeatures}, 10);
  const std::vector<const SiteHooks*> slots = {&scaling_, &small_, &large_};
  adapted(slots).backward(above);
  const at::Tensor of_x = x_.grad().clone(), of_y = y_.grad().clone();
  x_.mutable_grad() = at::Tensor();
  y_.mutable_grad() = at::Tensor();
  std::vector<at::Tensor> parts;
  for (std::size_t slot = 0; slot < slots.size(); ++slot) {
    const auto first = static_cast<std::int64_t>(3 * slot);
    parts.push_back(adapted_output(*slots[slot], kAdapted, x_.narrow(0, first, 3), y_.narrow(0, first, 3)));
  }
  parts.push_back(y_.slice(0, 9));
  at::cat(parts).backward(above);
  EXPECT_TRUE(at::allclose(of_x, x_.grad(), 1e-5, 1e-5));
  EXPECT_TRUE(at::allclose(of_y, y_.grad(), 1e-5, 1e-5));
}

// Queries, keys and values of one x, the values' map with a bias.
class ContextOfOneX : public ::testing::Test {
 protected:
  static constexpr std::int64_t kWidth = 64, kKeys = 32, kRows = 40;

  void SetUp() override {
    write_tensors(file(), {{"q", numbers({kWidth, kWidth}, 1)},
                           {"k", numbers({kKeys, kWidth}, 2)},
                           {"v", numbers({kKeys, kWidth}, 3)},
                           {"v.bias", numbers({kKeys}, 4)}});
    plan_.runs.push_back({{0, kRows}, 0});
  }

  ParameterTable table(at::ScalarType dtype) const {
    ParameterLoader loader(open_checkpoint(file()), dtype, at::kCPU);
    loader.take_matrix("q", {kWidth, kWidth});
    loader.take_matrix("k", {kKeys, kWidth});
    loader.take_matrix("v", {kKeys, kWidth});
    loader.take("v.bias", {kKeys});
    return loader.finish();
  }

  /// All maps at once are what they are one by one, and so are the gradients of x and of what the adapter trains.
  void expect_each_alone(const SiteHooks& hooks, const std::vector<at::Tensor>& trained) const {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      const ParameterTable parameters = table(dtype);
      const Context context(parameters, {&hooks}, plan_);
      std::vector<at::Tensor> leaves = {numbers({kRows, kWidth}, 5).to(dtype).requires_grad_(true)};
      leaves.insert(leaves.end(), trained.begin(), trained.end());
      const auto together = context.linear(maps_, leaves[0]);
      std::vector<at::Tensor> apart;
      for (const Linear& map : maps_) apart.push_back(context.linear(map, leaves[0]));
      for (std::size_t m = 0; m < maps_.size(); ++m) EXPECT_TRUE(at::equal(together[m], apart[m])) << m << " " << dtype;
      const auto got = gradients(together, leaves), want = gradients(apart, leaves);
      for (std::size_t i = 0; i < want.size(); ++i) {
        ASSERT_TRUE(got[i].defined() && want[i].defined()) << i;
        const double close = dtype == at::kFloat ? 1e-5 : 2e-2, largest = want[i].abs().max().item<double>();
        EXPECT_GT(largest, 0) << i;
        EXPECT_LE((got[i].to(at::kFloat) - want[i].to(at::kFloat)).abs().max().item<double>(), close * largest)
            << i << " " << dtype;
      }
    }
  }

 private:
  std::filesystem::path file() const { return folder_.path() / "model.safetensors"; }

  static std::vector<at::Tensor> gradients(const std::vector<at::Tensor>& outputs,
                                           const std::vector<at::Tensor>& leaves) {
    at::Tensor total = at::zeros({1});
    for (std::size_t m = 0; m < outputs.size(); ++m)
      total = total + (outputs[m].to(at::kFloat) * numbers(outputs[m].sizes(), 20 + m)).sum();
    total.backward();
    std::vector<at::Tensor> taken;
    for (const at::Tensor& leaf : leaves) {
      taken.push_back(leaf.grad());
      leaf.mutable_grad() = at::Tensor();
    }
    return taken;
  }

  testing::Folder folder_;
  ForestPlan plan_;
  std::vector<Linear> maps_ = {
      {{Stack::Decoder, 0, Role::Q}, 0}, {{Stack::Decoder, 0, Role::K}, 1}, {{Stack::Decoder, 0, Role::V}, 2, 3}};
};

// Adds to queries, scales keys, and leaves values alone.
class AddingAndScaling : public SiteHooks {
 public:
  bool acts_on(const Site& site) const override { return site.role != Role::V; }
  std::optional<at::Tensor> output_scale(const Site& site) const override {
    return site.role == Role::K ? std::optional<at::Tensor>(scale) : std::nullopt;
  }
  std::optional<LowRankUpdate> low_rank(const Site&) const override { return update; }
  at::Tensor output(const Site&, const at::Tensor& x, const at::Tensor& y) const override {
    return low_rank_sum(y, x, update);
  }

  at::Tensor scale = numbers({32}, 6).requires_grad_(true);
  LowRankUpdate update{numbers({4, 64}, 7).requires_grad_(true), numbers({64, 4}, 8).requires_grad_(true), 0.5};
};

// Trains the matrix of the queries and the bias of the values; with a scale of the keys' input none are together.
class Replacing : public SiteHooks {
 public:
  explicit Replacing(bool scales) : scales_(scales) {}

  bool acts_on(const Site& site) const override { return scales_ && site.role == Role::K; }
  at::Tensor input_scale(const Site&) const override { return numbers({64}, 11); }
  bool replaces_parameters() const override { return true; }
  at::Tensor parameter(std::int64_t index) const override {
    return index == 0 ? matrix : index == 3 ? bias : at::Tensor();
  }

  at::Tensor matrix = numbers({64, 64}, 9).requires_grad_(true), bias = numbers({32}, 10).requires_grad_(true);

 private:
  bool scales_;
};

TEST_F(ContextOfOneX, AdaptersActOnSomeOfItsMaps) {
  const AddingAndScaling hooks{};
  expect_each_alone(hooks, {hooks.scale, hooks.update.a, hooks.update.b});
}

TEST_F(ContextOfOneX, SomeOfItsMapsAreTrainedThemselves) {
  for (const bool scales : {false, true}) {
    const Replacing hooks(scales);
    expect_each_alone(hooks, {hooks.matrix, hooks.bias});
  }
}

}  // namespace
}  // namespace graft
