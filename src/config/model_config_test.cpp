#include "config/model_config.h"

#include <cmath>
#include <cstring>

#include "checkpoint/fixture_test.h"
#include "checkpoint/writer.h"

namespace graft {
namespace {

using nlohmann::json;
using testing::expect_error;
using testing::Folder;

json llama() {
  return json::parse(
      R"({"model_type":"llama","vocab_size":100,"hidden_size":64,"intermediate_size":128,"num_hidden_layers":2,
    "num_attention_heads":4,"num_key_value_heads":2,"rms_norm_eps":1e-5,"max_position_embeddings":256,"hidden_act":"silu",
    "rope_theta":50000.0,"bos_token_id":1,"eos_token_id":[2,3],"pad_token_id":null,"torch_dtype":"bfloat16"})");
}

TEST(ModelConfig, ReadsLlama) {
  const ModelConfig config = model_config_from_json(llama(), "config.json");
  EXPECT_EQ(config.architecture, "llama");
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_EQ(config.rope.theta, 50000.0);
  EXPECT_EQ(config.rope.scaling, RopeScaling::None);
  EXPECT_EQ(config.rope.dimensions, 16);
  EXPECT_FALSE(config.tie_embeddings);
  EXPECT_FALSE(config.attention_bias);
  EXPECT_TRUE(config.gated);
  EXPECT_EQ(config.eos, (std::vector<std::int64_t>{2, 3}));
  EXPECT_FALSE(config.pad.has_value());
  EXPECT_EQ(config.dtype, "bfloat16");
  EXPECT_FALSE(config.sliding_window.has_value());
}

TEST(ModelConfig, ReadsBothSpellingsOfRope) {
  json old = llama(), current = llama();
  old["rope_scaling"] = {{"rope_type", "llama3"},
                         {"factor", 8.0},
                         {"low_freq_factor", 1.0},
                         {"high_freq_factor", 4.0},
                         {"original_max_position_embeddings", 128}};
  current.erase("rope_theta");
  current["rope_parameters"] = old["rope_scaling"];
  current["rope_parameters"]["rope_theta"] = 50000.0;
  for (const json& object : {old, current}) {
    const RopeConfig rope = model_config_from_json(object, "config.json").rope;
    EXPECT_EQ(rope.scaling, RopeScaling::Llama3);
    EXPECT_EQ(rope.theta, 50000.0);
    EXPECT_EQ(rope.factor, 8.0);
    EXPECT_EQ(rope.original_max_position, 128);
  }
  old["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 64}};
  EXPECT_NEAR(model_config_from_json(old, "c").rope.attention_factor, 0.1 * std::log(4.0) + 1.0, 1e-12);
  old["rope_scaling"] = {{"type", "linear"}, {"factor", 2}};
  EXPECT_EQ(model_config_from_json(old, "c").rope.scaling, RopeScaling::Linear);
  old["rope_scaling"] = {{"type", "dynamc"}, {"factor", 2}};
  expect_error(Category::Unsupported, "did you mean 'dynamic'", [&] { model_config_from_json(old, "c"); });
}

TEST(ModelConfig, Qwen2HasBiasesAndItsWindowOnlyWhenAsked) {
  json object = llama();
  object["model_type"] = "qwen2";
  object["sliding_window"] = 32;
  ModelConfig config = model_config_from_json(object, "config.json");
  EXPECT_TRUE(config.attention_bias);
  EXPECT_FALSE(config.attention_output_bias);
  EXPECT_FALSE(config.sliding_window.has_value());
  object["use_sliding_window"] = true;
  object["max_window_layers"] = 1;
  config = model_config_from_json(object, "config.json");
  EXPECT_EQ(config.sliding_window, 32);
  EXPECT_FALSE(config.windowed(0));
  EXPECT_TRUE(config.windowed(1));
}

TEST(ModelConfig, ReadsGpt2) {
  const auto config = model_config_from_json(
      json::parse(R"({"model_type":"gpt2","vocab_size":100,"n_embd":32,"n_layer":2,"n_head":4,"n_positions":64})"),
      "config.json");
  EXPECT_EQ(config.intermediate_size, 128);
  EXPECT_EQ(config.activation, "gelu_new");
  EXPECT_TRUE(config.tie_embeddings);
  EXPECT_TRUE(config.transposed_linears);
  EXPECT_EQ(config.max_positions, 64);
}

TEST(ModelConfig, T5ScalesItsLogitsUnlessUntied) {
  json object = json::parse(
      R"({"model_type":"t5","vocab_size":100,"d_model":32,"d_ff":64,"num_layers":3,"num_heads":4,"d_kv":8,"feed_forward_proj":"relu","decoder_start_token_id":0})");
  ModelConfig config = model_config_from_json(object, "config.json");
  EXPECT_TRUE(config.scale_logits);
  EXPECT_FALSE(config.gated);
  EXPECT_EQ(config.decoder_layers, 3);
  EXPECT_EQ(config.eos, (std::vector<std::int64_t>{1}));
  object["feed_forward_proj"] = "gated-gelu";
  object["tie_word_embeddings"] = false;
  config = model_config_from_json(object, "config.json");
  EXPECT_FALSE(config.scale_logits);
  EXPECT_FALSE(config.tie_embeddings);
  EXPECT_TRUE(config.gated);
  EXPECT_EQ(config.activation, "gelu_new");
}

TEST(ModelConfig, T5NeedsBucketsForNearAndFar) {
  json object = json::parse(
      R"({"model_type":"t5","vocab_size":100,"d_model":32,"d_ff":64,"num_layers":3,"num_heads":4,"d_kv":8})");
  const auto read = [&] { return model_config_from_json(object, "config.json"); };
  object["relative_attention_num_buckets"] = 4;
  object["relative_attention_max_distance"] = 3;
  EXPECT_EQ(read().relative_attention_num_buckets, 4);
  EXPECT_EQ(read().relative_attention_max_distance, 3);
  object["relative_attention_max_distance"] = 2;
  expect_error(Category::InvalidArgument,
               "field 'relative_attention_max_distance' is 2; more than half of the 4 relative_attention_num_buckets",
               read);
  object["relative_attention_max_distance"] = 128;
  for (const int few : {1, 2, 3}) {
    object["relative_attention_num_buckets"] = few;
    expect_error(Category::InvalidArgument, "field 'relative_attention_num_buckets' is " + std::to_string(few), read);
  }
  object["relative_attention_num_buckets"] = 256;
  expect_error(Category::InvalidArgument, "more than half of the 256 relative_attention_num_buckets", read);
  object["relative_attention_num_buckets"] = 255;
  EXPECT_EQ(read().relative_attention_num_buckets, 255);
}

json bart() {
  return json::parse(
      R"({"model_type":"bart","vocab_size":100,"d_model":32,"encoder_ffn_dim":64,"decoder_ffn_dim":64,"encoder_layers":3,
    "decoder_layers":2,"encoder_attention_heads":4,"decoder_attention_heads":4,"forced_bos_token_id":0,"normalize_before":false,
    "normalize_embedding":true})");
}

TEST(ModelConfig, ReadsBart) {
  const ModelConfig config = model_config_from_json(bart(), "config.json");
  EXPECT_EQ(config.architecture, "bart");
  EXPECT_EQ(config.layers, 3);
  EXPECT_EQ(config.decoder_layers, 2);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.max_positions, 1024);
  EXPECT_EQ(config.embedding_scale, 1.0);
  EXPECT_EQ(config.activation, "gelu");
  EXPECT_EQ(config.decoder_start, 2);
  EXPECT_EQ(config.forced_bos, 0);
  json scaled = bart();
  scaled["scale_embedding"] = true;
  EXPECT_EQ(model_config_from_json(scaled, "config.json").embedding_scale, std::sqrt(32.0));
}

