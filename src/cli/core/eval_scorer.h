// A model, with an adapter or without, that scores questions; what it scored before is read from a folder.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "adapters/core/peft.h"
#include "cli/core/eval_progress.h"
#include "cli/core/eval_work.h"
#include "cli/core/job.h"
#include "convert/merged_weights.h"
#include "eval/in_context.h"
#include "eval/rank.h"
#include "eval/write.h"
#include "report/score_store.h"

namespace graft {

struct EvalAdapter {
  std::string path;
  std::string name;  ///< as it is told: its run's folder and its method
  std::string hash;  ///< SHA-256 of what its file holds, however it is kept
  LoadedAdapter loaded;
};

/// A run folder stands for its adapter. Tells of it (tell_placed). Throws as load_adapter and adapter_of_run.
EvalAdapter open_eval_adapter(const std::string& path, const Base& base);

/// SHA-256 of a base model's weights (base_hash()), and of its settings: config.json, or the beginning of a GGUF file.
struct ModelHashes {
  std::string weights, settings;
};
ModelHashes hashes_of(const Model& model, const std::filesystem::path& path);

/// "model" of results.json: what the last bits of a score follow from beside the adapter and the question, the machine
/// and its libraries too. And the same as a report tells it.
nlohmann::ordered_json model_json(const std::string& path, const Base& base, const ModelHashes& hashes);
std::vector<std::pair<std::string, std::string>> model_lines(const nlohmann::ordered_json& model);

class EvalScorer {
 public:
  /// `adapter` may be null; it and the base must outlive this. Scores are kept in `folder`, by the hashes of model and
  /// adapter, dtype, device (of a CPU which, what kernels it takes and how many threads) and the build of graft; they
  /// are the same whatever `batch_tokens`, as RankOptions has them. With `work`, which outlives this, nothing is
  /// computed and no file made: what is not kept there yet is counted in it, once, and answered with scores of 0 and
  /// empty texts. Throws as ScoreStore.
  EvalScorer(const Base& base, const ModelHashes& hashes, const EvalAdapter* adapter,
             const std::filesystem::path& folder, std::int64_t batch_tokens, EvalWork* work = nullptr);

  struct Scores {
    std::vector<std::vector<double>> sums;  ///< of every choice of every question
    std::vector<std::vector<bool>> greedy;  ///< whether greedy decoding writes it; empty lists where not asked
    double seconds = 0;                     ///< that scoring them took, now or then
  };

  /// From here on computes so many times fewer tokens at a time, where that is not less than one.
  void read_fewer(std::int64_t times) { batch_tokens_ = std::max<std::int64_t>(1, batch_tokens_ / times); }
  /// From here on counts in `work`, as the constructor says; nullptr: computes.
  void count_in(EvalWork* work);
  /// Computes without a progress line for each group: what is done is told to `progress`, which outlives this. Its
  /// begin() is called where something is not kept, in the middle of score() or write(), and may count with this scorer
  /// by count_in() and back.
  void tell(EvalProgress* progress) { progress_ = progress; }

  /// What is not kept yet is computed, of each group the longest first, and kept as soon as a batch is there. `groups`
  /// are those of groups_by_prefix(), or parts of them. Throws as choice_scores and ScoreStore.
  Scores score(const std::vector<Question>& questions, const std::vector<QuestionGroup>& groups,
               const std::string& what, bool greedy);

  struct Texts {
    std::vector<std::string> texts;    ///< by prompt, white space as written
    std::vector<std::int64_t> tokens;  ///< of each
    double seconds = 0;                ///< that writing them took, now or then
  };

  /// What the model writes behind each prompt (Question::tokens without choices), the adapter added to `how`; in the
  /// order of score(). Each batch's texts are kept as soon as they are there, after Ctrl-C too those that had ended.
  /// `groups` as there. Throws as write_texts and ScoreStore.
  Texts write(const std::vector<Question>& prompts, const std::vector<QuestionGroup>& groups, GenerateOptions how,
              const std::string& what);

  /// Where scores are kept; not with `work`.
  const ScoreStore& store() const { return *store_; }
  const EvalAdapter* adapter() const { return adapter_; }
  const Model& model() const { return *base_.model; }
  const Tokenizer& tokenizer() const { return *base_.tokenizer; }

 private:
  const KeptScore* find(const std::string& key, bool greedy) const;
  const KeptText* find_text(const std::string& key) const;
  bool counts_already(const std::string& key);
  void score_missing(const std::vector<Question>& questions, const QuestionGroup& group,
                     const std::vector<std::string>& keys, const RankOptions& options);
  void write_missing(const std::vector<Question>& prompts, const QuestionGroup& group,
                     const std::vector<std::string>& keys, WriteOptions options);

  const Base& base_;
  const EvalAdapter* adapter_;
  FrozenAdapter frozen_;
  std::int64_t batch_tokens_;
  EvalWork* work_;
  EvalProgress* progress_ = nullptr;
  std::set<std::string> counted_;    // keys of what is in work_
  std::optional<ScoreStore> store_;  // none where work is only counted and nothing is kept
};

}  // namespace graft
