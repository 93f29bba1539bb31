// Benchmarks in turn, so that a slow minute of the machine falls on all of them.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/core/bench_result.h"

namespace graft {

/// A kind of work to time.
struct BenchJob {
  std::string name, what;                          ///< as in BenchRow
  std::vector<std::string> units;                  ///< of BenchSample::counts
  MachineRate rate;                                ///< that bounds it
  bool warms_up = false;                           ///< its first turn lays out weights and does not count
  std::function<std::vector<BenchSample>()> turn;  ///< one or more repetitions; empty: cannot be made …
  std::string not_made;                            ///< … because of this
};

/// Throws Cancelled after Ctrl-C.
void stop_benchmark_if_asked();

/// What a job has had so far.
struct BenchTurns {
  std::int64_t needed = 1;  ///< turns that it has to have
  std::int64_t made = 0;
  double spent = 0, last = 0;  ///< seconds: of all turns, of the last one
};

/// Whose turn it is: of the jobs that still need one the one with the fewest, else the one that has had the least time,
/// if its turn fits into the seconds that are left. Nothing: none's.
std::optional<std::size_t> next_turn(const std::vector<BenchTurns>& turns, double left);

/// The jobs in turn for about so many seconds. `on_turn` hears before each turn what it is of. Throws Cancelled on
/// Ctrl-C, and as the jobs do.
std::vector<BenchRow> run_in_turn(const std::vector<BenchJob>& jobs, double seconds,
                                  const std::function<void(const std::string& what)>& on_turn);

}  // namespace graft
