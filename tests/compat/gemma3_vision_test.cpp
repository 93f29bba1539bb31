// A golden Gemma 3 put where a checkpoint that reads images has its text model.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "../golden/folder.h"
#include "adapters/core/peft.h"
#include "arch/core/model.h"
#include "base/file.h"
#include "checkpoint/fixture_test.h"
#include "nn/tensor_file.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

// As transformers writes the whole: the text model's own classes below `prefix`, the tower and the projector beside it.
void write_whole(const fs::path& text, const fs::path& folder, const std::string& prefix) {
  const auto inner = nlohmann::json::parse(read_file(text / "config.json"));
  const nlohmann::json config = {{"model_type", "gemma3"},
                                 {"architectures", {"Gemma3ForConditionalGeneration"}},
                                 {"text_config", inner},
                                 {"vision_config", {{"model_type", "siglip_vision_model"}}}};
  NamedTensors tensors;
  for (auto& [name, value] : read_tensors(text / "model.safetensors"))
    tensors.emplace_back(prefix + name.substr(std::string("model.").size()), value);
  tensors.emplace_back("vision_tower.encoder.layers.0.mlp.fc1.weight", at::ones({4, 4}));
  tensors.emplace_back("multi_modal_projector.mm_soft_emb_norm.weight", at::ones({4}));
  write_file(folder / "config.json", config.dump());
  write_tensors(folder / "model.safetensors", tensors);
}

TEST(Gemma3Vision, ItsTextModelComputesAsAlone) {
  const fs::path golden = goldens() / "gemma3" / "model";
  if (!fs::exists(golden)) GTEST_SKIP() << "no goldens in " << goldens() << "; ./check makes them";
  const auto alone = load_model(golden.string());
  StepInput input;
  input.decoder.add({5, 17, 99, 3, 42, 150, 7, 7, 61, 20, 88, 1});
  const at::Tensor want = alone->logits(alone->forward(input));
  const testing::Folder folder;
  for (const std::string prefix : {"language_model.model.", "model.language_model."}) {
    const fs::path place = folder.path() / prefix;
    write_whole(golden, place, prefix);
    ::testing::internal::CaptureStderr();
    const auto whole = load_model(place.string());
    const auto again = load_model(place.string());
    const std::string told = ::testing::internal::GetCapturedStderr();
    EXPECT_TRUE(at::equal(whole->logits(whole->forward(input)), want)) << prefix;
    EXPECT_EQ(base_fingerprint(*whole), base_fingerprint(*alone)) << "an adapter of one fits the other";
    EXPECT_NE(told.find("the other 2 tensors are left out"), std::string::npos) << told;
    EXPECT_EQ(told.find("graft: note"), told.rfind("graft: note")) << "told once";
  }
}

}  // namespace
}  // namespace graft
