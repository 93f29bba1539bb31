// Whole tensors against the pinned reference: logits, loss, every gradient, ten optimiser steps, T-Few's losses, and
// PEFT adapters read and written back. tests/golden/README.md says what each key is.
#include "golden_subject.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "eval/choices.h"
#include "generate/decode.h"
#include "objectives/lm.h"
#include "objectives/tfew.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using parity::Case;
using parity::Golden;
using parity::Subject;

// Largest difference allowed, relative to the tensor's largest value.
constexpr double kFloat32 = 1e-4;
// Of what ten steps change, by norms: the changes are small beside the values.
constexpr double kFloat32Change = 0.03;
// Of the values themselves in ten steps, which is all that a parameter without a gradient has beside its decay.
constexpr double kRounding = 1e-6;
// Between the best and the second-best logit, so that rounding cannot swap them.
constexpr double kLeastMargin = 1e-4;
// Rounding in a gradient whose true value is zero.
constexpr double kUnseenGradient = 1e-6;

// What rounding decides is no difference: those numbers are taken from `want`.
at::Tensor without_unstable(const Subject& subject, const std::string& key, const at::Tensor& mine,
                            const at::Tensor& want) {
  if (!subject.golden.has("unstable." + key)) return mine;
  return at::where(subject.golden.at("unstable." + key) == 1, want, mine);
}

// A softmax does not see the third of GPT-2's fused bias that is the keys': AdamW turns rounding into full steps.
at::Tensor without_key_bias(const std::string& name, const at::Tensor& mine, const at::Tensor& want) {
  if (!name.ends_with("attn.c_attn.bias")) return mine;
  at::Tensor result = mine.clone();
  const auto third = result.size(0) / 3;
  result.narrow(0, third, third).copy_(want.narrow(0, third, third));
  return result;
}

at::Tensor found(const std::map<std::string, at::Tensor>& tensors, const std::string& name, const at::Tensor& want) {
  const auto place = tensors.find(name);
  if (place == tensors.end()) {
    ADD_FAILURE() << name << " is not among the adapter's tensors";
    return at::zeros_like(want);
  }
  return place->second.reshape(want.sizes());
}

// Every gradient that the golden has under `prefix`.
void expect_gradients(const Subject& subject, const std::string& prefix) {
  const auto want = subject.golden.below(prefix), got = subject.named(true);
  ASSERT_FALSE(want.empty());
  for (const auto& [name, value] : want) {
    const at::Tensor mine = found(got, name, value);
    if (subject.unseen(name)) {
      EXPECT_LE(mine.abs().max().item<double>(), kUnseenGradient) << prefix << name;
    } else {
      EXPECT_LE(relative_gap(mine, value), kFloat32) << prefix << name;
    }
  }
}

// Every parameter after ten steps: what it is, and how far it has come from what it was in `before`.
void expect_steps(const Subject& subject, const std::string& prefix, const std::map<std::string, at::Tensor>& before) {
  const auto want = subject.golden.below(prefix), got = subject.named(false);
  ASSERT_FALSE(want.empty());
  for (const auto& [name, value] : want) {
    if (subject.unseen(name)) continue;
    const at::Tensor seen = without_unstable(subject, prefix + name, found(got, name, value), value);
    const at::Tensor mine = without_key_bias(name, seen, value);
    EXPECT_LE(relative_gap(mine, value), kFloat32) << prefix << name;
    const double change = (value - found(before, name, value)).norm().item<double>(),
                 rounding = kRounding * value.norm().item<double>();
    EXPECT_LE((mine - value).norm().item<double>(), kFloat32Change * change + rounding) << prefix << name;
  }
}

void expect_logits(const Subject& subject) {
  const at::NoGradGuard no_grad;
  const at::Tensor logits = subject.logits();
  for (std::size_t i = 0; i < subject.sequences().size(); ++i) {
    const auto& segment = subject.sequences()[i];
    const at::Tensor want = subject.golden.at(fmt::format("logits.{}", i));
    EXPECT_LE(relative_gap(logits.narrow(0, segment.begin, segment.length), want), kFloat32) << "logits." << i;
  }
}

class GoldenParity : public ::testing::TestWithParam<Case> {};

TEST_P(GoldenParity, Float32LogitsLossAndGradients) {
  const Subject subject(GetParam(), at::kFloat);
  expect_logits(subject);
  const at::Tensor loss = subject.loss();
  EXPECT_LE(relative_gap(loss.detach(), subject.golden.at("loss")), kFloat32);
  loss.backward();
  expect_gradients(subject, "grad.");
}

TEST_P(GoldenParity, TenOptimiserSteps) {
  for (const char* name : {"adamw", "adafactor"}) {
    SCOPED_TRACE(name);
    const Subject subject(GetParam(), at::kFloat);
    const auto before = subject.named(false);
    EXPECT_LE(relative_gap(subject.train(name), subject.golden.at(fmt::format("losses.{}", name))), kFloat32);
    expect_steps(subject, parity::steps_key(name), before);
  }
}

