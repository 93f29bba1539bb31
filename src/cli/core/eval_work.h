// What `graft eval` has still to score and to write, counted instead of done, and what it would take.
#pragma once

#include <cstdint>
#include <vector>

#include "cli/core/pass_memory.h"
#include "cli/core/work_plan.h"
#include "eval/choices.h"
#include "eval/rank.h"
#include "eval/write.h"

namespace graft {

struct EvalAmount {
  std::int64_t count = 0;   ///< of questions or prompts
  std::int64_t tokens = 0;  ///< of these that are computed; of prompts, without those that are written
};

struct EvalAmounts {
  EvalAmount to_score, to_write;
};

/// Filled by an EvalScorer that was made with it. The adapters in the options' slots outlive this.
class EvalWork {
 public:
  /// Questions to score behind RankOptions::prefix.
  void add_scoring(const Model& model, const std::vector<ChoiceTokens>& asked, const RankOptions& options);
  /// Prompts to write on.
  void add_writing(const Model& model, const std::vector<ChoiceTokens>& asked, const WriteOptions& options);

  /// All of it.
  EvalAmounts amounts() const;

  /// What the passes of all of it take, each part in batches of its own, after which its adapters have put their values
  /// in the place of base parameters.
  PassNeeds needs(const Model& model) const;

  /// What all of it would take after `load_seconds` of loading, made to fit as `fit` says (fit_passes() of needs()).
  /// The batch of the longest questions is scored, and one of those with the shortest, then the 32 longest prompts are
  /// written on; the rest follows from the numbers of tokens and prompts. Where the longest batch would not fit, its
  /// longest question alone is scored. Throws as choice_scores() and write_texts().
  WorkPlan plan(const Model& model, double load_seconds, const MemoryFit& fit) const;

  /// One call of add_scoring() or add_writing().
  struct Part {
    std::int64_t count = 0;           ///< of questions or prompts
    std::int64_t tokens = 0;          ///< that are computed, the prefix once
    double seen = 0;                  ///< tokens that are in front of a question's last one, mean
    std::vector<ChoiceTokens> batch;  ///< the longest
    std::int64_t batch_tokens = 0;    ///< of the batch, the prefix too
    std::int64_t longest = 0;         ///< tokens of the longest, the prefix too
  };
  struct Scoring : Part {
    RankOptions options;
  };
  struct Writing : Part {
    WriteOptions options;
  };

 private:
  std::vector<Scoring> scorings_;
  std::vector<Writing> writings_;
};

}  // namespace graft
