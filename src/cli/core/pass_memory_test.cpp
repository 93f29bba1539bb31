// Work without training: when mapped weights are streamed, what that saves, and that no text follows from it.
#include "cli/core/pass_memory.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/memory.h"
#include "checkpoint/fixture_test.h"
#include "nn/kernels/block_product.h"
#include "nn/tensor_file.h"

namespace graft {
namespace {

constexpr std::int64_t kWidth = 256, kInside = 1024, kDepth = 8, kTokens = 300, kMegabyte = 1'000'000;

// A llama whose eight layers of 4 MiB each lie in a mapped file.
class Passes : public ::testing::Test {
 protected:
  Passes() {
    folder_.file("config.json",
                 R"({"model_type":"llama","vocab_size":300,"hidden_size":256,"intermediate_size":1024,
    "num_hidden_layers":8,"num_attention_heads":4,"num_key_value_heads":4,"max_position_embeddings":64,
    "rms_norm_eps":1e-5,"hidden_act":"silu","tie_word_embeddings":true})");
    NamedTensors tensors;
    const auto generator = at::detail::createCPUGenerator(3);
    const auto matrix = [&](const std::string& name, std::int64_t rows, std::int64_t columns) {
      tensors.emplace_back(name + ".weight", at::randn({rows, columns}, generator) * 0.05);
    };
    matrix("model.embed_tokens", kTokens, kWidth);
    for (std::int64_t l = 0; l < kDepth; ++l) {
      const std::string layer = "model.layers." + std::to_string(l) + ".";
      for (const char* norm : {"input_layernorm", "post_attention_layernorm"})
        tensors.emplace_back(layer + norm + ".weight", at::ones({kWidth}));
      for (const char* map : {"q", "k", "v", "o"}) matrix(layer + "self_attn." + map + "_proj", kWidth, kWidth);
      for (const char* map : {"gate", "up"}) matrix(layer + "mlp." + map + "_proj", kInside, kWidth);
      matrix(layer + "mlp.down_proj", kWidth, kInside);
    }
    tensors.emplace_back("model.norm.weight", at::ones({kWidth}));
    write_tensors(folder_.path() / "model.safetensors", tensors);
    model_ = load_model(folder_.path().string());
  }

  Residency& residency() const { return model_->parameters().residency(); }

  // What is resident without a mapped weight.
  std::int64_t bare() const {
    residency().release();
    trim_memory();
    return resident_memory();
  }

  // In a budget with room for so much beside what is there.
  MemoryFit fit(std::int64_t beside, bool asked = true) const {
    const double bytes = static_cast<double>(bare() + beside) / kRoomOfBudget;
    PassNeeds needs;
    needs.largest = kMegabyte;
    return fit_passes(*model_, needs, {static_cast<std::int64_t>(bytes), asked});
  }

  std::vector<std::int64_t> text() const {
    GenerateOptions options;
    options.max_new_tokens = 6;
    options.ignore_eos = true;
    options.activations = Activations::Exact;
    return generate(*model_, {Prompt{{5, 17, 256, 8}, 0, -1}}, options).front().tokens;
  }

  testing::Folder folder_;
  std::unique_ptr<Model> model_;
};

TEST_F(Passes, WeightsStayWhereTheyHaveRoom) {
  const MemoryFit plenty = fit(residency().bytes() + 5 * kMegabyte);
  EXPECT_TRUE(plenty.choice.fits);
  EXPECT_TRUE(plenty.choice.keeps_everything());
  EXPECT_FALSE(residency().streams());
}

TEST_F(Passes, ElseTheyAreStreamedAndWriteTheSame) {
  const std::vector<std::int64_t> expected = text();
  const MemoryFit tight = fit(streamed_bytes(*model_) + 8 * kMegabyte);
  EXPECT_TRUE(tight.choice.fits);
  EXPECT_TRUE(tight.choice.stream_weights);
  EXPECT_FALSE(tight.choice.recompute_layers) << "there is no backward pass";
  EXPECT_EQ(tight.choice.text(), "weights are given back layer by layer");
  ASSERT_TRUE(residency().streams());
  const std::int64_t before = bare();
  EXPECT_EQ(text(), expected);
  EXPECT_LT(resident_memory(), before + residency().bytes() / 2);
}

TEST_F(Passes, WhatFitsInNoWayIsToldWithWhatWould) {
  const MemoryFit none = fit(kMegabyte / 2);
  EXPECT_FALSE(none.choice.fits);
  const auto is_blocks = [](const MemoryChange& change) { return change.setting == "--weights q4_0"; };
  EXPECT_TRUE(std::any_of(none.changes.begin(), none.changes.end(), is_blocks));
  testing::expect_error(Category::ResourceExhausted, "what fits: --memory ", [&] { settle(none); });
  EXPECT_NO_THROW(settle(fit(kMegabyte / 2, /*asked=*/false))) << "nobody asked: a note";
}

TEST_F(Passes, BlocksThatAreLaidOutCountBeside) {
  const auto blocks = load_model(folder_.path().string(), {at::kBFloat16, at::kCPU, WeightFormat::Q8_0});
  std::int64_t values = 4 * kWidth;  // the table of 300 rows is laid out by sixteens
  for (const auto& parameter : blocks->parameters().all()) {
    if (parameter.store->packed()) values += parameter.store->elements();
  }
  const std::int64_t laid_out = values / block_elements(DType::Q8_0) * block_bytes(DType::Q8_0);
  EXPECT_EQ(laid_out_bytes(*blocks), BlockProduct::fast() ? laid_out : 0);
  EXPECT_EQ(laid_out_bytes(*model_), 0);
  MemoryNeeds needs;
  needs.resident = 100;
  EXPECT_EQ(with_blocks_laid_out(needs, *blocks).resident, 100 + laid_out_bytes(*blocks));
}

}  // namespace
}  // namespace graft
