// Whole tensors against the pinned reference: logits, loss, every gradient, ten optimiser steps, T-Few's losses, and
// PEFT adapters read and written back. tests/golden/README.md says what each key is.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "../golden/folder.h"
#include "../golden/gap.h"
#include "adapters/core/peft.h"
#include "arch/core/model.h"
#include "base/rng.h"
#include "eval/choices.h"
#include "generate/decode.h"
#include "nn/tensor_file.h"
#include "objectives/lm.h"
#include "objectives/tfew.h"
#include "train/optim.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

// Largest difference allowed, relative to the tensor's largest value.
constexpr double kFloat32 = 1e-4;
// Between the best and the second-best logit, so that rounding cannot swap them.
constexpr double kLeastMargin = 1e-4;
// Of what rounding alone makes of the losses of ten steps in three reruns of the reference, this many times as much.
constexpr double kSpread = 3.0;
// Rounding in a gradient whose true value is zero.
constexpr double kUnseenGradient = 1e-6;
// In bf16 the measure is the reference itself: graft may be this many times as far from the fp32 tensors as the
// reference's own bf16 run is, and at least kBfloat16Floor.
constexpr double kBfloat16Share = 4.0;
constexpr double kBfloat16Floor = 0.02;

struct Case {
  fs::path model;
  fs::path folder;
  std::string method;
  /// False for a method that has no adapter file.
  bool has_adapter() const { return fs::exists(folder / "adapter"); }
  std::string title() const { return model.parent_path().filename().string() + "/" + method; }
};

std::vector<Case> cases() {
  std::vector<Case> found;
  if (!fs::exists(goldens())) return found;
  for (const auto& entry : fs::directory_iterator(goldens())) {
    if (!entry.is_directory()) continue;
    for (const auto& method : fs::directory_iterator(entry)) {
      if (fs::exists(method.path() / "golden.safetensors"))
        found.push_back({entry.path() / "model", method.path(), method.path().filename().string()});
    }
  }
  std::sort(found.begin(), found.end(), [](const Case& a, const Case& b) { return a.folder < b.folder; });
  return found;
}

class Golden {
 public:
  explicit Golden(const fs::path& file) {
    for (auto& [name, value] : read_tensors(file)) tensors_[name] = value;
  }
  bool has(const std::string& key) const { return tensors_.count(key) > 0; }
  at::Tensor at(const std::string& key) const { return tensors_.at(key); }
  const std::map<std::string, at::Tensor>& all() const { return tensors_; }
  std::vector<std::int64_t> ids(const std::string& key) const {
    const at::Tensor values = tensors_.at(key).to(at::kLong).contiguous();
    return {values.data_ptr<std::int64_t>(), values.data_ptr<std::int64_t>() + values.numel()};
  }
  /// The tensors whose keys begin with `prefix`, without it.
  std::map<std::string, at::Tensor> below(const std::string& prefix) const {
    std::map<std::string, at::Tensor> found;
    for (const auto& [key, value] : tensors_) {
      if (key.starts_with(prefix)) found[key.substr(prefix.size())] = value;
    }
    return found;
  }

 private:
  std::map<std::string, at::Tensor> tensors_;
};

// A softmax does not see a key bias where keys are not rotated: its true gradient is zero, and AdamW turns rounding
// noise into full steps.
bool unseen(const Model& model, const std::string& name) {
  return model.config().architecture == "bart" && name.ends_with("k_proj.bias");
}

// The same for the third of GPT-2's fused bias that is the keys'.
at::Tensor without_key_bias(const std::string& name, const at::Tensor& mine, const at::Tensor& want) {
  if (!name.ends_with("attn.c_attn.bias")) return mine;
  at::Tensor result = mine.clone();
  const auto third = result.size(0) / 3;
  result.narrow(0, third, third).copy_(want.narrow(0, third, third));
  return result;
}

/// One model, one adapter and the golden's batch.
class Subject {
 public:
  Subject(const Case& which, at::ScalarType dtype) : case_(which), golden(which.folder / "golden.safetensors") {
    ModelOptions options;
    options.dtype = dtype;
    model = load_model(which.model.string(), options);
    if (which.has_adapter()) {
      adapter = load_adapter(which.folder / "adapter", *model).adapter;
    } else {
      Rng rng(0);
      adapter = adapters::find(which.method).create(*model, nlohmann::json::object(), rng);
    }
    options_.slots = {adapter.get()};
    for (int i = 0; golden.has(fmt::format("input_ids.{}", i)); ++i) add_sequence(i);
  }

