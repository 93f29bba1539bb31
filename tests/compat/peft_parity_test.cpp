// Adapters cross over to PEFT and back: what graft trains PEFT computes alike, what PEFT saves graft computes alike,
// for (IA)³ and LoRA on every architecture, LoRA's tables, trained biases and saved modules too. peft_parity.py is the
// reference's side.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "../golden/folder.h"
#include "../golden/gap.h"
#include "adapters/core/combination.h"
#include "adapters/core/peft.h"
#include "arch/core/model.h"
#include "base/file.h"
#include "base/rng.h"
#include "nn/tensor_file.h"
#include "train/optim.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr double kTolerance = 1e-4;  // of the largest logit, float32

// The environment of the goldens, unless another is named. Empty where it has no PEFT.
std::string python_with_peft() {
  const char* given = std::getenv("GRAFT_PEER_PYTHON");
  const std::string python = given != nullptr ? given : GRAFT_SOURCE_DIR "/.deps/torch/bin/python";
  const std::string probe =
      "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, [\"peft\", \"transformers\"])))";
  return std::system(("'" + python + "' -c '" + probe + "' 2>/dev/null").c_str()) == 0 ? python : "";
}

std::map<std::string, at::Tensor> tensors_of(const fs::path& file) {
  std::map<std::string, at::Tensor> tensors;
  for (auto& [name, value] : read_tensors(file)) tensors[name] = value;
  return tensors;
}

std::vector<std::int64_t> ids(const at::Tensor& values) {
  const at::Tensor flat = values.to(at::kLong).contiguous();
  return {flat.data_ptr<std::int64_t>(), flat.data_ptr<std::int64_t>() + flat.numel()};
}

/// A golden's sequences as one batch.
struct Inputs {
  StepInput batch;
  NamedTensors tensors;  ///< input_ids.i and, for encoder–decoder models, decoder_input_ids.i
};

Inputs inputs_of(const std::map<std::string, at::Tensor>& stored) {
  Inputs inputs;
  for (int i = 0; stored.count(fmt::format("input_ids.{}", i)) > 0; ++i) {
    const auto source = fmt::format("input_ids.{}", i), decoder = fmt::format("decoder_input_ids.{}", i);
    inputs.tensors.emplace_back(source, stored.at(source));
    if (stored.count(decoder) > 0) {
      inputs.tensors.emplace_back(decoder, stored.at(decoder));
      const auto encoded = inputs.batch.encoder.add(ids(stored.at(source)), -1, 0);
      inputs.batch.decoder.add(ids(stored.at(decoder)), -1, 0, encoded);
    } else {
      inputs.batch.decoder.add(ids(stored.at(source)), -1, 0);
    }
  }
  return inputs;
}

at::Tensor adapted_logits(const Model& model, const Adapter& adapter, const StepInput& batch) {
  ForwardOptions options;
  options.slots = {&adapter};
  return model.logits(model.forward(batch, options), options);
}

// A few steps towards one token everywhere: enough to move every value.
std::unique_ptr<Adapter> trained(const Model& model, const std::string& method, const Json& options,
                                 const StepInput& batch) {
  Rng rng(7);
  auto adapter = MethodChoice(method).create(model, options, rng);
  std::vector<at::Tensor> parameters;
  for (const auto& parameter : adapter->parameters()) parameters.push_back(parameter.value);
  OptimizerSettings settings;
  settings.name = "adamw";
  const auto optimizer = make_optimizer(settings, parameters);
  for (int step = 0; step < 4; ++step) {
    at::log_softmax(adapted_logits(model, *adapter, batch), -1).select(1, 5).mean().neg().backward();
    optimizer->step(0.1);
  }
  return adapter;
}