TEST(ModelConfig, RefusesOtherBartsByField) {
  for (const auto& [key, value] : {std::pair<const char*, json>{"normalize_before", true},
                                   {"add_final_layer_norm", true},
                                   {"static_position_embeddings", true},
                                   {"normalize_embedding", false},
                                   {"tie_word_embeddings", false},
                                   {"decoder_ffn_dim", 32},
                                   {"decoder_attention_heads", 2}}) {
    json object = bart();
    object[key] = value;
    expect_error(Category::Unsupported, key, [&] { model_config_from_json(object, "config.json"); });
  }
}

TEST(ModelConfig, LayersWithAWindowAreNamed) {
  json object = llama();
  object["model_type"] = "mistral";
  object["sliding_window"] = nullptr;
  EXPECT_FALSE(model_config_from_json(object, "config.json").windowed(0));
  object["sliding_window"] = 16;
  EXPECT_TRUE(model_config_from_json(object, "config.json").windowed(0));
  object["model_type"] = "qwen2";
  object["use_sliding_window"] = true;
  object["num_hidden_layers"] = 3;
  object["max_window_layers"] = 1;
  object["layer_types"] = {"full_attention", "full_attention", "sliding_attention"};
  const ModelConfig config = model_config_from_json(object, "config.json");
  EXPECT_FALSE(config.windowed(1)) << "layer_types goes before max_window_layers";
  EXPECT_TRUE(config.windowed(2));
  object["layer_types"] = {"full_attention", "sliding_attention", "full_attention"};
  EXPECT_TRUE(model_config_from_json(object, "config.json").windowed(1));
  EXPECT_FALSE(model_config_from_json(object, "config.json").windowed(2));
  object["layer_types"] = {"full_attention", "sliding_attention", "chunked_attention"};
  expect_error(Category::Unsupported, "'layer_types': layer 2", [&] { model_config_from_json(object, "config.json"); });
  object["layer_types"] = {"full_attention"};
  expect_error(Category::InvalidArgument, "one entry for each layer",
               [&] { model_config_from_json(object, "config.json"); });
}

