#include "tiny_model.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/file.h"
#include "base/rng.h"
#include "checkpoint/writer.h"
#include "text/byte_alphabet.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::int64_t kVocabulary = 260, kModel = 32, kInner = 64, kLayers = 2, kHeads = 2, kContext = 128;

// 256 bytes, one merge, and what begins and ends a text; one id is left free.
std::vector<std::string> tokens() {
  std::vector<std::string> all;
  for (int byte = 0; byte < 256; ++byte)
    all.push_back(text::alphabet_of_bytes(std::string(1, static_cast<char>(byte))));
  all.insert(all.end(), {"he", "<s>", "</s>"});
  return all;
}

Json tokenizer_json() {
  Json vocabulary = Json::object(), added = Json::array();
  const auto all = tokens();
  for (std::size_t id = 0; id < all.size(); ++id) vocabulary[all[id]] = id;
  for (const std::size_t id : {257, 258}) {
    added.push_back({{"id", id},
                     {"content", all[id]},
                     {"special", true},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false}});
  }
  return {{"version", "1.0"},
          {"added_tokens", added},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", {"h e"}}}}};
}

// The names of the two formats differ, their order and shapes do not.
struct Names {
  const char *embed, *norm, *head, *block;
  std::vector<const char*> parts;  // two norms, q k v o, gate up down
};

const Names kHuggingFace = {"model.embed_tokens.weight",
                            "model.norm.weight",
                            "lm_head.weight",
                            "model.layers.",
                            {"input_layernorm", "post_attention_layernorm", "self_attn.q_proj", "self_attn.k_proj",
                             "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}};
const Names kGguf = {
    "token_embd.weight",
    "output_norm.weight",
    "output.weight",
    "blk.",
    {"attn_norm", "ffn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"}};

std::vector<TensorPlan> plan(const Names& names) {
  std::vector<TensorPlan> all = {{names.embed, DType::F32, {kVocabulary, kModel}},
                                 {names.norm, DType::F32, {kModel}},
                                 {names.head, DType::F32, {kVocabulary, kModel}}};
  const std::vector<std::vector<std::int64_t>> shapes = {{kModel},         {kModel},         {kModel, kModel},
                                                         {kModel, kModel}, {kModel, kModel}, {kModel, kModel},
                                                         {kInner, kModel}, {kInner, kModel}, {kModel, kInner}};
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    for (std::size_t part = 0; part < shapes.size(); ++part) {
      all.push_back(
          {names.block + std::to_string(layer) + "." + names.parts[part] + ".weight", DType::F32, shapes[part]});
    }
  }
  return all;
}

void write_weights(CheckpointWriter& writer, const std::vector<TensorPlan>& tensors, Weights weights) {
  Rng rng(weights == Weights::Other ? 9 : 1);
  for (const TensorPlan& tensor : tensors) {
    std::size_t count = 1;
    for (const auto size : tensor.shape) count *= static_cast<std::size_t>(size);
    std::vector<float> values(count, 1.0F);
    if (tensor.shape.size() > 1) {
      for (float& value : values) value = static_cast<float>(0.3 * rng.normal());
    }
    if (weights == Weights::WithNaN && tensor.name.find("1.mlp.up_proj") != std::string::npos)
      values[5] = std::numeric_limits<float>::quiet_NaN();
    if (tensor.dtype == DType::F32) {
      writer.write(std::as_bytes(std::span(values)));
      continue;
    }
    std::vector<std::byte> blocks(count / static_cast<std::size_t>(block_elements(tensor.dtype)) *
                                  static_cast<std::size_t>(block_bytes(tensor.dtype)));
    quantise(tensor.dtype, values, blocks);
    writer.write(blocks);
  }
  writer.finish();
}

}  // namespace

void write_model(const fs::path& folder, Weights weights) {
  const Json config = {{"model_type", "llama"},
                       {"vocab_size", kVocabulary},
                       {"hidden_size", kModel},
                       {"intermediate_size", kInner},
                       {"num_hidden_layers", kLayers},
                       {"num_attention_heads", kHeads},
                       {"max_position_embeddings", kContext},
                       {"bos_token_id", 257},
                       {"eos_token_id", 258},
                       {"tie_word_embeddings", false}};
  write_file(folder / "config.json", config.dump(2));
  write_file(folder / "tokenizer.json", tokenizer_json().dump());
  const auto tensors = plan(kHuggingFace);
  write_weights(*write_safetensors(folder / "model.safetensors", tensors), tensors, weights);
}

void write_gguf_model(const fs::path& file, DType type) {
  std::vector<int> types(259, 1);
  types[257] = types[258] = 3;
  const Json metadata = {{"general.architecture", "llama"},      {"llama.embedding_length", kModel},
                         {"llama.feed_forward_length", kInner},  {"llama.block_count", kLayers},
                         {"llama.attention.head_count", kHeads}, {"llama.attention.layer_norm_rms_epsilon", 1e-5},
                         {"llama.context_length", kContext},     {"tokenizer.ggml.model", "gpt2"},
                         {"tokenizer.ggml.pre", "gpt-2"},        {"tokenizer.ggml.tokens", tokens()},
                         {"tokenizer.ggml.token_type", types},   {"tokenizer.ggml.merges", {"h e"}},
                         {"tokenizer.ggml.bos_token_id", 257},   {"tokenizer.ggml.eos_token_id", 258}};
  auto tensors = plan(kGguf);
  for (TensorPlan& tensor : tensors) {
    if (tensor.shape.size() > 1) tensor.dtype = type;
  }
  write_weights(*write_gguf(file, tensors, metadata), tensors, Weights::Sound);
}

void write_rows(const fs::path& file, int rows) {
  const std::vector<std::vector<std::string>> words = {{"goal", "match", "team", "coach"},
                                                       {"chip", "code", "phone", "robot"}};
  Rng rng(2);
  std::string lines;
  for (int row = 0; row < rows; ++row) {
    const auto topic = static_cast<std::size_t>(row % 2);
    std::string text;
    for (int word = 0; word < 6; ++word) text += words[topic][rng.below(4)] + " ";
    text += std::to_string(row);
    lines += Json{{"text", text}, {"label", topic == 0 ? "sport" : "tech"}}.dump() + "\n";
  }
  write_file(file, lines);
}

std::string topics_task() {
  return R"(name: topics
format: jsonl
splits: {pool: .}
label: label
labels: [sport, tech]
templates:
  - {name: topic, prompt: "{text}\nTopic:"}
  - {name: about, prompt: "What is this about? {text}\nIt is about"}
)";
}

}  // namespace graft::e2e
