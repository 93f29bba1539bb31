// A golden of tests/golden/make.py beside what graft computes with the same model, adapter and batch.
// tests/golden/README.md says what each key is.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "../golden/folder.h"
#include "../golden/gap.h"
#include "adapters/core/peft.h"
#include "arch/core/model.h"
#include "base/rng.h"
#include "nn/tensor_file.h"
#include "train/optim.h"

namespace graft::parity {

/// One of data/MODEL/METHOD.
struct Case {
  std::filesystem::path model;
  std::filesystem::path folder;
  std::string method;
  /// False for a method that has no adapter file.
  bool has_adapter() const { return std::filesystem::exists(folder / "adapter"); }
  std::string title() const { return model.parent_path().filename().string() + "/" + method; }
};

/// All there are, in the order of their names; none where no goldens were made.
inline std::vector<Case> cases() {
  namespace fs = std::filesystem;
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

/// As googletest wants it.
inline std::string test_name(const Case& which) {
  std::string title = which.title();
  for (char& letter : title) letter = std::isalnum(static_cast<unsigned char>(letter)) ? letter : '_';
  return title;
}

/// The tensors of a file. Ones that are not finite are failures of the test: no comparison with them means anything.
class Golden {
 public:
  explicit Golden(const std::filesystem::path& file) {
    for (auto& [name, value] : read_tensors(file)) {
      EXPECT_TRUE(!value.is_floating_point() || value.isfinite().all().item<bool>())
          << file << ": " << name << " has values that are not finite; tests/golden/make.py makes it anew";
      tensors_[name] = value;
    }
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

/// Before the names of parameters after ten steps of "adamw" or "adafactor".
inline std::string steps_key(const std::string& optimizer) {
  return optimizer == "adamw" ? "step10." : "adafactor10.";
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

  /// Ten steps of "adamw" or "adafactor" on the batch, as the reference takes them; the loss before each. [10]
  at::Tensor train(const std::string& optimizer_name) const {
    constexpr double kLearningRate = 3e-4;
    OptimizerSettings settings;
    settings.name = optimizer_name;
    settings.weight_decay = optimizer_name == "adamw" ? 0.01 : 0;
    std::vector<at::Tensor> parameters;
    for (const auto& parameter : adapter->parameters()) parameters.push_back(parameter.value);
    const auto optimizer = make_optimizer(settings, parameters);
    std::vector<double> losses;
    for (int step = 0; step < 10; ++step) {
      const at::Tensor of_step = loss();
      losses.push_back(of_step.item<double>());
      of_step.backward();
      optimizer->step(kLearningRate);
    }
    return at::tensor(losses);
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

  /// Whether the true gradient is zero, so that an optimiser turns rounding into full steps: a softmax does not see a
  /// key's bias where keys are not rotated.
  bool unseen(const std::string& name) const {
    return golden.has("unstable.grad." + name) ||
           (model->config().architecture == "bart" && name.ends_with("k_proj.bias"));
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

}  // namespace graft::parity