void write_for_peft(const Model& model, const Adapter& adapter, const Inputs& inputs, const fs::path& folder) {
  save_adapter(folder, adapter, model, {});
  NamedTensors tensors = inputs.tensors;
  const at::Tensor logits = adapted_logits(model, adapter, inputs.batch).detach();
  for (std::size_t i = 0; i < inputs.batch.decoder.segments.size(); ++i) {
    const auto& segment = inputs.batch.decoder.segments[i];
    tensors.emplace_back(fmt::format("logits.{}", i), logits.narrow(0, segment.begin, segment.length));
  }
  write_tensors(folder / "logits.safetensors", tensors);
}

// What PEFT's bias: all means, beside the norms'.
Json modules_with_bias(const Model& model) {
  Json modules = Json::array();
  for (const auto& entry : model.roles()) {
    if (!entry.fused() && !entry.bias.empty()) modules.push_back(entry.module());
  }
  return modules;
}

/// graft's adapters of a model, by the name of their folder.
std::map<std::string, std::pair<std::string, Json>> variants(const Model& model) {
  std::set<std::string> roles;
  bool fused = false;
  for (const auto& entry : model.roles()) {
    if (!entry.fused()) roles.insert(name(entry.site.role));
    fused = fused || entry.fused();
  }
  // Up's output instead of down's input is what T-Few's authors scale. Attention's output map shares the last part of
  // its name with the feed-forward's in GPT-2, so either alone must be told from the other.
  std::map<std::string, std::pair<std::string, Json>> found = {
      {"ia3", {"ia3", Json::object()}},
      {"ia3-up", {"ia3", {{"roles", "k,v,up"}}}},
      {"ia3-o-down", {"ia3", {{"roles", "o,down"}}}},
      {"lora", {"lora", Json::object()}},
      {"lora-o", {"lora", {{"roles", "o"}}}},
      {"lora-all", {"lora", {{"rank", 3}, {"rslora", true}, {"roles", roles}}}},
      {"lora-dora", {"lora", {{"dora", true}, {"roles", "o,down"}, {"ranks", {{"down", 3}}}, {"alphas", {{"o", 5}}}}}},
      {"layernorm", {"layernorm", Json::object()}}};
  found["lora-tables"] = {"lora", {{"rank", 3}, {"roles", "o,embed,head"}}};
  found["lora-saved"] = {"lora+tables", {{"lora", {{"roles", "o"}}}}};
  if (const Json biases = modules_with_bias(model); !biases.empty())
    found["lora-bias"] = {"lora+bitfit", {{"lora", {{"roles", "o"}}}, {"bitfit", {{"modules", biases}}}}};
  // Slices of a map, which PEFT has one update of.
  if (fused) {
    found["lora-slices"] = {
        "lora", {{"rank", 3}, {"roles", "q,v,up"}, {"ranks", {{"v", 2}}}, {"alphas", {{"v", 5}, {"up", 4}}}}};
    found["lora-slices-rs"] = {"lora", {{"rank", 2}, {"roles", "k,v"}, {"ranks", {{"v", 3}}}, {"rslora", true}}};
  }
  found["prompt_tuning"] = {"prompt_tuning", {{"length", 3}}};
  found["prefix_tuning"] = {"prefix_tuning", {{"length", 3}, {"layout", model.encoder_decoder() ? "peft" : "graft"}}};
  return found;
}

double gap_to(const fs::path& folder, const Model& model, const Adapter& adapter) {
  const auto stored = tensors_of(folder / "logits.safetensors");
  const Inputs inputs = inputs_of(stored);
  const at::NoGradGuard no_grad;
  const at::Tensor logits = adapted_logits(model, adapter, inputs.batch);
  std::vector<double> gaps;
  for (std::size_t i = 0; i < inputs.batch.decoder.segments.size(); ++i) {
    const auto& segment = inputs.batch.decoder.segments[i];
    gaps.push_back(
        relative_gap(logits.narrow(0, segment.begin, segment.length), stored.at(fmt::format("logits.{}", i))));
  }
  return largest_gap_of(gaps);
}

