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
#include "as_gguf.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

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
  EXPECT_EQ(base_fingerprint(*got), base_fingerprint(*want));
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
