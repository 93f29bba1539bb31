// A real model from a real GGUF file: SmolLM2's logits and greedy texts are those of the reference, which dequantises
// it. generate_parity.py is the long form, by hand.
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <vector>

#include "generate/decode.h"
#include "golden_subject.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

constexpr double kLogits = 1e-3;  // absolute

TEST(RealModel, SmolLm2FromGgufWritesWhatTheReferenceWrites) {
  const fs::path folder = goldens() / "smollm2";
  if (!fs::exists(folder / "model.gguf"))
    GTEST_SKIP() << "no SmolLM2 in " << goldens() << "; ./setup --goldens --data and tests/golden/make.py put it there";
  const parity::Golden golden(folder / "golden.safetensors");
  const auto model = load_model((folder / "model.gguf").string());
  const at::NoGradGuard no_grad;
  int compared = 0;
  for (; golden.has(fmt::format("prompt.{}", compared)); ++compared) {
    const auto prompt = golden.ids(fmt::format("prompt.{}", compared));
    StepInput input;
    input.decoder.add(prompt);
    const at::Tensor logits = model->logits(model->forward(input))[static_cast<std::int64_t>(prompt.size()) - 1];
    const at::Tensor want = golden.at(fmt::format("logits.{}", compared));
    EXPECT_LE((logits - want).abs().max().item<double>(), kLogits) << "prompt " << compared;
    const auto tokens = golden.ids(fmt::format("tokens.{}", compared));
    GenerateOptions options;
    options.max_new_tokens = static_cast<std::int64_t>(tokens.size());
    options.ignore_eos = true;
    options.activations = Activations::Exact;
    EXPECT_EQ(generate(*model, {{prompt, 0, -1}}, options)[0].tokens, tokens) << "prompt " << compared;
  }
  EXPECT_GE(compared, 3);
}

}  // namespace
}  // namespace graft
