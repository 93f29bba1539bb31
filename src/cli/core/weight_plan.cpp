#include "cli/core/weight_plan.h"

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "base/clock.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "base/progress.h"

namespace graft {
namespace {

constexpr std::int64_t kMostValuesMade = std::int64_t{1} << 24;

bool has_fewer_values(const TensorWork* a, const TensorWork* b) {
  return a->values < b->values;
}

// `kind` is of one kind, not empty and in the order of values.
TensorEstimate estimate_kind(const std::vector<const TensorWork*>& kind) {
  const TensorWork* made = kind.front();
  double values = 0;
  for (const TensorWork* one : kind) {
    if (one->values <= kMostValuesMade) made = one;
    values += static_cast<double>(one->values);
  }
  if (has_fewer_values(kind.front(), made)) kind.front()->make();
  begin_peak();
  const std::int64_t before = resident_memory();
  const auto began = Clock::now();
  made->make();
  const double seconds = seconds_since(began);
  const auto beside = static_cast<double>(std::max<std::int64_t>(0, peak_memory() - before));
  const double one = static_cast<double>(std::max<std::int64_t>(1, made->values));
  stop_if_interrupted("plan");
  return {seconds * values / one,
          before + static_cast<std::int64_t>(beside * static_cast<double>(kind.back()->values) / one)};
}

}  // namespace

WorkPlan begin_weight_plan(double load_seconds) {
  WorkPlan plan;
  plan.available = memory_budget("").bytes;
  plan.load_seconds = load_seconds;
  plan.memory = peak_memory();
  return plan;
}

WorkPlan begin_weight_plan(const Model& model, WeightFormat asked, double load_seconds) {
  WorkPlan plan = begin_weight_plan(load_seconds);
  plan.weight_bytes = model.parameters().bytes();
  if (model.parameters().format() != asked)
    plan.saving = "the file's blocks are used as they lie there, since a dense copy has no room";
  return plan;
}

TensorEstimate estimate_tensors(const std::vector<TensorWork>& tensors) {
  std::map<std::string, std::vector<const TensorWork*>> kinds;
  for (const TensorWork& tensor : tensors) kinds[tensor.kind].push_back(&tensor);
  TensorEstimate all{0, resident_memory()};
  for (auto& [name, kind] : kinds) {
    std::stable_sort(kind.begin(), kind.end(), has_fewer_values);
    const TensorEstimate one = estimate_kind(kind);
    all.seconds += one.seconds;
    all.memory = std::max(all.memory, one.memory);
  }
  return all;
}

void add_tensors(WorkPlan& plan, const std::string& part, const std::vector<TensorWork>& tensors) {
  const TensorEstimate all = estimate_tensors(tensors);
  std::int64_t values = 0;
  for (const TensorWork& tensor : tensors) values += tensor.values;
  const auto count = static_cast<std::int64_t>(tensors.size());
  plan.parts.push_back({part, all.seconds, fmt::format("{} tensors, {} values", grouped(count), grouped(values))});
  plan.memory = std::max(plan.memory, all.memory);
}

void add_files(WorkPlan& plan, const std::filesystem::path& output, std::int64_t read, std::int64_t written) {
  plan.files = PlannedFiles{read, written, output.string(), free_space(output), {}};
}

void add_weights(WorkPlan& plan, const std::string& part, const WeightWork& work, const std::filesystem::path& output) {
  plan.memory = std::max(plan.memory, resident_memory() + work.largest_copied);
  if (!work.tensors.empty()) add_tensors(plan, part, work.tensors);
  add_files(plan, output, work.read, work.written);
}

void add_smaller_files(WorkPlan& plan, const std::string& setting, std::int64_t written) {
  if (written < plan.files->written)
    plan.files->smaller.push_back({setting, written, plan.files->has_room_for(written)});
}

std::int64_t adapter_bytes(const Adapter& adapter) {
  std::int64_t bytes = 0;
  for (const PeftTensor& tensor : adapter.peft_tensors()) bytes += static_cast<std::int64_t>(tensor.value.nbytes());
  return bytes;
}

}  // namespace graft
