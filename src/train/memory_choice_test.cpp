// What a budget of memory leaves room for, and mapped weights whose pages come and go while a model learns.
#include "train/memory_choice.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "adapters/core/combination.h"
#include "base/rng.h"
#include "checkpoint/fixture_test.h"
#include "train/wide_llama_test.h"

namespace graft {
namespace {

using testing::Folder;

MemoryNeeds needs() {
  MemoryNeeds needs;
  needs.resident = 10;
  needs.standing = 5;
  needs.mapped = 100;
  needs.streamed = 20;
  needs.activations = 400;
  needs.recomputed = 60;
  needs.logits = 30;
  needs.evaluation = 50;
  needs.smaller_evaluations = {26, 14, 8};
  return needs;
}

TEST(ChooseMemory, GoesByWhatItCostsInTime) {
  const auto at = [](std::int64_t budget) { return choose_memory(needs(), budget); };
  EXPECT_TRUE(at(545).keeps_everything());
  EXPECT_EQ(at(545).bytes, 545);
  EXPECT_EQ(at(545).text(), "everything is kept");
  const MemoryChoice layers = at(544);
  EXPECT_TRUE(layers.recompute_layers);
  EXPECT_FALSE(layers.recompute_logits);
  EXPECT_EQ(layers.bytes, 205);
  EXPECT_EQ(layers.text(), "layers are computed again in the backward pass");
  const MemoryChoice logits = at(204);
  EXPECT_TRUE(logits.recompute_layers && logits.recompute_logits);
  EXPECT_FALSE(logits.stream_weights);
  EXPECT_EQ(logits.bytes, 175);
  const MemoryChoice streamed = at(174);
  EXPECT_TRUE(streamed.recompute_layers && streamed.recompute_logits && streamed.stream_weights);
  EXPECT_EQ(streamed.smaller_evaluations, 1);
  EXPECT_EQ(streamed.bytes, 95);
  EXPECT_TRUE(streamed.fits);
  EXPECT_FALSE(at(94).fits);
}

TEST(ChooseMemory, EvaluationsAreMadeSmallerLast) {
  MemoryNeeds large = needs();
  large.evaluation = 600;
  large.smaller_evaluations = {300, 150, 75};
  EXPECT_EQ(choose_memory(large, 635).smaller_evaluations, 1);
  EXPECT_TRUE(choose_memory(large, 635).stream_weights);
  const MemoryChoice half = choose_memory(large, 634);
  EXPECT_EQ(half.smaller_evaluations, 2);
  EXPECT_FALSE(half.recompute_layers || half.stream_weights);  // training then fits as it is
  EXPECT_FALSE(half.keeps_everything());
  EXPECT_EQ(half.bytes, 545);
  const MemoryChoice last = choose_memory(large, 109);
  EXPECT_EQ(last.smaller_evaluations, 8);
  EXPECT_FALSE(last.fits);
  EXPECT_EQ(last.bytes, 110);
  EXPECT_NE(last.text().find("evaluations read 8 times fewer tokens"), std::string::npos) << last.text();
  large.smaller_evaluations.clear();
  EXPECT_FALSE(choose_memory(large, 634).fits);
}

TEST(SmallerBatches, AreTheLargestThatFitAndHaveAsManyExamples) {
  const auto half = smaller_batches(needs(), 8, 0.1, 90);
  ASSERT_TRUE(half.has_value());
  EXPECT_EQ(half->size, 4);
  EXPECT_EQ(half->parts, 2);
  EXPECT_EQ(half->choice.bytes, 85);  // an evaluation's
  EXPECT_TRUE(half->choice.fits);
  const auto third = smaller_batches(needs(), 6, 0.1, 60);
  ASSERT_TRUE(third.has_value());
  EXPECT_EQ(third->size, 2);
  EXPECT_EQ(third->parts, 3);
  EXPECT_EQ(third->choice.bytes, 55);
  const auto fifth = smaller_batches(needs(), 5, 0.1, 90);
  ASSERT_TRUE(fifth.has_value());
  EXPECT_EQ(fifth->size, 1) << "2 and 3 examples are no five";
  EXPECT_EQ(fifth->parts, 5);
  EXPECT_FALSE(smaller_batches(needs(), 1, 1, 90).has_value());
}

TEST(SmallerBatches, AreNoSmallerThanTheLongestExample) {
  const auto one = smaller_batches(needs(), 8, 1, 90);
  ASSERT_TRUE(one.has_value());
  EXPECT_EQ(one->size, 1);
  EXPECT_FALSE(one->choice.fits);
  MemoryNeeds blocks = needs();
  blocks.logit_block = 40;  // of any batch
  EXPECT_EQ(choose_memory(blocks, 545 + 40).bytes, 545 + 40);
  EXPECT_EQ(smaller_batches(blocks, 8, 0.1, 35 + 30 + 40)->choice.bytes, 35 + 30 + 40);
}

// A token takes 5. Of the 100 bytes beside, 60 are there at the peak.
TEST(ActivationsFrom, PagesThatAreNotThereAreNotTimesTheBatch) {
  const MadeStep one{10, 60 + 10 * 5}, two{20, 60 + 20 * 5};
  EXPECT_EQ(100 + activations_from(80, 1, 100, one, two), 60 + 80 * 5);
  EXPECT_EQ(activations_from(80, 1, 60, one, std::nullopt), 80 * 5);
  EXPECT_EQ(activations_from(10, 1, 60, one, std::nullopt), 10 * 5);
  EXPECT_EQ(activations_from(80, 2, 200, one, std::nullopt), 80 * 2) << "the least";
  EXPECT_EQ(activations_from(80, 1, 60, one, MadeStep{20, 115}), 80 * 5) << "the more of the two";
}

// Of the whole pages of a mapped tensor, the share that this process has; nothing where the system does not tell.
std::optional<double> resident_share(const std::vector<at::Tensor>& tensors) {
  constexpr std::uint64_t kPresent = std::uint64_t{1} << 63;  // Documentation/admin-guide/mm/pagemap.rst of Linux
  std::ifstream map("/proc/self/pagemap", std::ios::binary);
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  double pages = 0, present = 0;
  for (const auto& tensor : tensors) {
    const auto begin = reinterpret_cast<std::uintptr_t>(tensor.const_data_ptr());
    const std::uintptr_t last = (begin + tensor.nbytes()) / page;
    for (std::uintptr_t number = (begin + page - 1) / page; number < last; ++number) {
      std::uint64_t entry = 0;
      map.seekg(static_cast<std::streamoff>(number * sizeof entry));
      if (!map.read(reinterpret_cast<char*>(&entry), sizeof entry)) return std::nullopt;
      pages += 1;
      present += (entry & kPresent) != 0 ? 1 : 0;
    }
  }
  return present / pages;
}

using testing::kWideHidden;
using testing::kWideInner;
using testing::kWideVocabulary;

constexpr std::int64_t kLayers = 4;
// A page that is touched may bring some of its neighbours, beyond where a tensor ends.
constexpr double kAway = 0.1, kHere = 0.95;

class Streamed : public ::testing::Test {
 protected:
  Streamed() {
    testing::write_wide_llama(folder_, kLayers);
    model_ = load();
  }

