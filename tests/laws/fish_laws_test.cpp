// What FISH mask chooses, and that a run which goes on keeps it.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "law_model.h"
#include "train/optim.h"
#include "train/state.h"

namespace graft::laws {
namespace {

class FishLaw : public Law {
 protected:
  void SetUp() override {
    Law::SetUp();
    for (const std::int64_t length : {5, 9, 7}) texts_.push_back(text(length));
  }

  std::unique_ptr<Adapter> prepared() const {
    auto adapter = fresh(MethodChoice("fish"), model(), {{"ratio", 0.01}});
    adapter->prepare(texts_.size(), [&](std::size_t e) { return loss(model(), texts_[e], *adapter); });
    return adapter;
  }

  // Squared gradients of each text by itself, through every parameter, summed.
  std::map<std::string, at::Tensor> information() const {
    const auto full = fresh(MethodChoice("full"), model());
    std::map<std::string, at::Tensor> sums;
    for (const auto& one : texts_) {
      for (const auto& [name, gradient] : gradients(model(), one, *full, false)) {
        if (!gradient.defined()) continue;
        const at::Tensor square = gradient.to(at::kDouble).square().reshape({-1});
        sums[name] = sums.count(name) > 0 ? sums[name] + square : square;
      }
    }
    return sums;
  }

  std::vector<Text> texts_;
};

std::map<std::string, at::Tensor> places_of(const Adapter& adapter) {
  std::map<std::string, at::Tensor> places;
  for (const auto& [name, value] : adapter.prepared()) places[name.substr(0, name.rfind('.'))] = value;
  return places;
}

// Says how often each tensor was read.
class CountedReads : public TensorSource {
 public:
  explicit CountedReads(std::unique_ptr<TensorSource> whole) : whole_(std::move(whole)) {}

  std::string format() const override { return whole_->format(); }
  const std::vector<TensorInfo>& tensors() const override { return whole_->tensors(); }
  const std::vector<std::filesystem::path>& files() const override { return whole_->files(); }
  const nlohmann::json& metadata() const override { return whole_->metadata(); }
  std::span<const std::byte> bytes(const TensorInfo& info) const override {
    ++reads_[info.name];
    return whole_->bytes(info);
  }
  int reads_of(const std::string& name) const { return reads_[name]; }

 private:
  std::unique_ptr<TensorSource> whole_;
  mutable std::map<std::string, int> reads_;
};

// Nothing that is left out has more information than what is taken, but for rounding.
TEST_P(FishLaw, TakesTheLargestInformation) {
  const auto adapter = prepared();
  auto sums = information();
  double least = std::numeric_limits<double>::infinity(), most = 0;
  std::int64_t taken = 0;
  for (const auto& [name, places] : places_of(*adapter)) {
    ASSERT_EQ(sums.count(name), 1u) << name;
    least = std::min(least, sums[name].index_select(0, places).min().item<double>());
    sums[name].index_fill_(0, places, 0);
    taken += places.numel();
  }
  for (const auto& [name, rest] : sums) most = std::max(most, rest.max().item<double>());
  EXPECT_GT(taken, 10);
  EXPECT_GT(least, 0);
  EXPECT_LE(most, least * (1 + 1e-3)) << taken;
}

TEST_P(FishLaw, ARunGoesOnWithTheMaskItBeganWith) {
  const auto adapter = prepared();
  const auto optimizer = [](const Adapter& of) {
    std::vector<at::Tensor> values;
    for (const auto& parameter : of.parameters()) values.push_back(parameter.value);
    return make_optimizer({}, values, std::vector<double>(values.size(), 1.0));
  };
  {
    const at::NoGradGuard no_grad;
    for (const auto& parameter : adapter->parameters()) at::Tensor(parameter.value).add_(0.5);
  }
  const auto file = folder() / "state.safetensors";
  save_state(file, *adapter, *optimizer(*adapter), {});
  const auto back = fresh(MethodChoice("fish"), model(), {{"ratio", 0.01}});
  const CountedReads stored(open_state(file));
  std::filesystem::remove(file);  // what is open is read, not what has the name
  ASSERT_TRUE(take_prepared(stored, *back));
  TrainState state;
  load_state(stored, *back, *optimizer(*back), state);
  for (const TensorInfo& info : stored.tensors()) EXPECT_EQ(stored.reads_of(info.name), 1) << info.name;
  const auto want = adapter->peft_tensors(), got = back->peft_tensors();
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_EQ(got[i].name, want[i].name);
    EXPECT_TRUE(at::equal(got[i].value, want[i].value)) << got[i].name;
  }
  const auto lora = fresh(MethodChoice("lora"), model());
  save_state(file, *lora, *optimizer(*lora), {});
  EXPECT_FALSE(take_prepared(*open_state(file), *lora));
  EXPECT_EQ(open_state(folder() / "none.safetensors"), nullptr);
}

// Whatever the mask lies over: maps, biases, norms, embeddings, positions, relative biases, the head.
TEST_P(FishLaw, SharesABatchWithOthersAndTheBase) {
  Adapters adapters;
  adapters.push_back(stirred(MethodChoice("fish"), 41, {{"ratio", 0.3}}));
  adapters.push_back(stirred(MethodChoice("fish"), 42, {{"ratio", 1}}));
  adapters.push_back(stirred(MethodChoice("lora"), 43));
  adapters.push_back(stirred(MethodChoice("lora"), 44, {{"roles", "embed,head"}}));
  adapters.push_back(stirred(MethodChoice("tables"), 45));
  expect_mixes(adapters, {0, -1, 2, 1, 0, 3, 4, -1, 1});
}

TEST_P(FishLaw, SharesABatchWithTheBaseAlone) {
  Adapters adapters;
  adapters.push_back(stirred(MethodChoice("fish"), 41, {{"ratio", 0.3}}));
  expect_mixes(adapters, {-1, 0, 0, -1});
}

TEST_P(FishLaw, BitsOfATextAreItsOwnBesideOthers) {
  const at::NoGradGuard no_grad;
  const auto fish = stirred(MethodChoice("fish"), 41, {{"ratio", 0.3}}), lora = stirred(MethodChoice("lora"), 43);
  ForwardOptions options;
  options.slots = {fish.get(), lora.get()};
  options.activations = Activations::BatchInvariant;
  StepInput one, many;
  const Segment alone = add(one, texts_[0], 0);
  add(many, texts_[1], 1);
  const Segment beside = add(many, texts_[0], 0);
  add(many, texts_[2]);
  EXPECT_TRUE(at::equal(rows(logits(model(), many, options), beside), rows(logits(model(), one, options), alone)));
}

INSTANTIATE_TEST_SUITE_P(Golden, FishLaw, ::testing::ValuesIn(models()), title);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(FishLaw);

}  // namespace
}  // namespace graft::laws
