// How a run of `graft tune` is made to fit into memory: --memory, or without it what the machine has free. Work without
// training: pass_memory.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/core/job.h"

namespace graft {

/// Share of a budget that an estimate may fill.
inline constexpr double kRoomOfBudget = 0.95;

struct MemoryBudget {
  std::int64_t bytes = 0;  ///< that may be resident
  bool asked = false;      ///< by --memory; else it is what this process can have now

  /// What an estimate may fill.
  std::int64_t room() const { return static_cast<std::int64_t>(kRoomOfBudget * static_cast<double>(bytes)); }
  /// ModelOptions::memory
  std::int64_t said() const { return asked ? bytes : 0; }
};

/// Of the text behind --memory; empty: it was not given. Throws as memory_amount().
MemoryBudget memory_budget(const std::string& text);

/// Settings of the command that would take less.
struct MemoryChange {
  std::string setting;
  std::int64_t bytes = 0;  ///< resident at the peak with them, and what else saves memory
  bool fits = false;
};

/// How far a run has come. One that has begun keeps its settings; one whose steps are all made only evaluates.
enum class RunStage { Fresh, Begun, Trained };

/// What is counted of a run before it begins: nothing on a GPU, and of one whose steps are all made no tokens.
struct CountedRun {
  std::int64_t standing = 0;         ///< standing_bytes() of what it trains
  std::int64_t evaluation = 0;       ///< bytes that the largest batch of an evaluation takes at most; 0: there is none
  std::int64_t largest_tokens = 0;   ///< of its largest batch, the adapter's own among them
  std::vector<std::int64_t> tokens;  ///< of each training example, likewise
};

struct MemoryFit {
  MemoryBudget budget;
  RunStage stage = RunStage::Fresh;
  MemoryChoice choice;
  std::vector<MemoryChange> changes;  ///< where the choice does not fit, each by itself
  CountedRun counted = {};            ///< by fit_memory()
};

/// Settles Job::memory, and whether the model's mapped weights are streamed, by choose_memory(). Where the shapes of
/// the model and of what is trained leave no doubt that everything can be kept nothing is measured; else one to four
/// steps of one or two examples. A run whose steps are all made is never measured. A job on a GPU keeps everything.
/// Throws as probe(), and InvalidArgument for a budget that was asked for there.
MemoryFit fit_memory(Job& job, const MemoryBudget& budget, RunStage stage = RunStage::Fresh);

/// Everything that nothing holds: pages of mapped weights, and the allocator's. What is measured then is what must
/// stay.
void give_back_memory(Residency& residency);

/// Throws InvalidArgument for a budget that was asked for.
void refuse_budget_on_gpu(const MemoryBudget& budget);

/// Throws ResourceExhausted where a budget was asked for and nothing fits. It names what would: other settings too,
/// which are those of a new run where this one has begun.
void refuse_unfitting(const MemoryFit& fit);

/// What was settled, in one line; empty where nobody asked and everything is kept.
std::string told(const MemoryFit& fit);

}  // namespace graft
