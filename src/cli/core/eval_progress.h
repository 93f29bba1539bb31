// The progress line of a whole evaluation: what is scored and written of all its passes, at what rate, and how long the
// rest takes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/progress.h"
#include "cli/core/eval_work.h"

namespace graft {

class EvalProgress {
 public:
  /// All that there is to score and to write.
  EvalProgress(EvalAmount to_score, EvalAmount to_write);

  /// A batch of it is done, in so many seconds. `what` is the pass that it belongs to.
  void scored(const std::string& what, EvalAmount amount, double seconds);
  void written(const std::string& what, EvalAmount amount, double seconds);

  /// Questions and prompts.
  std::int64_t done() const { return scores_.done.count + texts_.done.count; }
  /// By the seconds of a token that is scored and of a text that is written: the longest come first, so that questions
  /// would be a false measure. Nothing where work is left of a kind of which none was done.
  std::optional<double> seconds_left() const;

 private:
  struct Kind {
    EvalAmount all, done = {};
    double seconds = 0;

    void add(EvalAmount amount, double more);
  };

  Kind scores_, texts_;
  Progress line_;
};

}  // namespace graft