void expect_exported_equal(const Model& model, const Adapter& adapter, const fs::path& original,
                           const fs::path& exported) {
  save_adapter(exported, adapter, model, {});
  const auto before = tensors_of(original / "adapter_model.safetensors"),
             after = tensors_of(exported / "adapter_model.safetensors");
  ASSERT_EQ(before.size(), after.size());
  for (const auto& [name, value] : before) {
    ASSERT_TRUE(after.count(name) > 0) << name;
    EXPECT_TRUE(at::equal(value, after.at(name))) << name;
  }
}

class PeftParity : public ::testing::Test {
 protected:
  PeftParity() { fs::remove_all(scratch_); }
  ~PeftParity() override { fs::remove_all(scratch_); }

  void write_grafts(const std::string& name) {
    const auto model = load_model((goldens() / name / "model").string());
    const Inputs inputs = inputs_of(tensors_of(goldens() / name / "ia3/golden.safetensors"));
    for (const auto& [variant, made] : variants(*model)) {
      const auto adapter = trained(*model, made.first, made.second, inputs.batch);
      write_for_peft(*model, *adapter, inputs, scratch_ / "graft" / name / variant);
    }
  }

  void read_pefts(const std::string& name) const {
    const auto model = load_model((goldens() / name / "model").string());
    std::set<fs::path> folders;
    for (const auto& entry : fs::directory_iterator(scratch_ / "peft" / name)) folders.insert(entry.path());
    for (const auto& folder : folders) {
      const auto variant = folder.filename().string();
      SCOPED_TRACE(name + "/" + variant);
      const auto adapter = load_adapter(folder, *model).adapter;
      const double gap = gap_to(folder, *model, *adapter);
      EXPECT_LE(gap, kTolerance);
      fmt::print("  {:8}  {:10}  PEFT → graft  {:.1e}\n", name, variant, gap);
      expect_exported_equal(*model, *adapter, folder, scratch_ / "exported" / name / variant);
    }
  }

  fs::path scratch_ = fs::temp_directory_path() / ("graft-peft-parity-" + std::to_string(::getpid()));
};

TEST_F(PeftParity, BothWaysOnEveryArchitecture) {
  const std::vector<std::string> models = {"bart", "gpt2", "llama", "mt5", "phi3", "qwen2", "t5", "t5-v11"};
  if (!fs::exists(goldens() / "stamp")) GTEST_SKIP() << "no goldens in " << goldens() << "; ./check makes them";
  const std::string python = python_with_peft();
  if (python.empty())
    GTEST_SKIP() << "no Python with peft: ./setup --goldens makes one, or name one in GRAFT_PEER_PYTHON";
  for (const auto& name : models) write_grafts(name);
  fmt::print("largest gap of the logits, relative to the largest logit (float32, at most {:.0e})\n", kTolerance);
  std::fflush(stdout);
  const std::string script = GRAFT_SOURCE_DIR "/tests/compat/peft_parity.py";
  ASSERT_EQ(
      std::system(
          fmt::format("'{}' -W ignore '{}' '{}' '{}'", python, script, goldens().string(), scratch_.string()).c_str()),
      0);
  for (const auto& name : models) read_pefts(name);

  // The same vectors under the names of T-Few's authors.
  const auto model = load_model((goldens() / "t5-v11/model").string());
  const fs::path folder = scratch_ / "peft/t5-v11/authors";
  const LoadedAdapter loaded = load_adapter(folder / "adapter.pt", *model);
  EXPECT_EQ(loaded.tensors, tensors_of(folder / "adapter_model.safetensors").size());
  const double gap = gap_to(folder, *model, *loaded.adapter);
  EXPECT_LE(gap, kTolerance);
  fmt::print("  {:8}  {:10}  authors → graft  {:.1e}\n", "t5-v11", "adapter.pt", gap);
  expect_exported_equal(*model, *loaded.adapter, folder, scratch_ / "exported/authors");
  const auto config = Json::parse(read_file(scratch_ / "exported/authors/adapter_config.json"));
  EXPECT_EQ(config.at("target_modules"), (Json{"k", "v", "wi_1"}));
  EXPECT_EQ(config.at("feedforward_modules"), Json::array());
}

}  // namespace
}  // namespace graft
