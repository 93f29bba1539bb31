// What `graft eval` asks: the rows of one task, and the demonstrations that stand in front of them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/core/job.h"
#include "corpus/contamination.h"
#include "data/bm25.h"
#include "data/demonstrations.h"
#include "data/sampler.h"

namespace graft {

/// What the options of the verb say beyond a job's.
struct EvalSettings {
  std::vector<std::int64_t> shots = {0};  ///< ascending, 0 the first: what the others are compared with
  std::int64_t seeds = 1;                 ///< draws of random demonstrations, from data.seed on
  DemonstrationChoice choice = DemonstrationChoice::Random;
  bool balanced = false;            ///< shots count demonstrations of each class
  bool shots_for_adapters = false;  ///< adapters answer behind demonstrations, too
  std::string demonstrations_file;
  std::int64_t candidates = 0;  ///< rows of each class that demonstrations are taken from; 0: DemonstrationSource's
  /// Demonstrations are taken from the rows that `graft tune` would train on with the configuration, and asked is what
  /// it would hold out.
  bool training_rows = false;
  std::int64_t orders = 1;  ///< of the same demonstrations, each a run
  bool contextual = false;  ///< rows of contextually calibrated answers beside the base model's
  PromptLayout layout;
  std::string normalisation;         ///< empty: the task's
  std::vector<std::string> metrics;  ///< empty: the task's; of texts to write, token_perplexity too
  std::string scorer;                ///< a command that judges the texts; empty: none
  double scorer_patience = 600;      ///< seconds in which it may stand still
  DecodingArguments decoding;        ///< of the texts that are written
  std::vector<std::string> slices;   ///< fields by which scores are told apart, beside those of the task
};

/// What the questions share with other examples.
struct EvalOverlap {
  std::string with;  ///< whose these are: "candidates for demonstrations", or an adapter's name
  Overlap overlap;
};

struct EvalData {
  Task task;
  std::string path;
  std::vector<std::string> metrics;    ///< "accuracy" the first
  bool writes = false;                 ///< writes_texts()
  std::vector<std::size_t> templates;  ///< of the task
  std::vector<Row> candidates;         ///< for demonstrations
  /// [template][row]. Of a task with choices every one is labelled; of one with texts to write, the choices are the
  /// distinct texts that are right, as they follow the prompt.
  std::vector<std::vector<Example>> questions;
  /// [template][row][input], for contextual calibration; else empty.
  std::vector<std::vector<std::vector<std::string>>> content_free;
  std::string candidates_hash, questions_hash;  ///< data_hash() of either
  bool one_pool = false;
  std::int64_t held_out = 0;          ///< questions that there are; --eval-rows may have kept fewer
  std::vector<std::string> notes;     ///< sentences for the user
  std::vector<EvalOverlap> overlaps;  ///< note_overlaps()

  /// Of texts to write: what the metrics compare the answers to question `q` of a template with.
  const std::vector<std::string>& references(std::size_t place, std::size_t q) const {
    return questions[place][q].references;
  }
  std::int64_t count() const { return static_cast<std::int64_t>(questions.front().size()); }
};

/// The task a configuration names, as the settings score it. Throws InvalidArgument for metrics, templates and
/// normalisations that there are not, and for what a task with a text to write, or with running text, has not. Reads no
/// data.
Task eval_task(const RunConfig& config, const EvalSettings& settings);

/// Whether the model writes texts for the task: some metrics are of these, or a scorer judges them. Throws
/// InvalidArgument for metrics that there are not.
bool writes_texts(const Task& task, const EvalSettings& settings);

/// Reads and renders the rows. Throws as evaluation_data and render, and InvalidArgument where nothing is left to ask,
/// or where no row has a field that the settings' slices name. (Of the task's own, such a field is left out with a
/// note.)
EvalData open_eval_data(const RunConfig& config, const EvalSettings& settings, const Tokenizer& tokenizer);

/// The demonstrations of one pass over the questions: one number of shots, one template, one seed.
class Demonstrator {
 public:
  /// Throws InvalidArgument where there are fewer candidates than shots.
  Demonstrator(const EvalData& data, const EvalSettings& settings, const Tokenizer& tokenizer, std::size_t index,
               std::int64_t shots, std::uint64_t seed);

  /// The same demonstrations in another order, which names places in the present one. Not for those that are nearest to
  /// each question.
  Demonstrator reordered(const std::vector<std::size_t>& order) const;

  std::size_t shots() const { return shots_; }
  /// In front of this question; the most important ones last.
  std::vector<std::string> before(const Example& question) const;
  /// Those that stand in front of every question; none where each question has its own.
  std::vector<std::string> common() const { return nearest_ ? std::vector<std::string>() : texts_; }
  /// Ids of the demonstrations, where they are the same for every question.
  const std::vector<std::string>& ids() const { return ids_; }

 private:
  std::vector<std::string> texts_;
  std::vector<std::string> ids_;
  std::size_t shots_;
  std::optional<Bm25> nearest_;
};

}  // namespace graft
