#include "arch/core/weight_memory.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/memory.h"
#include "base/progress.h"
#include "checkpoint/weight_format.h"
#include "nn/compute_dtype.h"

namespace graft {
namespace {

// Of memory that a load may fill: passes need some beside the weights.
constexpr double kShareOfWeights = 0.95;

std::string in_bytes(std::int64_t value) {
  return human_bytes(static_cast<double>(value));
}

std::int64_t room_for(const ModelOptions& options) {
  return options.memory > 0 ? options.memory : available_memory();
}

// "dtype bfloat16", "weights q4_k": the options of a verb, and the settings model.dtype and model.weights, by name.
using NamedOptions = std::pair<std::string, ModelOptions>;

std::vector<NamedOptions> other_options(const ModelOptions& now) {
  std::vector<NamedOptions> others;
  if (now.settled) return others;
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    ModelOptions other = now;
    other.dtype = dtype;
    if (dtype != now.dtype) others.emplace_back("dtype " + dtype_name(dtype), other);
  }
  for (const WeightFormat weights :
       {WeightFormat::Dense, WeightFormat::Packed, WeightFormat::Q8_0, WeightFormat::Q4_K}) {
    ModelOptions other = now;
    other.weights = weights;
    if (weights != now.weights) others.emplace_back("weights " + name(weights), other);
  }
  return others;
}

// Nothing where the model cannot be had so: a file without blocks has none to keep packed.
std::optional<WeightMemory> memory_with(const ModelOptions& options, const OutlineOf& outline) {
  try {
    return weight_memory(outline(options)->parameters());
  } catch (const Error&) {
    return std::nullopt;
  }
}

std::string told_weights(const WeightMemory& memory) {
  if (memory.mapped == 0) return in_bytes(memory.own);
  return fmt::format("{}, and {} mapped", in_bytes(memory.own), in_bytes(memory.mapped));
}

// The options with which the weights would fit.
std::vector<std::string> fitting_options(const ModelOptions& options, const OutlineOf& outline, std::int64_t room) {
  std::vector<std::string> fitting;
  for (const auto& [text, other] : other_options(options)) {
    const auto memory = memory_with(other, outline);
    if (memory && memory->own <= room) fitting.push_back(fmt::format("{} ({})", text, told_weights(*memory)));
  }
  return fitting;
}

}  // namespace

WeightMemory weight_memory(const ParameterTable& parameters) {
  const std::int64_t mapped = parameters.residency().bytes();
  return {parameters.bytes() - mapped, mapped};
}

void refuse_oversized(const std::string& path, const ModelOptions& options, const OutlineOf& outline) {
  const std::int64_t own = weight_memory(outline(options)->parameters()).own;
  if (own <= room_for(options)) return;
  trim_memory();  // of a model that was there before
  const std::int64_t room = room_for(options);
  if (own <= room) return;
  constexpr double kGiB = 1 << 30;
  const bool asked = options.memory > 0;
  const double enough = std::ceil(static_cast<double>(own + (asked ? 0 : private_memory())) / kShareOfWeights / kGiB);
  std::vector<std::string> fitting = fitting_options(options, outline, room);
  fitting.push_back(fmt::format("{}{:.0f}GiB", asked ? "--memory " : "GRAFT_MEMORY=", enough));
  fail(Category::ResourceExhausted, path,
       "its weights ({}, {}) would take {} of memory, and {} can be had; what fits: {}{}", dtype_name(options.dtype),
       name(options.weights), in_bytes(own), in_bytes(room), fmt::join(fitting, ", or "),
       asked ? "" : ", if there is more than the system tells");
}

}  // namespace graft