  at::Tensor logits() const { return model->logits(model->forward(input_, options_), options_); }

  at::Tensor loss(double smoothing = 0) const {
    const at::Tensor rows = logits().index_select(0, at::tensor(rows_, at::kLong)).to(at::kFloat);
    return at::cross_entropy_loss(rows, at::tensor(targets_, at::kLong), {}, at::Reduction::Mean, -100, smoothing);
  }

  const std::vector<Segment>& sequences() const { return input_.decoder.segments; }
  const ForwardOptions& options() const { return options_; }

  /// The adapter's tensors, or their gradients, under the reference's names.
  std::map<std::string, at::Tensor> named(bool gradients) const {
    const at::NoGradGuard no_grad;
    const auto parameters = adapter->parameters();
    std::vector<at::Tensor> kept;
    for (const auto& parameter : parameters) {
      kept.push_back(parameter.value.detach().clone());
      at::Tensor value = parameter.value;
      if (gradients) value.copy_(value.grad().defined() ? value.grad() : at::zeros_like(value));
    }
    std::map<std::string, at::Tensor> result;
    if (case_.has_adapter()) {
      for (const auto& tensor : adapter->peft_tensors())
        result[tensor.name == kPromptEmbeddings ? tensor.name : "base_model.model." + tensor.name] =
            tensor.value.detach().clone();
    } else {
      for (const auto& parameter : parameters) result[parameter.name] = parameter.value.detach().clone();
    }
    for (std::size_t i = 0; i < parameters.size(); ++i) at::Tensor(parameters[i].value).copy_(kept[i]);
    return result;
  }

  void expect_near(const std::map<std::string, at::Tensor>& want, bool gradients, double tolerance,
                   const std::string& unstable = "") const {
    ASSERT_FALSE(want.empty());
    const auto got = named(gradients);
    for (const auto& [name, value] : want) {
      ASSERT_TRUE(got.count(name) > 0) << name << " is not among the adapter's tensors";
      at::Tensor mine = got.at(name).reshape(value.sizes());
      if (unseen(*model, name)) {
        if (gradients) {
          EXPECT_LE(mine.abs().max().item<double>(), kUnseenGradient) << case_.title() << " " << name;
        }
        continue;
      }
      if (!unstable.empty() && golden.has(unstable + name))
        mine = at::where(golden.at(unstable + name) == 1, value, mine);
      if (!gradients) mine = without_key_bias(name, mine, value);
      EXPECT_LE(relative_gap(mine, value), tolerance) << case_.title() << " " << name;
    }
  }

 private:
  void add_sequence(int i) {
    const auto ids = golden.ids(fmt::format("input_ids.{}", i)), targets = golden.ids(fmt::format("targets.{}", i));
    const auto first = input_.decoder.size();
    if (model->encoder_decoder()) {
      const auto source = input_.encoder.add(ids, -1, 0);
      input_.decoder.add(golden.ids(fmt::format("decoder_input_ids.{}", i)), -1, 0, source);
    } else {
      input_.decoder.add(ids, -1, 0);
    }
    for (std::size_t t = 0; t < targets.size(); ++t) {
      rows_.push_back(first + static_cast<std::int64_t>(t));
      targets_.push_back(targets[t]);
    }
  }

  Case case_;

 public:
  Golden golden;
  std::unique_ptr<Model> model;
  std::unique_ptr<Adapter> adapter;

 private:
  StepInput input_;
  ForwardOptions options_;
  std::vector<std::int64_t> rows_, targets_;
};

void expect_logits(const Subject& subject, const std::string& prefix, double tolerance) {
  const at::NoGradGuard no_grad;
  const at::Tensor logits = subject.logits();
  for (std::size_t i = 0; i < subject.sequences().size(); ++i) {
    const auto& segment = subject.sequences()[i];
    const at::Tensor want = subject.golden.at(fmt::format("{}logits.{}", prefix, i));
    EXPECT_LE(relative_gap(logits.narrow(0, segment.begin, segment.length), want), tolerance)
        << prefix << "logits." << i;
  }
}

class GoldenParity : public testing::TestWithParam<Case> {};

TEST_P(GoldenParity, Float32LogitsLossAndGradients) {
  const Subject subject(GetParam(), at::kFloat);
  expect_logits(subject, "", kFloat32);
  const at::Tensor loss = subject.loss();
  EXPECT_LE(relative_gap(loss.detach(), subject.golden.at("loss")), kFloat32);
  loss.backward();
  subject.expect_near(subject.golden.below("grad."), true, kFloat32, "unstable.grad.");
}

