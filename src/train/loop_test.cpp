#include "train/loop.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <set>

#include "arch/core/fingerprint.h"
#include "base/error.h"
#include "base/error_test_support.h"
#include "base/hash.h"
#include "base/rng.h"
#include "nn/tensor_file.h"
#include "train/state.h"

namespace graft {
namespace {

TEST(TemplateOf, DependsOnSeedAndPlaceAlone) {
  std::set<std::size_t> drawn;
  std::size_t other_seed = 0;
  for (std::int64_t place = 0; place < 100; ++place) {
    EXPECT_EQ(template_of(7, place, 3), template_of(7, place, 3));
    EXPECT_EQ(template_of(7, place, 1), 0u);
    drawn.insert(template_of(7, place, 3));
    other_seed += template_of(7, place, 3) != template_of(8, place, 3);
  }
  EXPECT_EQ(drawn, (std::set<std::size_t>{0, 1, 2}));
  EXPECT_GT(other_seed, 30u);
}

TEST(TemplateOf, IsDrawnAnewInEveryEpoch) {
  constexpr std::int64_t kExamples = 8;
  for (std::int64_t example = 0; example < kExamples; ++example) {
    std::set<std::size_t> drawn;
    for (std::int64_t epoch = 0; epoch < 40; ++epoch) drawn.insert(template_of(0, epoch * kExamples + example, 3));
    EXPECT_EQ(drawn.size(), 3u) << "example " << example;
  }
}

TEST(BatchOf, EveryEpochSeesEachExampleOnce) {
  constexpr std::size_t kExamples = 7;
  for (const std::uint64_t seed : {0, 1}) {
    std::vector<std::size_t> sequence;
    for (std::int64_t step = 0; step < 21; ++step) {
      const auto batch = batch_of(seed, step, 3, kExamples);
      ASSERT_EQ(batch.size(), 3u);
      sequence.insert(sequence.end(), batch.begin(), batch.end());
    }
    std::set<std::vector<std::size_t>> orders;
    for (std::size_t epoch = 0; epoch < 9; ++epoch) {
      const auto first = sequence.begin() + static_cast<std::ptrdiff_t>(epoch * kExamples);
      const std::vector<std::size_t> order(first, first + kExamples);
      EXPECT_EQ(std::set<std::size_t>(order.begin(), order.end()).size(), kExamples) << "epoch " << epoch;
      orders.insert(order);
    }
    EXPECT_GT(orders.size(), 7u) << "each epoch has an order of its own";
  }
  EXPECT_NE(batch_of(0, 0, 7, 7), batch_of(1, 0, 7, 7));
  EXPECT_EQ(batch_of(0, 5, 7, 7), batch_of(0, 5, 7, 7));
}

TEST(BatchOf, MayBeLargerThanThePool) {
  const auto batch = batch_of(0, 0, 5, 2);
  EXPECT_EQ(batch.size(), 5u);
  EXPECT_EQ(std::set<std::size_t>(batch.begin(), batch.end()), (std::set<std::size_t>{0, 1}));
}

// One scale on the output of every map; `spoil` adds nothing to it and has a gradient that is not a number.
class Scale : public Adapter {
 public:
  explicit Scale(bool spoilt) : spoilt_(spoilt) {}
  bool acts_on(const Site& site) const override { return site.role == Role::Down; }
  at::Tensor output(const Site&, const at::Tensor&, const at::Tensor& y) const override {
    return spoilt_ ? y * scale_ + (scale_ - 1).abs().sqrt() : y * scale_;
  }
  std::vector<AdapterTensor> parameters() const override { return {{"scale", scale_}}; }
  nlohmann::json peft_config() const override { return {}; }
  std::vector<PeftTensor> peft_tensors() const override { return {}; }
  at::Tensor merged(std::int64_t, const at::Tensor&) const override { return {}; }
  double value() const { return scale_.item<double>(); }

