// What commands would take that go through a model's weights and not through texts: merge, blend, convert, similarity.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "adapters/core/method.h"
#include "checkpoint/weight_format.h"
#include "cli/core/work_plan.h"
#include "convert/weight_work.h"

namespace graft {

/// A plan in the memory that the machine has, behind `load_seconds` of opening what the command opens.
WorkPlan begin_weight_plan(double load_seconds);

/// The same with a model that load_lossless() has loaded, where `asked` was the format; says where there was no room
/// for that.
WorkPlan begin_weight_plan(const Model& model, WeightFormat asked, double load_seconds);

/// Seconds of work on tensors, and the bytes resident at its peak.
struct TensorEstimate {
  double seconds = 0;
  std::int64_t memory = 0;
};

/// Of each kind one tensor of up to 2^24 values is made (where all have more, the smallest), behind the smallest, which
/// sets up what only the first takes; the others follow from the numbers of their values, as does what the largest
/// takes. Throws what the work throws, and Cancelled on Ctrl-C.
TensorEstimate estimate_tensors(const std::vector<TensorWork>& tensors);

/// Adds a part of the plan, "1.2s: 272 tensors, 134,515,008 values", and the memory of its peak.
void add_tensors(WorkPlan& plan, const std::string& part, const std::vector<TensorWork>& tensors);

/// Adds what is read and written, with the room that there is.
void add_files(WorkPlan& plan, const std::filesystem::path& output, std::int64_t read, std::int64_t written);

/// Both, of a command that writes a model.
void add_weights(WorkPlan& plan, const std::string& part, const WeightWork& work, const std::filesystem::path& output);

/// What would be written with other settings of the command; nothing where that is no less. Behind add_files().
void add_smaller_files(WorkPlan& plan, const std::string& setting, std::int64_t written);

/// Bytes of the tensors of an adapter's file. Throws as Adapter::peft_tensors().
std::int64_t adapter_bytes(const Adapter& adapter);

}  // namespace graft
