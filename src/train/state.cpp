#include "train/state.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <string_view>

#include "adapters/core/peft.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/json_text.h"
#include "checkpoint/source.h"
#include "nn/tensor_file.h"

namespace graft {
namespace {

constexpr const char *kBaseKey = "base", *kSettingsKey = "settings";  // in the file's metadata
constexpr const char* kStep = "step";
constexpr std::string_view kPrepared = "prepared.";

void restore(const std::filesystem::path& file, const std::map<std::string, at::Tensor>& stored,
             const std::string& name, at::Tensor into) {
  const auto found = stored.find(name);
  if (found == stored.end() || found->second.sizes() != into.sizes()) {
    fail(Category::Corruption, file.string(),
         "tensor {} is of another run; use another --output folder or remove this one", name);
  }
  into.copy_(found->second);
}

// More than the adapter has would be left without a word.
void refuse_other_number(const std::filesystem::path& file, const std::map<std::string, at::Tensor>& stored,
                         std::size_t parameters) {
  const auto kept =
      std::ranges::count_if(stored, [](const auto& tensor) { return tensor.first.starts_with("parameter."); });
  if (static_cast<std::size_t>(kept) == parameters) return;
  fail(Category::Corruption, file.string(),
       "holds {} trained tensors, the adapter has {}; use another --output folder or remove this one", kept,
       parameters);
}

void refuse_state_of_other_base(const TensorSource& state, const BaseHashes& base) {
  const std::string file = state.files().front().string();
  const std::string began = state.metadata().value(kBaseKey, std::string("unknown"));
  if (began != base.weights && std::ranges::find(base.earlier, began) == base.earlier.end()) {
    fail(Category::InvalidArgument, file,
         "the run began with another base model: its weights were {:.16}, the model's are {:.16}; give the model it "
         "began with, or choose another --output",
         began, base.weights);
  }
  const std::string settings = state.metadata().value(kSettingsKey, base.settings);
  if (settings == base.settings) return;
  fail(Category::InvalidArgument, file,
       "the run began under other settings of the base model: its config.json (or a GGUF file's metadata) was {:.16}, "
       "the model's is {:.16}; give it back as it was, or choose another --output",
       settings, base.settings);
}

std::map<std::string, at::Tensor> read_state(const std::filesystem::path& file, const BaseHashes& base) {
  const auto source = open_checkpoint(file);
  refuse_state_of_other_base(*source, base);
  std::map<std::string, at::Tensor> stored;
  for (const auto& [name, value] : read_tensors(*source)) stored[name] = value;
  return stored;
}

}  // namespace

std::string base_hash(const Model& model) {
  return sha256(model.fingerprint(kFingerprintVersion));
}

std::string settings_hash(const Model& model) {
  return sha256(json_text(model.config().raw));
}

BaseHashes base_hashes(const Model& model) {
  BaseHashes hashes{base_hash(model), settings_hash(model)};
  for (int version = 1; version < kFingerprintVersion; ++version)
    hashes.earlier.push_back(sha256(model.fingerprint(version)));
  return hashes;
}

void refuse_other_base(const std::filesystem::path& file, const BaseHashes& base) {
  refuse_state_of_other_base(*open_checkpoint(file), base);
}

std::int64_t steps_done(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file)) return 0;
  const auto source = open_checkpoint(file);
  const TensorInfo* info = source->find(kStep);
  std::int64_t step = -1;
  if (info != nullptr && info->dtype == DType::I64 && info->bytes == sizeof step)
    std::memcpy(&step, source->bytes(*info).data(), sizeof step);
  if (step < 0) fail(Category::Corruption, file.string(), "does not say how many steps are done; remove it");
  return step;
}

void save_state(const std::filesystem::path& file, const Adapter& adapter, const Optimizer& optimizer,
                const TrainState& state) {
  NamedTensors tensors;
  const auto parameters = adapter.parameters();
  for (const auto& parameter : parameters) tensors.emplace_back("parameter." + parameter.name, parameter.value);
  for (const auto& found : adapter.prepared()) tensors.emplace_back(std::string(kPrepared) + found.name, found.value);
  for (std::size_t i = 0; i < state.best.size(); ++i) tensors.emplace_back("best." + parameters[i].name, state.best[i]);
  for (const auto& [name, value] : optimizer.state()) tensors.emplace_back("optimizer." + name, value);
  tensors.emplace_back(kStep, at::scalar_tensor(state.step, at::kLong));
  tensors.emplace_back("best_score", at::scalar_tensor(state.best_score, at::kDouble));
  write_tensors(file, tensors, {{kBaseKey, state.base.weights}, {kSettingsKey, state.base.settings}});
}

bool take_prepared(const std::filesystem::path& file, Adapter& adapter) {
  if (!std::filesystem::exists(file)) return false;
  const auto source = open_checkpoint(file);
  const auto is_prepared = [](const std::string& name) { return name.starts_with(kPrepared); };
  if (std::ranges::none_of(source->tensors(), is_prepared, &TensorInfo::name)) return false;
  std::vector<PeftTensor> found;
  for (auto& [name, value] : read_tensors(*source)) {
    if (is_prepared(name)) found.push_back({name.substr(kPrepared.size()), value});
  }
  try {
    adapter.take_prepared(found);
  } catch (const Error& error) {
    throw error.within(file.string());
  }
  return true;
}

void load_state(const std::filesystem::path& file, Adapter& adapter, Optimizer& optimizer, TrainState& state) {
  const auto stored = read_state(file, state.base);
  const at::NoGradGuard no_grad;
  at::Tensor step = at::zeros({}, at::kLong), best_score = at::zeros({}, at::kDouble);
  restore(file, stored, kStep, step);
  restore(file, stored, "best_score", best_score);
  state.step = step.item<std::int64_t>();
  if (state.step < 0) fail(Category::Corruption, file.string(), "says it is of step {}; remove it", state.step);
  state.best_score = best_score.item<double>();
  state.best.clear();
  refuse_other_number(file, stored, adapter.parameters().size());
  for (const auto& parameter : adapter.parameters()) {
    restore(file, stored, "parameter." + parameter.name, parameter.value);
    if (stored.count("best." + parameter.name) == 0) continue;
    state.best.push_back(at::empty_like(parameter.value));
    restore(file, stored, "best." + parameter.name, state.best.back());
  }
  if (!state.best.empty() && state.best.size() != adapter.parameters().size())
    fail(Category::Corruption, file.string(), "holds a part of the best adapter only; remove it");
  for (const auto& [name, value] : optimizer.state()) restore(file, stored, "optimizer." + name, value);
}

}  // namespace graft