TEST(ModelConfig, AGenerationConfigSaysWhichTokenIsForced) {
  const Folder folder;
  folder.file("config.json", R"({"model_type":"bart","vocab_size":50,"d_model":8,"encoder_ffn_dim":8,
    "decoder_ffn_dim":8,"encoder_layers":1,"decoder_layers":1,"encoder_attention_heads":1,"decoder_attention_heads":1,
    "forced_bos_token_id":3})");
  const auto forced = [&] { return read_model_config(folder.path()).forced_bos; };
  EXPECT_EQ(forced(), 3);
  folder.file("generation_config.json", R"({"forced_bos_token_id":7})");
  EXPECT_EQ(forced(), 7);
  EXPECT_EQ(read_model_config(folder.path() / "config.json").forced_bos, 7);
  folder.file("generation_config.json", R"({"max_length":20})");
  EXPECT_FALSE(forced().has_value()) << "it says how to write, and says nothing of a first token";
  folder.file("generation_config.json", R"({"forced_bos_token_id":50})");
  expect_error(Category::InvalidArgument, "generation_config.json: field 'forced_bos_token_id' is 50", forced);
  folder.file("generation_config.json", "{");
  expect_error(Category::Corruption, "generation_config.json", forced);
}

// The Llama of these tests has no such token whatever the file says.
TEST(ModelConfig, ADecoderHasNoForcedToken) {
  const Folder folder;
  folder.file("config.json", llama().dump());
  folder.file("generation_config.json", R"({"forced_bos_token_id":1})");
  EXPECT_FALSE(read_model_config(folder.path()).forced_bos.has_value());
}

