// The progress line of a whole evaluation: what is scored and written of all its passes, at what rate, and how long the
// rest takes.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "base/progress.h"
#include "cli/core/eval_work.h"

namespace graft {

class EvalProgress {
 public:
  /// `count` tells all that there is to score and to write. It goes once over every question, so it is called by the
  /// first begin() alone, and not at all where everything is kept.
  explicit EvalProgress(std::function<EvalAmounts()> count);

  /// To be called before anything is computed, each time.
  void begin();
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

  std::function<EvalAmounts()> count_;
  Kind scores_, texts_;
  std::optional<Progress> line_;  // from begin() on
};

}  // namespace graft
