// Golden models written as GGUF, as llama.cpp's converter lays them out, compute what their Hugging Face folders
// compute.
#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <utility>

#include "../golden/folder.h"
#include "adapters/core/peft.h"
#include "arch/core/model.h"
#include "checkpoint/writer.h"
#include "nn/tensor_file.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Parts of Hugging Face's names and what GGUF has in their place.
const std::vector<std::pair<std::string, std::string>> kNames = {{"model.embed_tokens", "token_embd"},
                                                                 {"transformer.wte", "token_embd"},
                                                                 {"transformer.wpe", "position_embd"},
                                                                 {"transformer.ln_f", "output_norm"},
                                                                 {"model.norm", "output_norm"},
                                                                 {"lm_head", "output"},
                                                                 {"model.layers.", "blk."},
                                                                 {"transformer.h.", "blk."},
                                                                 {"post_attention_layernorm", "ffn_norm"},
                                                                 {"input_layernorm", "attn_norm"},
                                                                 {"self_attn.q_proj", "attn_q"},
                                                                 {"self_attn.k_proj", "attn_k"},
                                                                 {"self_attn.v_proj", "attn_v"},
                                                                 {"self_attn.o_proj", "attn_output"},
                                                                 {"self_attn.q_norm", "attn_q_norm"},
                                                                 {"self_attn.k_norm", "attn_k_norm"},
                                                                 {"mlp.gate_proj", "ffn_gate"},
                                                                 {"mlp.up_proj", "ffn_up"},
                                                                 {"mlp.down_proj", "ffn_down"},
                                                                 {"attn.c_attn", "attn_qkv"},
                                                                 {"attn.c_proj", "attn_output"},
                                                                 {"mlp.c_fc", "ffn_up"},
                                                                 {"mlp.c_proj", "ffn_down"},
                                                                 {"ln_1", "attn_norm"},
                                                                 {"ln_2", "ffn_norm"}};

std::string gguf_name(std::string name) {
  for (const auto& [from, to] : kNames) {
    if (const auto at = name.find(from); at != std::string::npos) name.replace(at, from.size(), to);
  }
  return name;
}

json metadata_of(const ModelConfig& config, const std::string& architecture) {
  json keys = {{"block_count", config.layers},
               {"context_length", config.max_positions},
               {"embedding_length", config.hidden_size},
               {"feed_forward_length", config.intermediate_size},
               {"attention.head_count", config.heads}};
  if (architecture == "gpt2") {
    keys["attention.layer_norm_epsilon"] = config.norm_eps;
  } else {
    keys["attention.layer_norm_rms_epsilon"] = config.norm_eps;
    keys["attention.head_count_kv"] = config.kv_heads;
    keys["attention.key_length"] = config.head_dim;
    keys["rope.freq_base"] = config.rope.theta;
  }
  if (config.sliding_window) keys["attention.sliding_window"] = *config.sliding_window;
  json metadata = {{"general.architecture", architecture}};
  for (const auto& [key, value] : keys.items()) metadata[architecture + "." + key] = value;
  return metadata;
}

// Rows of q and k alternate between the halves of each head for the architecture llama; GPT-2's maps are transposed.
at::Tensor laid_out(const std::string& name, const at::Tensor& value, const ModelConfig& config,
                    const std::string& architecture) {
  const bool q = name.find("attn_q.") != std::string::npos, k = name.find("attn_k.") != std::string::npos;
  if (architecture == "llama" && (q || k)) {
    const auto stored = unpermute_rows(value.size(0), q ? config.heads : config.kv_heads);
    at::Tensor result = at::empty_like(value);
    for (std::size_t row = 0; row < stored.size(); ++row) result[stored[row]] = value[static_cast<std::int64_t>(row)];
    return result;
  }
  const bool map = architecture == "gpt2" && name.starts_with("blk.") && value.dim() == 2;
  return (map ? value.t() : value).contiguous();
}

at::Tensor quantised(const at::Tensor& values, DType type) {
  at::Tensor blocks = at::empty({values.numel() / block_elements(type) * block_bytes(type)}, at::kByte);
  quantise(type, {values.const_data_ptr<float>(), static_cast<std::size_t>(values.numel())},
           {static_cast<std::byte*>(blocks.data_ptr()), blocks.nbytes()});
  return blocks;
}

