#include "cli/core/bench_turns.h"

#include <algorithm>

#include "base/clock.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/memory.h"

namespace graft {

void stop_benchmark_if_asked() {
  if (interrupted()) fail(Category::Cancelled, "", "the benchmark was stopped");
}

std::optional<std::size_t> next_turn(const std::vector<BenchTurns>& turns, double left) {
  std::optional<std::size_t> needing, waiting;
  for (std::size_t i = 0; i < turns.size(); ++i) {
    const BenchTurns& of = turns[i];
    if (of.made < of.needed && (!needing || of.made < turns[*needing].made)) needing = i;
    if (of.last <= left && (!waiting || of.spent < turns[*waiting].spent)) waiting = i;
  }
  return needing ? needing : waiting;
}

std::vector<BenchRow> run_in_turn(const std::vector<BenchJob>& jobs, double seconds,
                                  const std::function<void(const std::string& what)>& on_turn) {
  std::vector<std::size_t> made;  // places of the jobs that can be
  for (std::size_t j = 0; j < jobs.size(); ++j) {
    if (jobs[j].turn) made.push_back(j);
  }
  std::vector<BenchTurns> turns;
  for (const auto j : made) turns.push_back({jobs[j].warms_up ? 2 : 1, 0, 0, 0});
  std::vector<std::vector<BenchSample>> samples(jobs.size());
  std::vector<std::int64_t> peaks(jobs.size(), 0);
  const auto start = Clock::now();
  while (const auto next = next_turn(turns, seconds - seconds_since(start))) {
    const std::size_t j = made[*next];
    BenchTurns& turn = turns[*next];
    on_turn(jobs[j].what);
    begin_peak();
    const auto began = Clock::now();
    const auto got = jobs[j].turn();
    stop_benchmark_if_asked();
    turn.last = seconds_since(began);
    turn.spent += turn.last;
    peaks[j] = std::max(peaks[j], peak_memory());
    if (turn.made++ > 0 || !jobs[j].warms_up) samples[j].insert(samples[j].end(), got.begin(), got.end());
  }
  std::vector<BenchRow> rows;
  for (std::size_t j = 0; j < jobs.size(); ++j) {
    if (jobs[j].turn) {
      rows.push_back(bench_row(jobs[j].name, jobs[j].what, jobs[j].units, samples[j], jobs[j].rate));
      rows.back().peak_memory = peaks[j];
    } else {
      rows.emplace_back();
      rows.back().name = jobs[j].name;
      rows.back().what = jobs[j].what;
      rows.back().not_made = jobs[j].not_made;
    }
  }
  return rows;
}

}  // namespace graft