  std::unique_ptr<Model> load(at::ScalarType dtype = at::kFloat) const {
    ModelOptions options;
    options.dtype = dtype;
    return load_model(folder_.path().string(), options);
  }

  Residency& residency() const { return model_->parameters().residency(); }

  std::optional<double> share(std::size_t layer) const {
    std::vector<at::Tensor> weights;
    const auto layers = model_->layer_weights(Stack::Decoder);
    for (const auto index : layers[layer]) weights.push_back(model_->parameters().value(index));
    return resident_share(weights);
  }

  // One pass over some tokens, with a loss to go backward from.
  at::Tensor loss(const Adapter& adapter, bool checkpoint_layers) const {
    StepInput input;
    input.decoder.add({5, 17, 256, 8, 99, 1, 30}, -1, 0);
    ForwardOptions options;
    options.slots = {&adapter};
    options.checkpoint_layers = checkpoint_layers;
    return at::log_softmax(model_->logits(model_->forward(input, options), options), -1).select(1, 4).mean();
  }

  std::unique_ptr<Adapter> adapter() const {
    Rng rng(1);
    return MethodChoice("ia3").create(*model_, nlohmann::json::object(), rng);
  }

  std::map<std::string, at::Tensor> gradients(bool checkpoint_layers) const {
    const auto trained = adapter();
    loss(*trained, checkpoint_layers).backward();
    std::map<std::string, at::Tensor> found;
    for (const auto& parameter : trained->parameters()) found[parameter.name] = parameter.value.grad();
    return found;
  }