 private:
  bool spoilt_;
  at::Tensor scale_ = at::ones({1}).requires_grad_();
};

class Train : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* given = std::getenv("GRAFT_GOLDENS");
    const std::filesystem::path goldens =
        given != nullptr ? std::filesystem::path(given) : std::filesystem::path(GRAFT_SOURCE_DIR) / "tests/golden/data";
    if (!std::filesystem::exists(goldens / "llama")) GTEST_SKIP() << "no goldens; ./check makes them";
    model_ = load_model((goldens / "llama/model").string());
    for (std::int64_t e = 0; e < 3; ++e) {
      ChoiceTokens example;
      example.prompt = {5 + e, 2, 9};
      example.choices = {{{7}, 1, 1}, {{8, 3 + e}, 2, 2}};
      example.label = e % 2;
      examples_.push_back(example);
    }
    settings_.steps = 6;
    settings_.warmup_steps = 0;
    settings_.eval_every = 1;
    settings_.save_every = 1;
    folder_ = std::filesystem::temp_directory_path() / ("graft-train-" + std::to_string(::getpid()));
    std::filesystem::remove_all(folder_);
    callbacks_.evaluate = [this](std::int64_t step) {
      values_.push_back(adapter_->value());
      return scores_.at(static_cast<std::size_t>(step) - 1);
    };
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  double run() {
    adapter_ = std::make_unique<Scale>(spoilt_);
    train(*model_, {*adapter_, examples_, settings_, folder_ / "state.safetensors", callbacks_});
    return adapter_->value();
  }

  std::unique_ptr<Model> model_;
  std::unique_ptr<Scale> adapter_;
  bool spoilt_ = false;
  std::vector<ChoiceTokens> examples_;
  TrainSettings settings_;
  TrainCallbacks callbacks_;
  std::filesystem::path folder_;
  std::vector<double> scores_ = {0.1, 0.7, 0.3, 0.9, 0.9, 0.2};  // by step
  std::vector<double> values_;                                   // of the adapter when it was scored
};

TEST_F(Train, EndsAsTheBestAdapterTheFirstOfEquals) {
  const double last = run();
  ASSERT_EQ(values_.size(), 6u);
  EXPECT_EQ(std::set<double>(values_.begin(), values_.end()).size(), 6u);
  EXPECT_EQ(last, values_[3]);
}

TEST_F(Train, EndsAsTheLastWhereNothingIsKept) {
  settings_.keep_best = false;
  const double last = run();
  EXPECT_EQ(last, values_[5]);
}

TEST_F(Train, TheBestSurvivesAStop) {
  scores_ = {0.1, 0.9, 0.3, 0.2, 0.2, 0.2};
  callbacks_.on_step = [](const StepReport& step) {
    if (step.step == 5) throw std::runtime_error("killed");
  };
  const auto state = folder_ / "state.safetensors";
  EXPECT_EQ(steps_done(state), 0);
  EXPECT_THROW(run(), std::runtime_error);
  EXPECT_EQ(steps_done(state), 4);
  callbacks_.on_step = nullptr;
  std::int64_t from = 0, begun = 0;
  callbacks_.on_resume = [&](std::int64_t step) { from = step; };
  callbacks_.on_begin = [&] { begun = from; };
  const double best = run();
  EXPECT_EQ(from, 4);
  EXPECT_EQ(begun, 4);
  EXPECT_EQ(best, values_[1]);
  EXPECT_EQ(steps_done(state), 6);
}

class Mask : public Train {
 protected:
  void SetUp() override {
    Train::SetUp();
    if (IsSkipped()) return;
    settings_.eval_every = 0;
    settings_.steps = 2;
    others_ = examples_;
    for (auto& example : others_) example.prompt = {1, 6, 4, 3};
  }

  std::filesystem::path state() const { return folder_ / "state.safetensors"; }

  // Trains to the end, or on from `file`; the places that were trained.
  std::vector<PeftTensor> trained(const std::vector<ChoiceTokens>& examples, const std::filesystem::path& file) const {
    Rng rng(0);
    const nlohmann::json options = {{"ratio", 0.01}};
    const auto adapter = adapters::find("fish").create(*model_, options, rng);
    train(*model_, {*adapter, examples, settings_, file, callbacks_});
    return adapter->prepared();
  }

  // A state of other tensors.
  void rewrite(const NamedTensors& tensors) const {
    const BaseHashes base = base_hashes(*model_);
    write_tensors(state(), tensors, {{"base", base.weights}, {"settings", base.settings}});
  }

  static bool same(const std::vector<PeftTensor>& a, const std::vector<PeftTensor>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& left, const auto& right) {
      return left.name == right.name && at::equal(left.value, right.value);
    });
  }

  std::vector<ChoiceTokens> others_;
};

// Its places are chosen once: a run's values belong to them, whatever gradients would say on another day.
TEST_F(Mask, GoesOnWithThePlacesItBeganWith) {
  const auto began = trained(examples_, state());
  ASSERT_FALSE(began.empty());
  EXPECT_FALSE(same(trained(others_, folder_ / "other.safetensors"), began)) << "the examples choose";
  settings_.steps = 4;
  EXPECT_TRUE(same(trained(others_, state()), began));
  EXPECT_EQ(steps_done(state()), 4);
}

