// What the laws share: every golden model, every method of the registry and its variants, and short random inputs for
// them.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "../golden/folder.h"
#include "../golden/gap.h"
#include "adapters/core/combination.h"
#include "adapters/core/peft.h"
#include "arch/core/model.h"
#include "base/error.h"
#include "base/rng.h"
#include "checkpoint/fixture_test.h"
#include "nn/tensor_file.h"
#include "variants.h"

namespace graft::laws {

namespace fs = std::filesystem;

/// Largest difference between sums of the same numbers in another order, relative to the largest value, in fp32: a
/// matrix product may add up a row differently when the batch has another number of rows.
constexpr double kRounding = 1e-5;

/// The same where sums of quite another length meet: singular vectors, a batch of hundreds of rows beside one.
constexpr double kCoarseRounding = 1e-4;

/// Paths of the laws' inputs, virtual tokens before them, stay below the shortest context and the first stretch
/// of dynamic RoPE of the goldens.
constexpr std::int64_t kLongestPath = 31;

/// Folders of the goldens that hold a model, sorted.
inline std::vector<std::string> models() {
  std::vector<std::string> found;
  if (!fs::exists(goldens())) return found;
  for (const auto& entry : fs::directory_iterator(goldens())) {
    if (fs::exists(entry.path() / "model" / "config.json")) found.push_back(entry.path().filename().string());
  }
  std::sort(found.begin(), found.end());
  return found;
}

/// Of the goldens the first of each kind: an architecture, whether its maps are fused, whether they have biases. On
/// these the laws run over the variants too: on every golden they would take three times as long, and a variant meets
/// nothing else in the others.
inline const std::set<std::string>& models_of_each_kind() {
  static const std::set<std::string> kModels = [] {
    std::set<std::tuple<std::string, bool, bool>> kinds;
    std::set<std::string> found;
    for (const auto& name : models()) {
      const ModelConfig config = read_model_config(goldens() / name / "model");
      if (kinds.emplace(config.architecture, config.fused_maps, config.attention_bias).second) found.insert(name);
    }
    return found;
  }();
  return kModels;
}

inline std::string title(const ::testing::TestParamInfo<std::string>& info) {
  std::string text = info.param;
  std::replace(text.begin(), text.end(), '-', '_');
  return text;
}

using graft::testing::expect_error;

/// A text the model reads; encoder–decoder models read `source` in the encoder.
struct Text {
  std::vector<std::int64_t> source;
  std::vector<std::int64_t> tokens;
};

/// One golden model. Random things differ from call to call and are the same in every run.
class Law : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    at::set_num_threads(1);  // models this small only wait for each other's threads
    model_ = load_model(model_folder().string());
    folder_ = fs::temp_directory_path() / ("graft-laws-" + std::to_string(::getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  fs::path model_folder() const { return goldens() / GetParam() / "model"; }
  /// An empty folder that is removed after the test.
  const fs::path& folder() const { return folder_; }
  const Model& model() const { return *model_; }

  static std::unique_ptr<Adapter> fresh(const MethodChoice& method, const Model& of,
                                        const nlohmann::json& options = nlohmann::json::object()) {
    Rng rng(3);
    return method.create(of, options, rng);
  }

  /// An adapter that is away from its initial value in every tensor.
  std::unique_ptr<Adapter> stirred(const MethodChoice& method, std::uint64_t seed = 11,
                                   const nlohmann::json& options = nlohmann::json::object()) const {
    return stirred(method, model(), seed, options);
  }

  static std::unique_ptr<Adapter> stirred(const MethodChoice& method, const Model& of, std::uint64_t seed = 11,
                                          const nlohmann::json& options = nlohmann::json::object()) {
    auto adapter = fresh(method, of, options);
    const at::NoGradGuard no_grad;
    const auto generator = at::detail::createCPUGenerator(seed);
    for (const auto& parameter : adapter->parameters())
      at::Tensor(parameter.value).add_(at::randn(parameter.value.sizes(), generator), 0.1);
    return adapter;
  }

  static std::unique_ptr<Adapter> fresh(const MethodVariant& variant, const Model& of) {
    return fresh(variant.choice(), of, variant.options);
  }

  std::unique_ptr<Adapter> stirred(const MethodVariant& variant, std::uint64_t seed = 11) const {
    return stirred(variant.choice(), seed, variant.options);
  }

  std::vector<std::int64_t> tokens(std::int64_t count) {
    std::vector<std::int64_t> ids;
    for (std::int64_t i = 0; i < count; ++i)
      ids.push_back(static_cast<std::int64_t>(rng_.below(static_cast<std::uint64_t>(model().config().vocab_size))));
    return ids;
  }

  Text text(std::int64_t count) {
    return {model().encoder_decoder() ? tokens(count + 3) : std::vector<std::int64_t>(), tokens(count)};
  }

  /// Adds the text as a root; returns its decoder segment.
  static Segment add(StepInput& input, const Text& text, std::int32_t slot = -1) {
    const std::int32_t source = text.source.empty() ? -1 : input.encoder.add(text.source, -1, slot);
    return input.decoder.segments[static_cast<std::size_t>(input.decoder.add(text.tokens, -1, slot, source))];
  }

  static at::Tensor rows(const at::Tensor& logits, const Segment& segment) {
    return logits.narrow(0, segment.begin, segment.length);
  }

  static at::Tensor logits(const Model& of, const StepInput& input, ForwardOptions options = {}) {
    options.rows = slot_runs(input.decoder);
    return of.logits(of.forward(input, options), options);
  }

  /// Logits [T, V] of one text alone, through `adapter` or the base model.
  static at::Tensor logits(const Model& of, const Text& text, const SiteHooks* adapter = nullptr,
                           bool checkpoint_layers = false) {
    StepInput input;
    add(input, text, adapter == nullptr ? -1 : 0);
    ForwardOptions options;
    if (adapter != nullptr) options.slots = {adapter};
    options.checkpoint_layers = checkpoint_layers;
    return logits(of, input, options);
  }

  /// Mean cross-entropy of the text's own next tokens.
  static at::Tensor loss(const Model& of, const Text& text, const Adapter& adapter, bool checkpoint_layers = false) {
    const at::Tensor log_p = at::log_softmax(logits(of, text, &adapter, checkpoint_layers), -1);
    const at::Tensor targets = at::tensor(text.tokens).roll(-1);
    return log_p.gather(1, targets.unsqueeze(1)).mean().neg();
  }

  static std::map<std::string, at::Tensor> gradients(const Model& of, const Text& text, Adapter& adapter,
                                                     bool checkpoint_layers) {
    adapter.set_training(true);
    adapter.begin_step(7);
    loss(of, text, adapter, checkpoint_layers).backward();
    std::map<std::string, at::Tensor> found;
    for (const auto& parameter : adapter.parameters()) {
      at::Tensor value = parameter.value;
      found[parameter.name] = value.grad().defined() ? value.grad().clone() : at::Tensor();
      value.mutable_grad() = at::Tensor();
    }
    return found;
  }

  using Adapters = std::vector<std::unique_ptr<Adapter>>;

  /// A text for each of `slots` (-1: the base) in one batch has the logits that it has alone, and asks the same
  /// gradients of its adapter.
  void expect_mixes(const Adapters& adapters, const std::vector<std::int32_t>& slots) {
    ForwardOptions options;
    for (const auto& adapter : adapters) {
      EXPECT_FALSE(stands_alone(*adapter));
      options.slots.push_back(adapter.get());
    }
    StepInput mixed;
    std::vector<Text> texts;
    std::vector<Segment> places;
    for (const auto slot : slots) {
      texts.push_back(text(3 + static_cast<std::int64_t>(texts.size())));
      places.push_back(add(mixed, texts.back(), slot));
    }
    const at::Tensor all = logits(model(), mixed, options);
    all.square().sum().backward();
    const auto together = taken_gradients(adapters);
    for (std::size_t i = 0; i < slots.size(); ++i) {
      const SiteHooks* adapter = slots[i] < 0 ? nullptr : options.slots[static_cast<std::size_t>(slots[i])];
      const at::Tensor alone = logits(model(), texts[i], adapter);
      EXPECT_LE(relative_gap(rows(all, places[i]), alone), kCoarseRounding) << "text " << i;
      if (adapter != nullptr) alone.square().sum().backward();
    }
    const auto apart = taken_gradients(adapters);
    double largest = 0;
    for (const auto& gradient : apart) largest = std::max(largest, gradient.abs().max().item<double>());
    EXPECT_GT(largest, 0);
    for (std::size_t i = 0; i < apart.size(); ++i)
      EXPECT_LE((together[i] - apart[i]).abs().max().item<double>(), kCoarseRounding * largest) << "tensor " << i;
    const at::NoGradGuard no_grad;
    EXPECT_LE(relative_gap(logits(model(), mixed, options), all.detach()), kCoarseRounding);
  }

  static NamedTensors tensors_of(const Model& model) {
    NamedTensors tensors;
    for (const auto& parameter : model.parameters().all()) tensors.emplace_back(parameter.name, parameter.value());
    return tensors;
  }

  /// A model of this configuration with other values.
  std::unique_ptr<Model> written(const std::string& name, const NamedTensors& tensors,
                                 const ModelOptions& options = {}) const {
    fs::create_directories(folder() / name);
    fs::copy_file(model_folder() / "config.json", folder() / name / "config.json");
    write_tensors(folder() / name / "model.safetensors", tensors);
    return load_model((folder() / name).string(), options);
  }

  /// Every method of the registry, and some of them together.
  template <typename Rule>
  static void for_every_method(Rule&& rule) {
    std::vector<std::string> names = {"lora+bitfit", "bitfit+ia3", "lora+ia3+layernorm", "prefix_tuning+adapter"};
    for (const Method* method : adapters::registry()) names.emplace_back(method->name);
    for (const auto& name : names) {
      SCOPED_TRACE(name);
      rule(MethodChoice(name));
    }
  }

  /// Every variant that this model has, where it is one of each kind's.
  template <typename Rule>
  void for_listed_variants(Rule&& rule) const {
    if (models_of_each_kind().count(GetParam()) == 0) return;
    for (const auto& variant : method_variants()) {
      if (variant.needs_encoder && !model().encoder_decoder()) continue;
      SCOPED_TRACE(variant.name);
      rule(variant);
    }
  }

  /// Every method with its defaults, and behind them the variants.
  template <typename Rule>
  void for_every_variant(Rule&& rule) const {
    for_every_method([&](const MethodChoice& method) { rule(defaults_of(method)); });
    for_listed_variants(rule);
  }

  /// Why no weights can hold what the adapter does; empty where they can.
  std::string why_unmerged(const Adapter& adapter) const {
    try {
      adapter.merged(0, model().parameters().value(0));
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.category(), Category::Unsupported) << error.what();
      return error.what();
    }
  }

  /// Whether the weights can hold what the adapter does.
  bool mergeable(const Adapter& adapter) const { return why_unmerged(adapter).empty(); }

  Rng& rng() { return rng_; }

 private:
  // Of every tensor of the adapters, zeros where none was asked for; none is left behind.
  static std::vector<at::Tensor> taken_gradients(const Adapters& adapters) {
    std::vector<at::Tensor> gradients;
    for (const auto& adapter : adapters) {
      for (const auto& parameter : adapter->parameters()) {
        at::Tensor value = parameter.value;
        gradients.push_back(value.grad().defined() ? value.grad() : at::zeros_like(value.detach()));
        value.mutable_grad() = at::Tensor();
      }
    }
    return gradients;
  }

  std::unique_ptr<Model> model_;
  fs::path folder_;
  Rng rng_{5};
};

}  // namespace graft::laws