TEST(ModelConfig, AGenerationConfigNamesFurtherEndsOfAText) {
  using Ids = std::vector<std::int64_t>;
  const Folder folder;
  folder.file("config.json", llama().dump());
  const auto ends = [&] { return read_model_config(folder.path()).eos; };
  const Ids own = ends();
  ASSERT_EQ(own, (Ids{2, 3}));
  folder.file("generation_config.json", R"({"eos_token_id":[3,5]})");
  EXPECT_EQ(ends(), (Ids{2, 3, 5}));
  folder.file("generation_config.json", R"({"eos_token_id":7})");
  EXPECT_EQ(ends(), (Ids{2, 3, 7}));
  for (const char* nothing :
       {R"({"eos_token_id":null})", R"({"eos_token_id":-1})", R"({"max_length":20})", R"({"eos_token_id":900000})"}) {
    folder.file("generation_config.json", nothing);
    EXPECT_EQ(ends(), own) << nothing;
  }
  folder.file("generation_config.json", R"({"eos_token_id":"</s>"})");
  expect_error(Category::InvalidArgument, "generation_config.json: field 'eos_token_id'", ends);
}

TEST(ModelConfig, NamesFileFieldAndValue) {
  const auto broken = [](const char* key, json value) {
    json object = llama();
    object[key] = std::move(value);
    return [object] { model_config_from_json(object, "some/config.json"); };
  };
  expect_error(Category::InvalidArgument, "some/config.json: field 'hidden_size' is \"64\"",
               broken("hidden_size", "64"));
  expect_error(Category::InvalidArgument, "'num_hidden_layers' is 0", broken("num_hidden_layers", 0));
  expect_error(Category::InvalidArgument, "'vocab_size' is -5", broken("vocab_size", -5));
  expect_error(Category::InvalidArgument, "'hidden_size'", broken("hidden_size", 1ULL << 60));
  expect_error(Category::InvalidArgument, "'vocab_size' is missing", broken("vocab_size", nullptr));
  expect_error(Category::InvalidArgument, "multiple of 5 heads", broken("num_attention_heads", 5));
  expect_error(Category::InvalidArgument, "3 key-value heads", broken("num_key_value_heads", 3));
  expect_error(Category::InvalidArgument, "'rope_scaling'", broken("rope_scaling", 3));
  expect_error(Category::InvalidArgument, "'eos_token_id'", broken("eos_token_id", "two"));
  expect_error(Category::Unsupported, "activation 'tanh'", broken("hidden_act", "tanh"));
  expect_error(Category::Unsupported, "did you mean 'mistral'", broken("model_type", "mistrall"));
  expect_error(Category::InvalidArgument, "'model_type' is missing", broken("model_type", nullptr));
  const Folder folder;
  expect_error(Category::NotFound, "config.json", [&] { read_model_config(folder.path()); });
  folder.file("config.json", "{");
  expect_error(Category::Corruption, "not valid JSON", [&] { read_model_config(folder.path()); });
}

TEST(UnpermuteRows, IsTheInverseOfTheInterleaving) {
  // One head of six rows: the halves 0 1 2 and 3 4 5 are stored as 0 3 1 4 2 5.
  EXPECT_EQ(unpermute_rows(6, 1), (std::vector<std::int64_t>{0, 2, 4, 1, 3, 5}));
  EXPECT_EQ(unpermute_rows(8, 2), (std::vector<std::int64_t>{0, 2, 1, 3, 4, 6, 5, 7}));
  expect_error(Category::InvalidArgument, "even", [] { unpermute_rows(6, 2); });
}

json gguf_llama() {
  return {{"general.architecture", "llama"},
          {"llama.block_count", 1},
          {"llama.context_length", 64},
          {"llama.embedding_length", 8},
          {"llama.feed_forward_length", 16},
          {"llama.attention.head_count", 2},
          {"llama.attention.head_count_kv", 1},
          {"llama.attention.layer_norm_rms_epsilon", 1e-5},
          {"llama.rope.freq_base", 100000.0},
          {"tokenizer.ggml.bos_token_id", 1},
          {"tokenizer.ggml.tokens", {"a", "b", "c"}}};
}

