#include "train/state.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cstring>
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

std::string place_of(const TensorSource& state) {
  return state.files().front().string();
}

void restore(const TensorSource& stored, const std::string& name, at::Tensor into) {
  const TensorInfo* info = stored.find(name);
  if (info == nullptr || into.sizes() != at::IntArrayRef(info->shape)) {
    fail(Category::Corruption, place_of(stored),
         "tensor {} is of another run; use another --output folder or remove this one", name);
  }
  into.copy_(read_tensor(stored, *info));
}

// More than the adapter has would be left without a word.
void refuse_other_number(const TensorSource& stored, std::size_t parameters) {
  const auto kept = std::ranges::count_if(
      stored.tensors(), [](const std::string& name) { return name.starts_with("parameter."); }, &TensorInfo::name);
  if (static_cast<std::size_t>(kept) == parameters) return;
  fail(Category::Corruption, place_of(stored),
       "holds {} trained tensors, the adapter has {}; use another --output folder or remove this one", kept,
       parameters);
}

void refuse_state_of_other_base(const TensorSource& state, const BaseHashes& base) {
  const std::string file = place_of(state);
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

std::unique_ptr<TensorSource> open_state(const std::filesystem::path& file) {
  return std::filesystem::exists(file) ? open_checkpoint(file) : nullptr;
}

bool take_prepared(const TensorSource& stored, Adapter& adapter) {
  std::vector<PeftTensor> found;
  for (const TensorInfo& info : stored.tensors()) {
    if (info.name.starts_with(kPrepared))
      found.push_back({info.name.substr(kPrepared.size()), read_tensor(stored, info)});
  }
  if (found.empty()) return false;
  try {
    adapter.take_prepared(found);
  } catch (const Error& error) {
    throw error.within(place_of(stored));
  }
  return true;
}

void load_state(const TensorSource& stored, Adapter& adapter, Optimizer& optimizer, TrainState& state) {
  refuse_state_of_other_base(stored, state.base);
  const at::NoGradGuard no_grad;
  at::Tensor step = at::zeros({}, at::kLong), best_score = at::zeros({}, at::kDouble);
  restore(stored, kStep, step);
  restore(stored, "best_score", best_score);
  state.step = step.item<std::int64_t>();
  if (state.step < 0) fail(Category::Corruption, place_of(stored), "says it is of step {}; remove it", state.step);
  state.best_score = best_score.item<double>();
  state.best.clear();
  refuse_other_number(stored, adapter.parameters().size());
  for (const auto& parameter : adapter.parameters()) {
    restore(stored, "parameter." + parameter.name, parameter.value);
    if (stored.find("best." + parameter.name) == nullptr) continue;
    state.best.push_back(at::empty_like(parameter.value));
    restore(stored, "best." + parameter.name, state.best.back());
  }
  if (!state.best.empty() && state.best.size() != adapter.parameters().size())
    fail(Category::Corruption, place_of(stored), "holds a part of the best adapter only; remove it");
  for (const auto& [name, value] : optimizer.state()) restore(stored, "optimizer." + name, value);
}

}  // namespace graft
