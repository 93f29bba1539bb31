#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/fixture_test.h"
#include "checkpoint/writer.h"
#include "config/gguf_names.h"
#include "config/model_config.h"

namespace graft {
namespace {

using nlohmann::json;
using testing::expect_error;
using testing::Folder;

struct Tensor {
  std::string name;
  std::vector<std::int64_t> shape;
  DType dtype = DType::F32;
  float first = 0;  // of values that go up by a quarter
};

std::vector<std::byte> bytes_of(const Tensor& tensor) {
  std::int64_t elements = 1;
  for (const std::int64_t size : tensor.shape) elements *= size;
  std::vector<float> values(static_cast<std::size_t>(elements));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = tensor.first + 0.25F * static_cast<float>(i % 97);
  std::vector<std::byte> bytes(values.size() / static_cast<std::size_t>(block_elements(tensor.dtype)) *
                               static_cast<std::size_t>(block_bytes(tensor.dtype)));
  from_float(tensor.dtype, values, bytes);
  return bytes;
}

// A file of that architecture with a vocabulary of 3, sizes of 8 and what else is given.
class Files {
 public:
  explicit Files(std::string architecture) : architecture_(std::move(architecture)) {
    for (const auto& [key, value] :
         {std::pair("block_count", 4), std::pair("context_length", 64), std::pair("embedding_length", 8),
          std::pair("feed_forward_length", 16), std::pair("attention.head_count", 2)})
      set(key, value);
    set("attention.layer_norm_rms_epsilon", 1e-6);
  }

  void set(const std::string& key, const json& value) { metadata_[architecture_ + "." + key] = value; }
  void erase(const std::string& key) { metadata_.erase(architecture_ + "." + key); }
  void add(const Tensor& tensor) { tensors_.push_back(tensor); }

  ModelFiles open() const {
    json metadata = metadata_;
    metadata["general.architecture"] = architecture_;
    std::vector<Tensor> tensors = tensors_;
    if (std::none_of(tensors.begin(), tensors.end(), [](const Tensor& t) { return t.name == "token_embd.weight"; }))
      tensors.push_back({"token_embd.weight", {3, 8}});
    std::vector<TensorPlan> plan;
    for (const Tensor& tensor : tensors) plan.push_back({tensor.name, tensor.dtype, tensor.shape});
    const auto path = folder_.path() / "model.gguf";
    const auto writer = write_gguf(path, plan, metadata);
    for (const Tensor& tensor : tensors) writer->write(bytes_of(tensor));
    writer->finish();
    return open_model_files(path);
  }
  ModelConfig config() const { return open().config; }

