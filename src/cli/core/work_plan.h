// What a command would take, as `graft plan` tells it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "arch/core/model.h"
#include "cli/core/tune_memory.h"

namespace graft {

/// A stretch of work.
struct PlannedPart {
  std::string name;  ///< "scoring"
  double seconds = 0;
  std::string detail;  ///< "300 questions, 51,200 tokens"
};

/// Settings of the command that would write less.
struct SmallerFiles {
  std::string setting;
  std::int64_t bytes = 0;  ///< written with them
  bool fits = false;
};

/// What a command reads and writes of weights. How long the disk takes for it is not foretold.
struct PlannedFiles {
  std::int64_t read = 0;  ///< bytes
  std::int64_t written = 0;
  std::string output;                ///< what is written
  std::optional<std::int64_t> free;  ///< bytes that its file system has left (free_space())
  std::vector<SmallerFiles> smaller;

  bool has_room_for(std::int64_t bytes) const { return !free || bytes <= *free; }
};

struct WorkPlan {
  std::int64_t memory = 0;        ///< bytes resident at the peak
  std::int64_t weight_bytes = 0;  ///< of the model, in memory or mapped
  std::int64_t available = 0;     ///< bytes that the process may have
  std::string saving;             ///< what is done to take no more: MemoryChoice::text(); empty: nothing
  double load_seconds = 0;
  std::vector<PlannedPart> parts;                     ///< in their order
  std::vector<MemoryChange> changes;                  ///< what would take less memory, where that does not fit
  std::optional<PlannedFiles> files;                  ///< of a command that writes weights
  nlohmann::json figures = nlohmann::json::object();  ///< of this command alone, for JSON

  bool fits_memory() const { return memory <= available; }
  bool fits_files() const { return !files || files->has_room_for(files->written); }
  bool fits() const { return fits_memory() && fits_files(); }
  /// Whether an estimate of so much leaves no doubt that it fits.
  bool has_room_for(std::int64_t bytes) const;
  double seconds() const;
};

/// A plan for what is done with `model`, made to fit as `fit` says, in the memory of its budget.
WorkPlan begin_plan(const Model& model, double load_seconds, const MemoryFit& fit);

/// Adds what `option` ("--weights q4_0"), blocks of 4.5 bits in place of dense matrices, would take. Nothing where the
/// model has blocks.
void add_blocks(WorkPlan& plan, const Model& model, const std::string& option);

/// On standard output: as a person reads it, or as one JSON object.
void print_plan(const WorkPlan& plan, bool json);

}  // namespace graft