// By norms: in bf16 the largest difference is one element's, whose ReLU may have flipped in either.
double norm_gap(const at::Tensor& got, const at::Tensor& want) {
  return ((got.to(at::kFloat) - want).norm() / want.norm()).item<double>();
}

struct Gaps {
  double ours = 0;
  double reference = 0;
  void add(const at::Tensor& got, const at::Tensor& reference_bf16, const at::Tensor& fp32) {
    ours = std::max(ours, norm_gap(got.reshape(fp32.sizes()), fp32));
    reference = std::max(reference, norm_gap(reference_bf16, fp32));
  }
  void expect_close(const char* what) const {
    EXPECT_LE(ours, std::max(kBfloat16Floor, kBfloat16Share * reference)) << what << "; the reference: " << reference;
  }
};

TEST_P(GoldenParity, Bfloat16IsAsNearToFloat32AsTheReference) {
  if (GetParam().method == "full") return;  // graft trains an fp32 copy of the weights, the reference bf16 ones
  const Subject subject(GetParam(), at::kBFloat16);
  const Golden& golden = subject.golden;
  Gaps logits, loss_gap, gradients;
  const at::Tensor all = subject.logits().detach();
  for (std::size_t i = 0; i < subject.sequences().size(); ++i) {
    const auto& segment = subject.sequences()[i];
    const auto key = fmt::format("logits.{}", i);
    logits.add(all.narrow(0, segment.begin, segment.length), golden.at("bf16." + key), golden.at(key));
  }
  logits.expect_close("logits");
  const at::Tensor loss = subject.loss();
  loss_gap.add(loss.detach(), golden.at("bf16.loss"), golden.at("loss"));
  loss_gap.expect_close("loss");
  loss.backward();
  for (const auto& [name, value] : subject.named(true)) {
    // FISH's file holds places too, which have no gradient.
    if (golden.has("unstable.grad." + name) || !golden.has("grad." + name)) continue;
    gradients.add(value, golden.at("bf16.grad." + name), golden.at("grad." + name));
  }
  gradients.expect_close("gradients");
}

TEST_P(GoldenParity, TenOptimiserSteps) {
  for (const char* name : {"adamw", "adafactor"}) {
    SCOPED_TRACE(name);
    const Subject subject(GetParam(), at::kFloat);
    const bool adamw = std::string(name) == "adamw";
    OptimizerSettings settings;
    settings.name = name;
    settings.weight_decay = adamw ? 0.01 : 0;
    std::vector<at::Tensor> parameters;
    for (const auto& parameter : subject.adapter->parameters()) parameters.push_back(parameter.value);
    const auto optimizer = make_optimizer(settings, parameters);
    const double lr = adamw && GetParam().method == "full" ? 1e-3 : 3e-3;
    std::vector<double> losses;
    for (int step = 0; step < 10; ++step) {
      const at::Tensor loss = subject.loss();
      losses.push_back(loss.item<double>());
      loss.backward();
      optimizer->step(lr);
    }
    const std::string key = fmt::format("losses.{}", name);
    const at::Tensor want = subject.golden.at(key);
    // What rounding decides (tests/golden/README.md) is no difference to the reference.
    const double spread = subject.golden.at("spread." + key).item<double>() / want.abs().max().item<double>();
    EXPECT_LE(relative_gap(at::tensor(losses), want), std::max(kFloat32, kSpread * spread));
    const std::string prefix = adamw ? "step10." : "adafactor10.";
    subject.expect_near(subject.golden.below(prefix), false, kFloat32, "unstable." + prefix);
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
  const fs::path folder = fs::path(testing::TempDir()) / ("peft-" + std::to_string(::getpid()));
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
    subject.expect_near(subject.golden.below(fmt::format("tfew.{}.grad.", part.key)), true, kFloat32);
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
  subject.expect_near(subject.golden.below("grad."), true, kFloat32, "unstable.grad.");
}

INSTANTIATE_TEST_SUITE_P(Reference, GoldenParity, testing::ValuesIn(cases()), [](const auto& info) {
  std::string title = info.param.title();
  for (char& letter : title) letter = std::isalnum(static_cast<unsigned char>(letter)) ? letter : '_';
  return title;
});
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GoldenParity);

TEST(Goldens, AreThere) {
  if (cases().empty()) GTEST_SKIP() << "no goldens in " << goldens() << "; ./check makes them";
  EXPECT_GE(cases().size(), 9u);
}

}  // namespace
}  // namespace graft