 private:
  Folder folder_;
  std::string architecture_;
  json metadata_ = json::object();
  std::vector<Tensor> tensors_;
};

std::vector<bool> windowed_layers(const ModelConfig& config) {
  std::vector<bool> layers;
  for (std::int64_t l = 0; l < config.layers; ++l) layers.push_back(config.windowed(l));
  return layers;
}

TEST(GgufFamilies, Gemma2IsWhatLlamaCppTakesForGranted) {
  Files files("gemma2");
  files.set("attention.key_length", 6);
  ModelConfig config = files.config();
  EXPECT_EQ(config.architecture, "llama");
  EXPECT_EQ(config.model_type, "gemma2");
  EXPECT_EQ(config.head_dim, 6);
  EXPECT_EQ(config.activation, "gelu_new");
  EXPECT_EQ(config.norms, NormPlacement::Both);
  EXPECT_EQ(config.norm_weight, NormWeight::WidePlusOne);
  EXPECT_DOUBLE_EQ(config.embedding_scale, std::sqrt(8.0));
  EXPECT_DOUBLE_EQ(config.score_scale.value(), 1 / std::sqrt(6.0));
  EXPECT_EQ(config.attention_softcap, 50);
  EXPECT_EQ(config.logit_softcap, 30);
  EXPECT_EQ(config.sliding_window, 4096);
  EXPECT_EQ(windowed_layers(config), (std::vector<bool>{true, false, true, false}));
  EXPECT_FALSE(config.rope_interleaved);
  files.set("attention.sliding_window", 5);
  files.set("attn_logit_softcapping", 20.0);
  files.set("final_logit_softcapping", 10.0);
  files.set("block_count", 46);
  config = files.config();
  EXPECT_EQ(config.sliding_window, 5);
  EXPECT_EQ(config.attention_softcap, 20);
  EXPECT_EQ(config.logit_softcap, 10);
  EXPECT_DOUBLE_EQ(config.score_scale.value(), 1 / std::sqrt(4.0)) << "27B: the model's size over its heads";
}

TEST(GgufFamilies, Gemma3HasTwoRotationsAndNormsOfHeads) {
  Files files("gemma3");
  files.set("attention.sliding_window", 512);
  files.set("rope.freq_base", 1e6);
  files.set("rope.scaling.type", "linear");
  files.set("rope.scaling.factor", 8.0);
  files.set("block_count", 7);
  const ModelConfig config = files.config();
  EXPECT_EQ(config.model_type, "gemma3_text");
  EXPECT_EQ(gguf_architecture(config), "gemma3");
  EXPECT_EQ(config.qk_norm, QkNorm::Head);
  EXPECT_EQ(config.rope.theta, 1e6);
  EXPECT_EQ(config.rope.scaling, RopeScaling::Linear);
  ASSERT_TRUE(config.local_rope.has_value());
  EXPECT_EQ(config.local_rope->theta, 1e4);
  EXPECT_EQ(config.local_rope->scaling, RopeScaling::None);
  EXPECT_EQ(config.attention_softcap, 0);
  EXPECT_EQ(config.logit_softcap, 0);
  EXPECT_EQ(windowed_layers(config), (std::vector<bool>{true, true, true, true, true, false, true}));
  files.erase("attention.sliding_window");
  EXPECT_EQ(windowed_layers(files.config()), std::vector<bool>(7, false));
}

// Gemma's norms are stored with one added; other vectors and other families are as they are.
TEST(GgufFamilies, TakeTheOneOffGemmasNorms) {
  for (const char* architecture : {"gemma2", "olmo2"}) {
    Files files(architecture);
    files.add({"blk.0.post_ffw_norm.weight", {8}, DType::F32, 1.0F});
    files.add({"output_norm.weight", {8}, DType::F16, 1.0F});
    files.add({"blk.0.attn_q.weight", {8, 8}, DType::F32, 1.0F});
    const ModelFiles model = files.open();
    const auto first_of = [&](const char* name) {
      const TensorInfo& info = model.weights->at(name);
      std::vector<float> values(static_cast<std::size_t>(info.elements()));
      to_float(info.dtype, model.weights->bytes(info), values);
      EXPECT_EQ(values[3], values[0] + 0.75F);
      model.weights->release(info);
      model.weights->prefetch(info);
      return values[0];
    };
    const float norm = std::string(architecture) == "gemma2" ? 0 : 1;
    EXPECT_EQ(first_of("model.layers.0.post_feedforward_layernorm.weight"), norm);
    EXPECT_EQ(first_of("model.norm.weight"), norm);
    EXPECT_EQ(first_of("model.layers.0.self_attn.q_proj.weight"), 1);
  }
}

TEST(GgufFamilies, Phi3IsFusedAndRotatedInPart) {
  Files files("phi3");
  files.set("rope.dimension_count", 2);
  files.set("attention.sliding_window", 0);
  files.add({"blk.1.ffn_up.weight", {32, 8}});
  const ModelFiles model = files.open();
  EXPECT_TRUE(model.config.fused_maps);
  EXPECT_EQ(model.config.rope.dimensions, 2);
  EXPECT_EQ(model.config.rope.scaling, RopeScaling::None);
  EXPECT_FALSE(model.config.sliding_window.has_value());
  EXPECT_NE(model.weights->find("model.layers.1.mlp.gate_up_proj.weight"), nullptr);
  files.set("rope.dimension_count", 3);
  expect_error(Category::Unsupported, "rotation of 3 of 4", [&] { files.open(); });
}

TEST(GgufFamilies, Phi3HasFactorsOfLongRopeAsTensors) {
  Files files("phi3");
  files.set("rope.scaling.original_context_length", 16);
  files.set("rope.scaling.attn_factor", 1.25);
  files.add({"rope_factors_long.weight", {2}, DType::F32, 4.0F});
  expect_error(Category::Corruption, "holds rope_factors_long.weight and not its counterpart for short texts",
               [&] { files.open(); });
  files.add({"rope_factors_short.weight", {2}, DType::F32, 1.0F});
  const RopeConfig rope = files.config().rope;
  EXPECT_EQ(rope.scaling, RopeScaling::LongRope);
  EXPECT_EQ(rope.original_max_position, 16);
  EXPECT_EQ(rope.attention_factor, 1.25);
  EXPECT_EQ(rope.factors, (std::vector<float>{1.0F, 1.25F}));
  EXPECT_EQ(rope.long_factors, (std::vector<float>{4.0F, 4.25F}));
  files.set("rope.dimension_count", 2);
  expect_error(Category::Corruption, "rope_factors_short.weight has 2 values, 1 were expected", [&] { files.open(); });
}

TEST(GgufFamilies, Olmo2NormalisesWhatComesOutAndOlmo3IsRefused) {
  Files files("olmo2");
  const ModelConfig config = files.config();
  EXPECT_EQ(config.norms, NormPlacement::After);
  EXPECT_EQ(config.norm_weight, NormWeight::Wide);
  EXPECT_EQ(config.qk_norm, QkNorm::AllHeads);
  files.set("attention.sliding_window", 4096);
  expect_error(Category::Unsupported, "is an OLMo 3", [&] { files.open(); });
}

TEST(GgufFamilies, T5OfVersion11) {
  Files files("t5");
  files.set("decoder_block_count", 2);
  files.set("attention.head_count", 3);
  files.set("attention.key_length", 4);
  files.set("attention.relative_buckets_count", 16);
  files.set("decoder_start_token_id", 2);
  files.add({"enc.blk.0.ffn_gate.weight", {16, 8}});
  files.add({"enc.blk.0.ffn_up.weight", {16, 8}});
  files.add({"output.weight", {3, 8}, DType::F32, 5.0F});
  const ModelFiles model = files.open();
  const ModelConfig& config = model.config;
  EXPECT_EQ(config.architecture, "t5");
  EXPECT_EQ(config.layers, 4);
  EXPECT_EQ(config.decoder_layers, 2);
  EXPECT_EQ(config.head_dim, 4) << "3 heads do not divide a size of 8";
  EXPECT_EQ(config.kv_heads, 3);
  EXPECT_EQ(config.max_positions, 0);
  EXPECT_EQ(config.norm_eps, 1e-6);
  EXPECT_EQ(config.relative_attention_num_buckets, 16);
  EXPECT_EQ(config.relative_attention_max_distance, 128);
  EXPECT_TRUE(config.gated);
  EXPECT_EQ(config.activation, "gelu_new");
  EXPECT_FALSE(config.tie_embeddings);
  EXPECT_FALSE(config.scale_logits);
  EXPECT_FALSE(config.scale_attention);
  EXPECT_EQ(config.pad, 0);
  EXPECT_EQ(config.eos, std::vector<std::int64_t>{1});
  EXPECT_EQ(config.decoder_start, 2);
  EXPECT_NE(model.weights->find("encoder.block.0.layer.1.DenseReluDense.wi_1.weight"), nullptr);
  EXPECT_NE(model.weights->find("lm_head.weight"), nullptr);
}

TEST(GgufFamilies, T5NeedsBucketsForNearAndFar) {
  for (const int buckets : {3, 256}) {
    Files files("t5");
    files.add({"enc.blk.0.ffn_up.weight", {16, 8}});
    files.set("attention.relative_buckets_count", buckets);
    expect_error(Category::InvalidArgument, "'t5.attention.relative_buckets_count' is " + std::to_string(buckets),
                 [&] { files.open(); });
  }
}

TEST(GgufFamilies, T5OfVersion10ScalesItsLogits) {
  Files files("t5");
  files.add({"enc.blk.0.ffn_up.weight", {16, 8}});
  const ModelFiles model = files.open();
  EXPECT_FALSE(model.config.gated);
  EXPECT_EQ(model.config.activation, "relu");
  EXPECT_EQ(model.config.decoder_layers, 4);
  EXPECT_EQ(model.config.decoder_start, 0) << "the padding token";
  EXPECT_TRUE(model.config.tie_embeddings);
  EXPECT_TRUE(model.config.scale_logits);
  EXPECT_NE(model.weights->find("encoder.block.0.layer.1.DenseReluDense.wi.weight"), nullptr);
}

// A converter writes the head of some files of version 1.0 beside the embeddings, and a quantiser in another type.
TEST(GgufFamilies, T5WhoseHeadRepeatsTheEmbeddingsIsTied) {
  for (const DType type : {DType::F32, DType::F16, DType::Q8_0, DType::Q4_0}) {
    Files files("t5");
    files.add({"token_embd.weight", {100, 32}, DType::F32, 0.5F});
    files.add({"output.weight", {100, 32}, type, 0.5F});
    EXPECT_TRUE(files.config().tie_embeddings) << name(type);
    Files other("t5");
    other.add({"token_embd.weight", {100, 32}, DType::F32, 0.5F});
    other.add({"output.weight", {100, 32}, type, -20.0F});
    EXPECT_FALSE(other.config().tie_embeddings) << name(type);
  }
}

TEST(GgufFamilies, NameTheArchitecturesThatThereAre) {
  Files files("gemma4");
  expect_error(Category::Unsupported, "did you mean 'gemma", [&] { files.open(); });
  Files missing("gemma2");
  missing.set("attention.layer_norm_rms_epsilon", 2.0);
  expect_error(Category::InvalidArgument, "gemma2.attention.layer_norm_rms_epsilon", [&] { missing.open(); });
  missing.erase("attention.layer_norm_rms_epsilon");
  expect_error(Category::InvalidArgument, "'gemma2.attention.layer_norm_rms_epsilon' is missing",
               [&] { missing.open(); });
}

}  // namespace
}  // namespace graft
