// What a run of `graft tune` trains, and how: from its configuration.
#pragma once

#include <cstdint>
#include <memory>

#include "adapters/core/combination.h"
#include "cli/core/job.h"
#include "train/loop.h"

namespace graft {

/// For one template, with everything kept in memory. Throws InvalidArgument where every loss is off or weighs 0, and as
/// objective_of and best_metric_of.
TrainSettings train_settings(const RunConfig& config, const Task& task);
/// Of a job, with its templates and its memory.
TrainSettings train_settings(const Job& job);

/// The adapter that training begins with: fresh, or method.start_from, which is told of (tell_placed). Throws as
/// MethodChoice::create and load_adapter, and InvalidArgument for an adapter of another method.
std::unique_ptr<Adapter> new_adapter(const Job& job, const MethodChoice& method, std::uint64_t seed);

/// The fresh adapter of a configuration on a model without values (outline_model): what it takes can be counted, and
/// takes nothing. Throws as MethodChoice::create.
std::unique_ptr<Adapter> counted_adapter(const RunConfig& config, const Model& outline);

}  // namespace graft