  Folder folder_;
  std::unique_ptr<Model> model_;
};

TEST_F(Streamed, LayersAreGivenBackForwardAndBackward) {
  if (!share(0)) GTEST_SKIP() << "this system does not tell which pages a process has";
  for (const bool checkpoint_layers : {false, true}) {
    SCOPED_TRACE(checkpoint_layers);
    const auto trained = adapter();
    residency().release();
    residency().stream(false);
    at::Tensor kept = loss(*trained, checkpoint_layers);
    for (std::size_t l = 0; l < kLayers; ++l) EXPECT_GT(*share(l), kHere) << "layer " << l;
    residency().release();
    for (std::size_t l = 0; l < kLayers; ++l) EXPECT_LT(*share(l), kAway) << "layer " << l;
    residency().stream(true);
    at::Tensor streamed = loss(*trained, checkpoint_layers);
    for (std::size_t l = 0; l < kLayers; ++l) EXPECT_LT(*share(l), kAway) << "layer " << l;
    streamed.backward();
    // The first one's input has no gradient that would say that it is done.
    for (std::size_t l = 1; l < kLayers; ++l) EXPECT_LT(*share(l), kAway) << "layer " << l << " backward";
    EXPECT_TRUE(at::equal(kept, streamed));
  }
}

TEST_F(Streamed, TheBitsAreThoseOfWeightsThatStay) {
  const auto expected = gradients(false);
  for (const bool checkpoint_layers : {false, true}) {
    residency().stream(true);
    const auto got = gradients(checkpoint_layers);
    residency().stream(false);
    ASSERT_EQ(got.size(), expected.size());
    for (const auto& [name, gradient] : expected) {
      ASSERT_TRUE(gradient.defined()) << name;
      EXPECT_TRUE(at::equal(got.at(name), gradient)) << name;
    }
  }
}

TEST_F(Streamed, WhatIsResidentAtATimeIsToldBefore) {
  const std::int64_t layer = 4 * (4 * kWideHidden * kWideHidden + 3 * kWideHidden * kWideInner);
  const auto weights = model_->layer_weights(Stack::Decoder);
  ASSERT_EQ(weights.size(), static_cast<std::size_t>(kLayers));
  EXPECT_TRUE(model_->layer_weights(Stack::Encoder).empty());
  EXPECT_EQ(residency().bytes(weights[1]), layer);
  EXPECT_EQ(residency().bytes(), model_->parameters().bytes());
  EXPECT_EQ(streamed_bytes(*model_), residency().bytes() - (kLayers - 2) * layer);
}

TEST_F(Streamed, ConvertedWeightsHaveNothingToGiveBack) {
  model_ = load(at::kBFloat16);
  EXPECT_EQ(residency().bytes(), 0);
  EXPECT_EQ(streamed_bytes(*model_), 0);
  const auto trained = adapter();
  const at::Tensor kept = loss(*trained, false);
  residency().stream(true);
  residency().release();
  EXPECT_TRUE(at::equal(loss(*trained, true), kept));
}

TEST_F(Streamed, BoundsGrowWithTheTokens) {
  EXPECT_GT(activation_bound(*model_, 100, 10), 90 * activation_bound(*model_, 1, 10));
  EXPECT_GT(activation_bound(*model_, 1, 10), activation_bound(*model_, 1, 1));
  // A step keeps at the very least the inner activations of each layer.
  EXPECT_GT(activation_bound(*model_, 1, 1), kLayers * kWideInner * 4 * 4);
  EXPECT_LT(evaluation_bytes(*model_, 100, 10), activation_bound(*model_, 100, 10) + 100 * kWideVocabulary * 8);
}

}  // namespace
}  // namespace graft