std::filesystem::path write_model(const Folder& folder, const std::vector<TensorPlan>& plan, const json& metadata) {
  const auto path = folder.path() / "model.gguf";
  const auto writer = write_gguf(path, plan, metadata);
  for (const TensorPlan& tensor : plan) {
    std::int64_t elements = 1;
    for (std::int64_t size : tensor.shape) elements *= size;
    writer->write(std::vector<std::byte>(static_cast<std::size_t>(elements * 4)));
  }
  writer->finish();
  return path;
}

TEST(ModelFiles, GgufLooksLikeHuggingFace) {
  const Folder folder;
  const auto path = write_model(folder,
                                {{"token_embd.weight", DType::F32, {3, 8}},
                                 {"blk.0.attn_q.weight", DType::F32, {8, 8}},
                                 {"blk.0.ffn_norm.weight", DType::F32, {8}},
                                 {"output_norm.weight", DType::F32, {8}}},
                                gguf_llama());
  const ModelFiles model = open_model_files(path);
  EXPECT_EQ(model.config.architecture, "llama");
  EXPECT_EQ(model.config.vocab_size, 3);
  EXPECT_EQ(model.config.head_dim, 4);
  EXPECT_EQ(model.config.norm_eps, 1e-5) << "single precision was not undone";
  EXPECT_EQ(model.config.rope.theta, 100000.0);
  EXPECT_TRUE(model.config.rope_interleaved);
  EXPECT_TRUE(model.config.tie_embeddings);
  EXPECT_FALSE(model.config.raw.contains("tokenizer.ggml.tokens"));
  std::vector<std::string> names;
  for (const TensorInfo& info : model.weights->tensors()) names.push_back(info.name);
  EXPECT_EQ(names, (std::vector<std::string>{"model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight",
                                             "model.layers.0.post_attention_layernorm.weight", "model.norm.weight"}));
  EXPECT_EQ(model.weights->bytes(model.weights->at("model.norm.weight")).size(), 32u);
}

TEST(ModelFiles, GgufScalesRopeByFactors) {
  const Folder folder;
  const auto path = write_model(
      folder, {{"token_embd.weight", DType::F32, {3, 8}}, {"rope_freqs.weight", DType::F32, {2}}}, gguf_llama());
  const ModelFiles model = open_model_files(path);
  EXPECT_EQ(model.config.rope.scaling, RopeScaling::Factors);
  EXPECT_EQ(model.config.rope.factors.size(), 2u);
  const auto wrong = write_model(
      folder, {{"token_embd.weight", DType::F32, {3, 8}}, {"rope_freqs.weight", DType::F32, {3}}}, gguf_llama());
  expect_error(Category::Corruption, "rope_freqs", [&] { open_model_files(wrong); });
}

TEST(ModelFiles, GgufGpt2KeepsItsOrientation) {
  const Folder folder;
  json metadata = json::object();
  const json llama = gguf_llama();
  for (const auto& [key, value] : llama.items())
    metadata[key.starts_with("llama.") ? "gpt2" + key.substr(5) : key] = value;
  metadata["general.architecture"] = "gpt2";
  metadata["gpt2.attention.layer_norm_epsilon"] = 1e-5;
  const auto path = write_model(folder,
                                {{"token_embd.weight", DType::F32, {3, 8}},
                                 {"blk.0.attn_qkv.weight", DType::F32, {24, 8}},
                                 {"blk.0.ffn_up.bias", DType::F32, {16}}},
                                metadata);
  const ModelFiles model = open_model_files(path);
  EXPECT_EQ(model.config.architecture, "gpt2");
  EXPECT_FALSE(model.config.transposed_linears);
  EXPECT_NE(model.weights->find("transformer.h.0.attn.c_attn.weight"), nullptr);
  EXPECT_NE(model.weights->find("transformer.h.0.mlp.c_fc.bias"), nullptr);
}

