// The rows of `graft eval`: the base model and each adapter, without and with demonstrations, on one task.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cli/core/eval_data.h"
#include "cli/core/eval_scorer.h"
#include "eval/rank.h"
#include "statistics/text_cases.h"

namespace graft {

/// All questions once: in one template, behind the demonstrations of one seed in one order.
struct EvalPass {
  std::int64_t seed = 0;
  std::int64_t order = 0;  ///< of the demonstrations that the seed drew
  std::size_t place = 0;   ///< of the template: EvalData::questions[place] are what was asked
  std::string template_name;
  /// Of a task with texts to write, label is 1, prediction whether greedy decoding begins with a reference, and the one
  /// score the log-probability of the first reference. Of running text the one score is the whole document's.
  std::vector<RankedExample> ranked;
  std::vector<std::vector<double>> sums;       ///< log-probability of every choice, by question, not normalised
  std::vector<std::int64_t> reference_tokens;  ///< of the first choice, by question; of running text, all scored ones
  std::vector<std::int64_t> dropped;           ///< demonstrations that did not fit, by question
  std::vector<std::int64_t> cut;               ///< tokens that the prompt lost at its beginning, by question
  std::vector<std::string> texts;              ///< by question, as written; empty where EvalData::writes is not set
  std::vector<std::string> outputs;            ///< score_texts(): the same as metrics compare them
  std::map<std::string, CaseSums> text_sums;   ///< score_texts(): by metric of texts, what each question adds to it
  std::vector<std::string> stop;               ///< where these texts end
  std::int64_t max_new_tokens = 0;             ///< of each of them
  std::map<std::string, std::vector<double>> judged;  ///< judge_texts(): an outside scorer's numbers, by question
  std::vector<std::string> demonstrations;            ///< ids, where they are the same for every question
  double seconds = 0;                                 ///< scoring and writing
  double prompt_tokens = 0;                           ///< mean, demonstrations included
  double flops_alone = 0;                             ///< of one question that reads its demonstrations itself
  double flops_shared = 0;                            ///< of one question, the demonstrations read once for all

  struct Losses {
    std::int64_t demonstrations = 0;  ///< that did not fit
    std::int64_t questions = 0;       ///< that lost some of theirs
    std::int64_t prompts = 0;         ///< that lost their beginning
  };
  Losses losses() const;
};

/// Makes `outputs` and `text_sums` of the texts of a pass: once, for all that tells of them. Throws as
/// TextMetric::sums.
void score_texts(const EvalData& data, EvalPass& pass);

struct EvalRow {
  std::string name;  ///< "0-shot", "8-shot", "runs/rte (ia3)", "runs/rte (ia3), 8-shot"
  std::int64_t shots = 0;
  const EvalAdapter* adapter = nullptr;
  std::vector<EvalPass> passes;  ///< template by template, in each seed by seed, of each order by order
  bool calibrated = false;       ///< contextually
};

/// What stands around the questions of a row. An adapter without demonstrations reads a prompt as it did in training:
/// alone, without the settings' instruction.
PromptLayout layout_of(const EvalRow& row, const EvalSettings& settings);

/// The rows of one task in the order of the table: the base model by shots (each followed by its calibrated answers
/// where the settings want them), then each adapter without demonstrations and, where the settings want that, behind
/// those of the base model. `scorers` has the base's first. Throws as the parts do, Cancelled too: what is scored is
/// kept.
std::vector<EvalRow> evaluate_rows(const EvalData& data, const EvalSettings& settings, const RunConfig& config,
                                   const std::vector<EvalScorer*>& scorers);

}  // namespace graft