TEST_F(Mask, OfAStateOfAnEarlierVersionIsChosenAnew) {
  const auto began = trained(examples_, state());
  NamedTensors earlier;
  for (const auto& tensor : read_tensors(state())) {
    if (!tensor.first.starts_with("prepared.")) earlier.push_back(tensor);
  }
  rewrite(earlier);
  settings_.steps = 4;
  EXPECT_TRUE(same(trained(examples_, state()), began));
}

TEST_F(Mask, OfADamagedStateIsRefused) {
  trained(examples_, state());
  NamedTensors beyond = read_tensors(state());
  for (auto& [name, value] : beyond) {
    if (name.starts_with("prepared.")) value = value + (std::int64_t{1} << 40);
  }
  rewrite(beyond);
  const std::string error = error_of([&] { trained(examples_, state()); });
  EXPECT_THAT(error, ::testing::HasSubstr("Corruption " + state().string()));
  EXPECT_THAT(error, ::testing::HasSubstr("int64 places within"));
}

TEST_F(Mask, WithoutSomeOfItsPlacesIsRefused) {
  trained(examples_, state());
  NamedTensors fewer = read_tensors(state());
  fewer.erase(std::find_if(fewer.begin(), fewer.end(),
                           [](const auto& tensor) { return tensor.first.starts_with("prepared."); }));
  rewrite(fewer);
  const std::string error = error_of([&] { trained(examples_, state()); });
  EXPECT_THAT(error, ::testing::HasSubstr("Corruption " + state().string()));
  EXPECT_THAT(error, ::testing::HasSubstr("trained tensors, the adapter has "));
}

TEST_F(Train, AGradientThatIsNoNumberStopsBeforeTheStep) {
  spoilt_ = true;
  for (const double clip : {0.0, 1.0}) {
    settings_.clip_norm = clip;
    try {
      run();
      ADD_FAILURE() << "clip_norm " << clip;
    } catch (const Error& error) {
      EXPECT_EQ(error.category(), Category::Corruption);
      EXPECT_NE(std::string(error.what()).find("gradients of step 1"), std::string::npos) << error.what();
    }
    EXPECT_EQ(adapter_->value(), 1);
    EXPECT_FALSE(std::filesystem::exists(folder_ / "state.safetensors"));
  }
}

TEST_F(Train, WithoutAFileNothingIsKept) {
  const double kept = run();
  std::filesystem::remove_all(folder_);
  const auto before = std::filesystem::current_path();
  std::filesystem::create_directories(folder_);
  std::filesystem::current_path(folder_);
  adapter_ = std::make_unique<Scale>(false);
  train(*model_, {*adapter_, examples_, settings_, {}, callbacks_});
  std::filesystem::current_path(before);
  EXPECT_EQ(adapter_->value(), kept);
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
}

TEST_F(Train, AStateOverOtherWeightsIsRefused) {
  run();
  const auto file = folder_ / "state.safetensors";
  const BaseHashes own = base_hashes(*model_);
  EXPECT_NO_THROW(refuse_other_base(file, own));
  const std::string other(64, '0');
  const auto refused = [&](const BaseHashes& base) { return error_of([&] { refuse_other_base(file, base); }); };
  EXPECT_THAT(refused({other, own.settings}), ::testing::HasSubstr("InvalidArgument"));
  EXPECT_THAT(refused({other, own.settings}), ::testing::HasSubstr("another base model"));
  EXPECT_THAT(refused({own.weights, other}), ::testing::HasSubstr("InvalidArgument"));
  EXPECT_THAT(refused({own.weights, other}), ::testing::HasSubstr("other settings of the base model"));
}

TEST_F(Train, AStateOfAnEarlierVersionTellsOfItsWeightsAlone) {
  const auto file = folder_ / "state.safetensors";
  std::filesystem::create_directories(folder_);
  write_tensors(file, {{"step", at::scalar_tensor(0, at::kLong)}}, {{"base", "weights"}});
  EXPECT_NO_THROW(refuse_other_base(file, {"weights", "settings"}));
  EXPECT_NO_THROW(refuse_other_base(file, {"others", "settings", {"other", "weights"}}));
  EXPECT_THROW(refuse_other_base(file, {"others", "settings"}), Error);
  const BaseHashes own = base_hashes(*model_);
  EXPECT_EQ(own.weights, sha256(base_fingerprint(*model_)));
  EXPECT_EQ(own.earlier,
            (std::vector<std::string>{sha256(base_fingerprint(*model_, 1)), sha256(base_fingerprint(*model_, 2))}));
}

}  // namespace
}  // namespace graft