TEST(ModelFiles, GgufQwen3NormalisesEachHead) {
  const Folder folder;
  json metadata = json::object();
  const json llama = gguf_llama();
  for (const auto& [key, value] : llama.items())
    metadata[key.starts_with("llama.") ? "qwen3" + key.substr(5) : key] = value;
  metadata["general.architecture"] = "qwen3";
  metadata["qwen3.attention.key_length"] = 6;
  const ModelFiles model = open_model_files(write_model(
      folder, {{"token_embd.weight", DType::F32, {3, 8}}, {"blk.0.attn_q_norm.weight", DType::F32, {6}}}, metadata));
  EXPECT_EQ(model.config.architecture, "llama");
  EXPECT_EQ(model.config.head_dim, 6);
  EXPECT_EQ(model.config.qk_norm, QkNorm::Head);
  EXPECT_FALSE(model.config.rope_interleaved);
  EXPECT_NE(model.weights->find("model.layers.0.self_attn.q_norm.weight"), nullptr);
  metadata["qwen3.rope.dimension_count"] = 4;
  expect_error(Category::Unsupported, "rotation of 4 of 6 dimensions", [&] {
    open_model_files(write_model(folder, {{"token_embd.weight", DType::F32, {3, 8}}}, metadata));
  });
}

TEST(ModelFiles, GgufSaysItsWindow) {
  const Folder folder;
  json metadata = gguf_llama();
  const std::vector<TensorPlan> plan = {{"token_embd.weight", DType::F32, {3, 8}}};
  metadata["llama.attention.sliding_window"] = 0;
  EXPECT_FALSE(open_model_files(write_model(folder, plan, metadata)).config.sliding_window.has_value());
  metadata["llama.attention.sliding_window"] = 4096;
  const ModelConfig config = open_model_files(write_model(folder, plan, metadata)).config;
  EXPECT_EQ(config.sliding_window, 4096);
  EXPECT_TRUE(config.windowed(0));
}

TEST(ModelFiles, NamesTheMissingKeyOfAGguf) {
  const Folder folder;
  json metadata = gguf_llama();
  metadata.erase("llama.block_count");
  expect_error(Category::InvalidArgument, "'llama.block_count' is missing",
               [&] { open_model_files(write_model(folder, {}, metadata)); });
  metadata = gguf_llama();
  metadata["general.architecture"] = "lama";
  expect_error(Category::Unsupported, "did you mean 'llama'",
               [&] { open_model_files(write_model(folder, {}, metadata)); });
}

// What is laid out by them comes before the tensors that could contradict them.
TEST(ModelConfig, ASizeThatNoModelHasIsNamedWithTheLargest) {
  for (const auto& [key, largest] : {std::pair{"num_hidden_layers", 4096},
                                     {"head_dim", 8192},
                                     {"num_attention_heads", 4096},
                                     {"hidden_size", 1 << 20},
                                     {"vocab_size", 1 << 24}}) {
    json object = llama();
    object[key] = largest + 1;
    expect_error(
        Category::InvalidArgument,
        fmt::format("c: field '{}' is {}; a whole number from 1 to {} was expected", key, largest + 1, largest),
        [&] { model_config_from_json(object, "c"); });
  }
  json object = llama();
  object["num_hidden_layers"] = 4096;
  object["head_dim"] = 8192;
  object["max_position_embeddings"] = std::int64_t{1} << 31;
  const ModelConfig config = model_config_from_json(object, "c");
  EXPECT_EQ(config.layers, 4096);
  EXPECT_EQ(config.head_dim, 8192);
  EXPECT_EQ(config.max_positions, std::int64_t{1} << 31);
}

}  // namespace
}  // namespace graft
