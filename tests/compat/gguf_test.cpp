// Golden models written as GGUF, as llama.cpp's converter lays them out, compute what their Hugging Face folders
// compute.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <utility>

#include "../golden/folder.h"
#include "adapters/core/peft.h"
#include "arch/core/model.h"
#include "arch/core/weight_memory.h"
#include "as_gguf.h"
#include "base/file.h"
#include "checkpoint/fixture_test.h"
#include "convert/lossless_model.h"
#include "parity_texts.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

class GgufParity : public ::testing::TestWithParam<std::pair<const char*, const char*>> {
 protected:
  void SetUp() override {
    const fs::path golden = goldens() / GetParam().first / "model";
    if (!fs::exists(golden)) GTEST_SKIP() << "no goldens in " << goldens() << "; ./check makes them";
    source_ = golden;
    if (architecture() != "t5") return;
    // Files of T5 hold no word of this distance, which is 128 in every published model.
    source_ = folder_.path() / "t5";
    fs::create_directories(source_);
    fs::copy_file(golden / "model.safetensors", source_ / "model.safetensors");
    auto config = nlohmann::json::parse(read_file(golden / "config.json"));
    config["relative_attention_max_distance"] = 128;
    write_file(source_ / "config.json", config.dump());
  }

  std::string architecture() const { return GetParam().second; }
  const fs::path& source() const { return source_; }
  fs::path file() const { return folder_.path() / "model.gguf"; }

 private:
  testing::Folder folder_;
  fs::path source_;
};

TEST_P(GgufParity, ComputesWhatTheFolderComputes) {
  write_as_gguf(source(), file(), architecture());
  const auto want = load_model(source().string()), got = load_model(file().string());
  const StepInput input = parity_texts(*want);
  const at::Tensor expected = want->logits(want->forward(input)), logits = got->logits(got->forward(input));
  EXPECT_LE((logits - expected).abs().max().item<double>(), 1e-5 * expected.abs().max().item<double>());
  // One added and taken off again leaves the last digits of fp32 norms, which published models do not have, elsewhere.
  if (!architecture().starts_with("gemma")) {
    EXPECT_EQ(base_fingerprint(*got), base_fingerprint(*want));
  }
}

// Rows of q and k are put back in their places as whole rows of blocks.
TEST_P(GgufParity, PackedComputesWhatTheDequantisedFileComputes) {
  write_as_gguf(source(), file(), architecture(), DType::Q8_0);
  const auto want = load_model(file().string());
  const auto got = load_model(file().string(), {at::kFloat, at::kCPU, WeightFormat::Packed});
  const auto again = load_model(file().string(), {at::kFloat, at::kCPU, WeightFormat::Q4_0});
  EXPECT_NE(got->parameters().storage().find("Q8_0"), std::string::npos) << got->parameters().storage();
  EXPECT_NE(again->parameters().storage().find("Q4_0"), std::string::npos) << again->parameters().storage();
  EXPECT_EQ(base_fingerprint(*got), base_fingerprint(*want));
  EXPECT_NE(base_fingerprint(*again), base_fingerprint(*want));
  const StepInput input = parity_texts(*want);
  const at::Tensor expected = want->logits(want->forward(input)), logits = got->logits(got->forward(input));
  EXPECT_LE((logits - expected).abs().max().item<double>(), 1e-6 * expected.abs().max().item<double>());
}

// Rows that change places are copies, which the header does not say.
TEST_P(GgufParity, LoadingTakesWhatIsToldBefore) {
  write_as_gguf(source(), file(), architecture(), DType::Q8_0);
  for (const WeightFormat format : {WeightFormat::Dense, WeightFormat::Packed, WeightFormat::Q4_0}) {
    SCOPED_TRACE(name(format));
    ModelOptions options{at::kBFloat16, at::kCPU, format};
    const std::int64_t own = weight_memory(load_model(file().string(), options)->parameters()).own;
    ASSERT_GT(own, 1);
    options.memory = own;
    EXPECT_NO_THROW(load_model(file().string(), options));
    options.memory = own - 1;
    testing::expect_error(Category::ResourceExhausted, "would take", [&] { load_model(file().string(), options); });
  }
}

// merge, blend, similarity and convert: dense where there is room, else the blocks in their place, with the same
// values.
TEST_P(GgufParity, WorkOnValuesTakesBlocksWhereADenseCopyHasNoRoom) {
  write_as_gguf(source(), file(), architecture(), DType::Q8_0);
  ModelOptions options{at::kFloat, at::kCPU, WeightFormat::Dense};
  const auto dense = load_lossless(file(), options);
  EXPECT_FALSE(dense->parameters().packed());
  options.memory = weight_memory(dense->parameters()).own - 1;
  const auto blocks = load_lossless(file(), options);
  EXPECT_TRUE(blocks->parameters().packed());
  EXPECT_LT(weight_memory(blocks->parameters()).own, options.memory);
  for (std::size_t i = 0; i < dense->parameters().all().size(); ++i) {
    const auto index = static_cast<std::int64_t>(i);
    EXPECT_TRUE(at::equal(dense->parameters().value(index), blocks->parameters().value(index)))
        << dense->parameters().all()[i].name;
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, GgufParity,
                         ::testing::Values(std::pair("llama", "llama"), std::pair("llama-gqa", "llama"),
                                           std::pair("llama-linear", "llama"), std::pair("llama-llama3", "llama"),
                                           std::pair("mistral", "llama"), std::pair("qwen2", "qwen2"),
                                           std::pair("qwen3", "qwen3"), std::pair("gpt2", "gpt2"),
                                           std::pair("gemma2", "gemma2"), std::pair("gemma3", "gemma3"),
                                           std::pair("phi3", "phi3"), std::pair("phi3-longrope", "phi3"),
                                           std::pair("olmo2", "olmo2"), std::pair("t5", "t5"),
                                           std::pair("t5-v11", "t5"), std::pair("mt5", "t5")));

}  // namespace
}  // namespace graft