// Written token by token with cached keys; the reference reads everything again for each token.
TEST_P(GoldenParity, GreedyTextIsTheReferences) {
  const Subject subject(GetParam(), at::kFloat);
  ASSERT_GT(subject.golden.at("generate.margin").item<double>(), kLeastMargin) << "choose another seed for this golden";
  const auto want = subject.golden.ids("generate.ids");
  GenerateOptions options;
  options.max_new_tokens = static_cast<std::int64_t>(want.size());
  options.ignore_eos = true;
  options.slots = subject.options().slots;
  EXPECT_EQ(generate(*subject.model, {{subject.golden.ids("generate.prompt"), 0, 0}}, options)[0].tokens, want);
}

TEST_P(GoldenParity, PeftFilesComeBackEqual) {
  if (!GetParam().has_adapter()) return;
  const Subject subject(GetParam(), at::kFloat);
  const fs::path folder = fs::path(::testing::TempDir()) / ("peft-" + std::to_string(::getpid()));
  save_adapter(folder, *subject.adapter, *subject.model, {});
  const auto before = Golden(GetParam().folder / "adapter/adapter_model.safetensors").all();
  const auto after = Golden(folder / "adapter_model.safetensors").all();
  ASSERT_EQ(before.size(), after.size());
  for (const auto& [name, value] : before) EXPECT_TRUE(at::equal(value, after.at(name))) << name;
  EXPECT_EQ(load_adapter(folder, *subject.model).tensors, before.size());
  fs::remove_all(folder);
}

std::vector<ChoiceTokens> tfew_examples(const Golden& golden) {
  std::vector<ChoiceTokens> examples;
  const auto labels = golden.ids("tfew.labels");
  for (std::size_t e = 0; e < labels.size(); ++e) {
    ChoiceTokens example;
    example.prompt = golden.ids(fmt::format("tfew.prompt.{}", e));
    example.label = labels[e];
    for (int c = 0; golden.has(fmt::format("tfew.choice.{}.{}", e, c)); ++c) {
      example.choices.push_back({golden.ids(fmt::format("tfew.choice.{}.{}", e, c)), 1, 1});
    }
    examples.push_back(example);
  }
  return examples;
}

TEST_P(GoldenParity, TfewLossesAndTheirGradients) {
  if (GetParam().method != "ia3") return;  // the goldens hold them for one method
  struct Part {
    const char* key;
    TfewSettings settings;
  };
  for (const Part& part : {Part{"lm", {1, 0, 0, false}}, Part{"ul", {0, 1, 0, false}}, Part{"ln", {0, 0, 1, false}},
                           Part{"total", {1, 1, 1, false}}, Part{"ul_authors", {0, 1, 0, true}}}) {
    SCOPED_TRACE(part.key);
    const Subject subject(GetParam(), at::kFloat);
    const auto examples = tfew_examples(subject.golden);
    std::vector<const ChoiceTokens*> chosen;
    for (const auto& example : examples) chosen.push_back(&example);
    const ChoiceBatch batch = pack(chosen, subject.model->config(), 0);
    const TfewLoss loss =
        tfew_loss(token_log_probabilities(*subject.model, batch, subject.options()), batch, part.settings);
    EXPECT_LE(relative_gap(loss.total.detach(), subject.golden.at(fmt::format("tfew.loss.{}", part.key))), kFloat32);
    loss.total.backward();
    expect_gradients(subject, fmt::format("tfew.{}.grad.", part.key));
  }
}

// The golden's sequences as texts to write: after their first token, or after the encoder's whole text.
std::vector<ChoiceTokens> texts_to_write(const Subject& subject) {
  std::vector<ChoiceTokens> examples;
  for (int i = 0; subject.golden.has(fmt::format("input_ids.{}", i)); ++i) {
    const auto ids = subject.golden.ids(fmt::format("input_ids.{}", i));
    ChoiceTokens example;
    example.prompt = subject.model->encoder_decoder() ? ids : std::vector<std::int64_t>{ids.front()};
    example.choices = {{subject.golden.ids(fmt::format("targets.{}", i)), 1, 1}};
    example.label = 0;
    examples.push_back(example);
  }
  return examples;
}

TEST_P(GoldenParity, LmObjectiveIsTheReferencesLoss) {
  // The rotation of dynamic RoPE goes by the length of the text, and the reference reads the last token too.
  if (GetParam().model.parent_path().filename() == "llama-dynamic") return;
  const Subject subject(GetParam(), at::kFloat);
  const auto examples = texts_to_write(subject);
  std::vector<const ChoiceTokens*> chosen;
  for (const auto& example : examples) chosen.push_back(&example);
  const auto loss_with = [&](double smoothing) {
    const ChoiceBatch batch = pack(chosen, subject.model->config(), 0, smoothing);
    return lm_loss(token_log_probabilities(*subject.model, batch, subject.options()), batch);
  };
  const at::Tensor loss = loss_with(0);
  EXPECT_LE(relative_gap(loss.detach(), subject.golden.at("loss")), kFloat32);
  EXPECT_LE(relative_gap(loss_with(0.1).detach(), subject.loss(0.1).detach()), kFloat32);
  loss.backward();
  expect_gradients(subject, "grad.");
}

INSTANTIATE_TEST_SUITE_P(Reference, GoldenParity, ::testing::ValuesIn(parity::cases()),
                         [](const auto& info) { return parity::test_name(info.param); });
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GoldenParity);

TEST(Goldens, AreThere) {
  if (parity::cases().empty()) GTEST_SKIP() << "no goldens in " << goldens() << "; ./check makes them";
  EXPECT_GE(parity::cases().size(), 9u);
}

}  // namespace
}  // namespace graft