// `type`: of matrices whose rows are whole blocks.
void write_as_gguf(const fs::path& folder, const fs::path& file, const std::string& architecture,
                   DType type = DType::F32) {
  const ModelConfig config = read_model_config(folder);
  std::vector<TensorPlan> plan;
  std::vector<at::Tensor> values;
  for (const auto& [name, value] : read_tensors(folder / "model.safetensors")) {
    const std::string stored = gguf_name(name);
    values.push_back(laid_out(stored, value, config, architecture));
    const auto shape = values.back().sizes().vec();
    const bool blocks = is_quantised(type) && shape.size() == 2 && shape[1] % block_elements(type) == 0;
    plan.push_back({stored, blocks ? type : DType::F32, shape});
    if (blocks) values.back() = quantised(values.back(), type);
  }
  const auto writer = write_gguf(file, plan, metadata_of(config, architecture));
  for (const auto& value : values)
    writer->write({static_cast<const std::byte*>(value.const_data_ptr()), value.nbytes()});
  writer->finish();
}

class GgufParity : public testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(GgufParity, ComputesWhatTheFolderComputes) {
  const auto& [golden, architecture] = GetParam();
  const fs::path folder = goldens() / golden / "model";
  if (!fs::exists(folder)) GTEST_SKIP() << "no goldens in " << goldens() << "; ./check makes them";
  const fs::path file = fs::temp_directory_path() / ("graft-" + std::to_string(::getpid()) + ".gguf");
  write_as_gguf(folder, file, architecture);
  const auto want = load_model(folder.string()), got = load_model(file.string());
  fs::remove(file);
  StepInput input;
  input.decoder.add({5, 17, 99, 3, 42, 150, 7, 7, 61, 20, 88, 1});
  const at::Tensor expected = want->logits(want->forward(input)), logits = got->logits(got->forward(input));
  EXPECT_LE((logits - expected).abs().max().item<double>(), 1e-5 * expected.abs().max().item<double>());
}

// Rows of q and k are put back in their places as whole rows of blocks.
TEST_P(GgufParity, PackedComputesWhatTheDequantisedFileComputes) {
  const auto& [golden, architecture] = GetParam();
  const fs::path folder = goldens() / golden / "model";
  if (!fs::exists(folder)) GTEST_SKIP() << "no goldens in " << goldens() << "; ./check makes them";
  const fs::path file = fs::temp_directory_path() / ("graft-packed-" + std::to_string(::getpid()) + ".gguf");
  write_as_gguf(folder, file, architecture, DType::Q8_0);
  const auto want = load_model(file.string());
  const auto got = load_model(file.string(), {at::kFloat, at::kCPU, WeightFormat::Packed});
  const auto again = load_model(file.string(), {at::kFloat, at::kCPU, WeightFormat::Q4_0});
  fs::remove(file);
  EXPECT_NE(got->parameters().storage().find("Q8_0"), std::string::npos) << got->parameters().storage();
  EXPECT_NE(again->parameters().storage().find("Q4_0"), std::string::npos) << again->parameters().storage();
  EXPECT_EQ(base_fingerprint(*got), base_fingerprint(*want));
  EXPECT_NE(base_fingerprint(*again), base_fingerprint(*want));
  StepInput input;
  input.decoder.add({5, 17, 99, 3, 42, 150, 7, 7, 61, 20, 88, 1});
  const at::Tensor expected = want->logits(want->forward(input)), logits = got->logits(got->forward(input));
  EXPECT_LE((logits - expected).abs().max().item<double>(), 1e-6 * expected.abs().max().item<double>());
}

INSTANTIATE_TEST_SUITE_P(Golden, GgufParity,
                         testing::Values(std::pair("llama", "llama"), std::pair("llama-gqa", "llama"),
                                         std::pair("mistral", "llama"), std::pair("qwen2", "qwen2"),
                                         std::pair("qwen3", "qwen3"), std::pair("gpt2", "gpt2")));

}  // namespace
}  // namespace graft
