#include "config/gguf_adapter.h"

#include <functional>

#include "checkpoint/fixture_test.h"
#include "checkpoint/writer.h"
#include "config/gguf_names.h"

namespace graft {
namespace {

using nlohmann::json;
using testing::expect_error;
using testing::Folder;

struct Parts {
  json metadata = {{"general.type", "adapter"},
                   {"general.architecture", "llama"},
                   {"adapter.type", "lora"},
                   {"adapter.lora.alpha", 16.5}};
  std::vector<TensorPlan> tensors = {{"blk.0.attn_q.weight.lora_a", DType::F32, {2, 6}},
                                     {"blk.0.attn_q.weight.lora_b", DType::F16, {4, 2}},
                                     {"blk.0.ffn_up.weight.lora_b", DType::F32, {8, 3}},
                                     {"blk.0.ffn_up.weight.lora_a", DType::F32, {3, 6}}};
};

std::unique_ptr<TensorSource> written(const Folder& folder, const Parts& parts) {
  const auto writer = write_gguf(folder.path() / "lora.gguf", parts.tensors, parts.metadata);
  for (const TensorPlan& tensor : parts.tensors) {
    std::int64_t count = block_bytes(tensor.dtype);
    for (const auto size : tensor.shape) count *= size;
    writer->write(std::vector<std::byte>(static_cast<std::size_t>(count)));
  }
  writer->finish();
  return open_checkpoint(folder.path() / "lora.gguf");
}

TEST(GgufAdapter, FindsThePairsWhateverTheirOrder) {
  const Folder folder;
  const auto source = written(folder, {});
  const GgufAdapter adapter = read_gguf_adapter(*source);
  EXPECT_EQ(adapter.architecture, "llama");
  EXPECT_EQ(adapter.alpha, 16.5);
  EXPECT_EQ(adapter.manifest, "");
  ASSERT_EQ(adapter.loras.size(), 2u);
  EXPECT_EQ(adapter.loras[0].tensor, "blk.0.attn_q.weight");
  EXPECT_EQ(adapter.loras[1].tensor, "blk.0.ffn_up.weight");
  EXPECT_EQ(adapter.loras[1].a->shape, (std::vector<std::int64_t>{3, 6}));
  EXPECT_EQ(adapter.loras[1].b->shape, (std::vector<std::int64_t>{8, 3}));
  GgufAdapter with_manifest = adapter;
  with_manifest.manifest = "{}";
  EXPECT_EQ(read_gguf_adapter(*written(folder, {metadata_of(with_manifest), Parts().tensors})).manifest, "{}");
  EXPECT_EQ(metadata_of(adapter), Parts().metadata);
}

// Its a is looked up by token.
TEST(GgufAdapter, ReadsTheEmbeddingsPairAsItLies) {
  const Folder folder;
  const std::vector<TensorPlan> pair = {{"token_embd.weight.lora_a", DType::F32, {9, 2}},
                                        {"token_embd.weight.lora_b", DType::F32, {4, 2}}};
  const auto source = written(folder, {Parts().metadata, pair});
  const GgufAdapter adapter = read_gguf_adapter(*source);
  EXPECT_TRUE(adapter.loras.front().of_embeddings());
  EXPECT_EQ(adapter.loras.front().rank(), 2);
  EXPECT_EQ(adapter.loras.front().in(), 9);
  const auto other = written(folder, {});
  const GgufAdapter maps = read_gguf_adapter(*other);
  EXPECT_FALSE(maps.loras.front().of_embeddings());
  EXPECT_EQ(maps.loras.front().rank(), 2);
  EXPECT_EQ(maps.loras.front().in(), 6);
}

TEST(GgufAdapter, RefusesOtherKindsAndHalves) {
  using Change = std::function<void(Parts&)>;
  const std::vector<std::tuple<Category, const char*, Change>> cases = {
      {Category::InvalidArgument, "'model'", [](Parts& p) { p.metadata.erase("general.type"); }},
      {Category::InvalidArgument, "'imatrix'", [](Parts& p) { p.metadata["general.type"] = "imatrix"; }},
      {Category::InvalidArgument, "general.type", [](Parts& p) { p.metadata["general.type"] = 3; }},
      {Category::InvalidArgument, "general.architecture", [](Parts& p) { p.metadata.erase("general.architecture"); }},
      {Category::Unsupported, "'control_vector'", [](Parts& p) { p.metadata["adapter.type"] = "control_vector"; }},
      {Category::Unsupported, "adapter.type is ''", [](Parts& p) { p.metadata.erase("adapter.type"); }},
      {Category::Unsupported, "activated LoRA",
       [](Parts& p) {
         p.metadata["adapter.alora.invocation_tokens"] = json{1, 2};
       }},
      {Category::Corruption, "has no adapter.lora.alpha", [](Parts& p) { p.metadata.erase("adapter.lora.alpha"); }},
      {Category::Corruption, "adapter.lora.alpha is 0", [](Parts& p) { p.metadata["adapter.lora.alpha"] = 0.0; }},
      {Category::InvalidArgument, "adapter.lora.alpha", [](Parts& p) { p.metadata["adapter.lora.alpha"] = "16"; }},
      {Category::Corruption, "'blk.0.attn_q.weight.lora_a' is there without its .lora_b",
       [](Parts& p) { p.tensors.erase(p.tensors.begin() + 1); }},
      {Category::Corruption, "'blk.0.ffn_up.weight.lora_b' is there without its .lora_a",
       [](Parts& p) { p.tensors.pop_back(); }},
      {Category::Corruption, "neither", [](Parts& p) { p.tensors[0].name = "blk.0.attn_norm.weight"; }},
      {Category::Corruption, "[2, 6] and .lora_b [4, 3]",
       [](Parts& p) {
         p.tensors[1].shape = {4, 3};
       }},
      {Category::Corruption, "no [rank, in]", [](Parts& p) { p.tensors[0].shape = {12}; }},
      {Category::Corruption, "no [tokens, rank]",
       [](Parts& p) {
         p.tensors[0].name = "token_embd.weight.lora_a";
         p.tensors[1].name = "token_embd.weight.lora_b";
       }},
      {Category::Corruption, "holds no tensor", [](Parts& p) { p.tensors.clear(); }}};
  for (const auto& [category, says, change] : cases) {
    SCOPED_TRACE(says);
    const Folder folder;
    Parts parts;
    change(parts);
    const auto source = written(folder, parts);
    expect_error(category, says, [&] { read_gguf_adapter(*source); });
  }
}

TEST(GgufAdapter, IsNoModel) {
  const Folder folder;
  written(folder, {});
  expect_error(Category::InvalidArgument, "give it as --adapter",
               [&] { open_model_files(folder.path() / "lora.gguf"); });
}

TEST(GgufNames, GoBothWays) {
  const std::vector<std::tuple<const char*, const char*, const char*>> pairs = {
      {"llama", "blk.11.attn_q.weight", "model.layers.11.self_attn.q_proj.weight"},
      {"qwen2", "blk.0.attn_k.bias", "model.layers.0.self_attn.k_proj.bias"},
      {"llama", "output.weight", "lm_head.weight"},
      {"gpt2", "blk.3.ffn_down.weight", "transformer.h.3.mlp.c_proj.weight"},
      {"gpt2", "blk.3.attn_output.weight", "transformer.h.3.attn.c_proj.weight"},
      {"gpt2", "position_embd.weight", "transformer.wpe.weight"},
      // As the `gguf` Python package 0.19 maps them.
      {"gemma2", "blk.3.attn_norm.weight", "model.layers.3.input_layernorm.weight"},
      {"gemma2", "blk.3.post_attention_norm.weight", "model.layers.3.post_attention_layernorm.weight"},
      {"gemma2", "blk.3.ffn_norm.weight", "model.layers.3.pre_feedforward_layernorm.weight"},
      {"gemma3", "blk.3.post_ffw_norm.weight", "model.layers.3.post_feedforward_layernorm.weight"},
      {"gemma3", "blk.3.attn_q_norm.weight", "model.layers.3.self_attn.q_norm.weight"},
      {"olmo2", "blk.3.post_attention_norm.weight", "model.layers.3.post_attention_layernorm.weight"},
      {"olmo2", "blk.3.post_ffw_norm.weight", "model.layers.3.post_feedforward_layernorm.weight"},
      {"phi3", "blk.3.attn_qkv.weight", "model.layers.3.self_attn.qkv_proj.weight"},
      {"phi3", "blk.3.ffn_up.weight", "model.layers.3.mlp.gate_up_proj.weight"},
      {"phi3", "blk.3.ffn_norm.weight", "model.layers.3.post_attention_layernorm.weight"},
      {"t5", "token_embd.weight", "shared.weight"},
      {"t5", "enc.output_norm.weight", "encoder.final_layer_norm.weight"},
      {"t5", "enc.blk.2.attn_rel_b.weight", "encoder.block.2.layer.0.SelfAttention.relative_attention_bias.weight"},
      {"t5", "enc.blk.2.ffn_gate.weight", "encoder.block.2.layer.1.DenseReluDense.wi_0.weight"},
      {"t5", "dec.blk.2.attn_o.weight", "decoder.block.2.layer.0.SelfAttention.o.weight"},
      {"t5", "dec.blk.2.cross_attn_norm.weight", "decoder.block.2.layer.1.layer_norm.weight"},
      {"t5", "dec.blk.2.cross_attn_q.weight", "decoder.block.2.layer.1.EncDecAttention.q.weight"},
      {"t5", "dec.blk.2.ffn_norm.weight", "decoder.block.2.layer.2.layer_norm.weight"},
      {"t5", "dec.blk.2.ffn_up.weight", "decoder.block.2.layer.2.DenseReluDense.wi_1.weight"}};
  for (const auto& [architecture, gguf, hugging_face] : pairs) {
    EXPECT_EQ(hugging_face_name(architecture, gguf), hugging_face);
    EXPECT_EQ(gguf_name(architecture, hugging_face), gguf);
  }
  EXPECT_EQ(gguf_name("llama", "model.layers.0.odd.weight"), "model.layers.0.odd.weight");
  // T5 without gates has another word for the same tensor.
  const std::string plain = "decoder.block.2.layer.2.DenseReluDense.wi.weight";
  EXPECT_EQ(hugging_face_name("t5", "dec.blk.2.ffn_up.weight", false), plain);
  EXPECT_EQ(gguf_name("t5", plain), "dec.blk.2.ffn_up.weight");
  EXPECT_TRUE(gguf_adds_one("gemma2", "model.layers.3.input_layernorm.weight"));
  EXPECT_TRUE(gguf_adds_one("gemma3", "model.layers.3.self_attn.k_norm.weight"));
  EXPECT_FALSE(gguf_adds_one("gemma3", "model.layers.3.self_attn.k_proj.weight"));
  EXPECT_FALSE(gguf_adds_one("llama", "model.norm.weight"));
  ModelConfig config;
  config.model_type = "mistral";
  EXPECT_EQ(gguf_architecture(config), "llama");
  for (const auto& [model_type, architecture] :
       {std::pair("gemma3_text", "gemma3"), std::pair("mt5", "t5"), std::pair("phi3", "phi3")}) {
    config.model_type = model_type;
    EXPECT_EQ(gguf_architecture(config), architecture);
  }
  config.model_type = "bart";
  EXPECT_EQ(gguf_architecture(config), std::nullopt);
}

}  // namespace
}  // namespace graft
