#include "cli/core/evaluation.h"

#include <algorithm>
#include <span>
#include <utility>

#include "base/build.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "convert/merged_weights.h"
#include "data/text_filter.h"
#include "eval/choice_metrics.h"
#include "eval/write.h"
#include "statistics/bootstrap.h"
#include "statistics/calibration.h"
#include "statistics/metrics.h"
#include "statistics/text_metric.h"
#include "train/state.h"

namespace graft {
namespace {

constexpr std::int64_t kNewTokens = 100;  // where neither the run nor the task says how many

ReportScore score(const std::string& metric, const std::vector<std::int64_t>& truth,
                  const std::vector<std::int64_t>& predicted, std::size_t classes) {
  const Interval interval = bootstrap_metric(metric, truth, predicted, classes);
  return {metric_value(metric, confusion_matrix(truth, predicted, classes)), interval.low, interval.high};
}

ReportEvaluation scores_of(const std::vector<RankedExample>& ranked, std::size_t classes) {
  std::vector<std::int64_t> truth, predicted;
  for (const auto& example : ranked) {
    if (example.label < 0) continue;
    const ClassAnswer answer = class_answer(example);
    truth.push_back(answer.truth);
    predicted.push_back(answer.predicted);
    classes = std::max(classes, example.probabilities.size());
  }
  ReportEvaluation scores;
  scores.examples = static_cast<std::int64_t>(truth.size());
  if (truth.empty()) fail(Category::InvalidArgument, "data", "no held-out row carries a label; nothing can be scored");
  scores.accuracy = score("accuracy", truth, predicted, classes);
  scores.balanced_accuracy = score("balanced_accuracy", truth, predicted, classes);
  scores.macro_f1 = score("macro_f1", truth, predicted, classes);
  const ConfusionMatrix matrix = confusion_matrix(truth, predicted, classes);
  for (std::size_t t = 0; t < classes; ++t) {
    scores.confusion.emplace_back();
    for (std::size_t p = 0; p < classes; ++p) scores.confusion.back().push_back(matrix.at(t, p));
  }
  return scores;
}

// The metrics of the task, by the code that graft eval tells them by.
void score_choices(const Job& job, Evaluation& evaluation) {
  evaluation.scores = scores_of(evaluation.ranked, job.labels.size());
  for (const auto& metric : job.task.metrics) {
    const ChoiceScore score = choice_score(metric, job.held_out, {evaluation.ranked});
    evaluation.choice_scores[metric] = {score.value, score.interval.low, score.interval.high};
  }
}

// What the metrics of the task compare of the texts, and what they say.
void score_written(const Job& job, Evaluation& evaluation) {
  for (const auto& text : evaluation.written) evaluation.outputs.push_back(scored_text(job.task, text));
  std::vector<std::vector<std::string>> references;
  std::vector<std::vector<std::string>> wrong;
  for (const auto& example : job.held_out) {
    references.push_back(example.references);
    wrong.push_back(example.false_references);
  }
  for (const auto& metric : job.task.metrics)
    evaluation.text_scores[metric] = text_metric(metric).score({evaluation.outputs, references, wrong});
}

Evaluation evaluate_written(const Job& job, const Adapter* adapter, const std::string& what) {
  const auto start = Clock::now();
  Evaluation evaluation;
  evaluation.written = write_held_out(job, adapter, what);
  evaluation.seconds = seconds_since(start);
  score_written(job, evaluation);
  return evaluation;
}

Evaluation ranked_in(const Job& job, const Job::Templated& made, const Adapter* adapter, const std::string& what) {
  const auto start = Clock::now();
  Evaluation evaluation;
  evaluation.ranked = rank_in(job, made, adapter, what);
  evaluation.seconds = seconds_since(start);
  return evaluation;
}

Evaluation evaluate_in(const Job& job, const Job::Templated& made, const Adapter* adapter, const std::string& what) {
  Evaluation evaluation = ranked_in(job, made, adapter, what);
  score_choices(job, evaluation);
  return evaluation;
}

// Places in Task::slices of the fields that some held-out row has. The tasks of a mixture have fields of their own.
std::vector<std::size_t> told_slices(const Job& job) {
  std::vector<std::size_t> told;
  for (std::size_t f = 0; job.parts.empty() && f < job.task.slices.size(); ++f) {
    if (std::any_of(job.held_out.begin(), job.held_out.end(), [f](const auto& row) { return !row.slices[f].empty(); }))
      told.push_back(f);
  }
  return told;
}

}  // namespace

std::vector<std::int64_t> Evaluation::right_answers() const {
  std::vector<std::int64_t> result;
  for (const auto& example : ranked) result.push_back(example.prediction == example.label ? 1 : 0);
  return result;
}

double Evaluation::chance() const {
  double total = 0;
  for (const auto& example : ranked) {
    if (example.label < 0) continue;
    const auto right = static_cast<double>(std::max<std::size_t>(1, example.truths.size()));
    total += right / static_cast<double>(example.probabilities.size());
  }
  return total / static_cast<double>(scores.examples);
}

const ReportScore& Evaluation::score(const std::string& metric) const {
  if (const auto found = choice_scores.find(metric); found != choice_scores.end()) return found->second;
  if (metric == "balanced_accuracy") return *scores.balanced_accuracy;
  return metric == "macro_f1" ? *scores.macro_f1 : scores.accuracy;
}

double Evaluation::metric(const std::string& name) const {
  if (const auto found = text_scores.find(name); found != text_scores.end()) return found->second;
  if (name != "loss") return score(name).value;
  double total = 0;
  std::int64_t labelled = 0;
  for (const auto& example : ranked) {
    if (example.label < 0) continue;
    total += example.scores[static_cast<std::size_t>(example.label)];
    ++labelled;
  }
  return total / static_cast<double>(labelled);
}

ReportScore quartiles_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return {quantile(values, 0.5), quantile(values, 0.25), quantile(values, 0.75)};
}

ReportScore Evaluation::spread() const {
  std::vector<double> values;
  for (const auto& [name, value] : by_template) values.push_back(value);
  return quartiles_of(values);
}

std::vector<RankedExample> rank_in(const Job& job, const Job::Templated& made, const Adapter* adapter,
                                   const std::string& what) {
  RankOptions options;
  options.normalisation = normalisation_of(job.task.normalisation);
  options.neutral = &made.neutral;
  options.batch_tokens /= job.memory.smaller_evaluations;
  options.what = what;
  const FrozenAdapter frozen(*job.model, adapter);
  options.forward.slots = frozen.slots();
  return rank(*job.model, made.held_out, options);
}

GenerateOptions generate_options(const RunConfig& config, const Task& task, const Model& model,
                                 const Tokenizer& tokenizer) {
  const auto& generation = config.generation;
  GenerateOptions options;
  options.max_new_tokens = generation.max_new_tokens;
  if (options.max_new_tokens == 0) options.max_new_tokens = task.decoding.max_new_tokens;
  if (options.max_new_tokens == 0) options.max_new_tokens = kNewTokens;
  options.sampling.no_repeat_ngram = generation.no_repeat_ngram;
  options.beam = {generation.beams, generation.length_penalty, early_stopping_of(generation.early_stopping)};
  options.stop = task.decoding.stop;
  options.tokenizer = &tokenizer;
  if (model.dtype() == at::kFloat) options.activations = Activations::Exact;
  return options;
}

DecodingArguments settled_decoding(DecodingArguments arguments, const RunConfig& config, const Task& task,
                                   const Base& base) {
  if (!task.generates()) return arguments;
  GenerateOptions options = generate_options(config, task, *base.model, *base.tokenizer);
  set_decoding(arguments, options);
  drop_idle_speculation(*base.model, options);
  if (options.speculation.tokens == 0) arguments.speculate = "off";
  return arguments;
}

std::string decoding_text(const GenerateOptions& options, const ModelConfig& model) {
  constexpr const char* kEarly[] = {"true", "false", "never"};
  std::string text =
      fmt::format("{} {} {} {} {}", options.max_new_tokens, options.beam.beams, options.beam.length_penalty,
                  options.sampling.no_repeat_ngram, kEarly[static_cast<std::size_t>(options.beam.early_stopping)]);
  text += " " + options.tokenizer->hash();
  // What generation_config.json may say too.
  if (model.forced_bos) text += fmt::format(" begins with {}", *model.forced_bos);
  for (const std::int64_t id : model.eos) text += fmt::format(" ends at {}", id);
  text += decoding_options_text(options);
  for (const auto& stop : options.stop) text += fmt::format(" {}:{}", stop.size(), stop);
  return text;
}

std::vector<std::string> write_held_out(const Job& job, const Adapter* adapter, const std::string& what) {
  WriteOptions options;
  options.generate = generate_options(job.config, job.task, *job.model, *job.tokenizer);
  set_decoding(job.decoding, options.generate);
  options.what = what;
  const FrozenAdapter frozen(*job.model, adapter);
  options.generate.slots = frozen.slots();
  std::vector<std::string> texts;
  for (auto& written : write_texts(*job.model, job.templates.front().held_out, options))
    texts.push_back(std::move(written.text));
  return texts;
}

Evaluation evaluate(const Job& job, const Adapter* adapter, const std::string& what) {
  return job.task.generates() ? evaluate_written(job, adapter, what)
                              : evaluate_in(job, job.templates.front(), adapter, what);
}

Evaluation evaluate_references(const Job& job, const Adapter* adapter, const std::string& what) {
  return ranked_in(job, job.templates.front(), adapter, what);
}

Evaluation evaluate_templates(const Job& job, const Adapter* adapter, const std::string& what) {
  Evaluation first = evaluate(job, adapter, what);
  if (job.templates.size() == 1 || job.task.generates()) return first;
  first.by_template[job.templates.front().name] = first.accuracy();
  for (std::size_t t = 1; t < job.templates.size(); ++t) {
    const Evaluation other = evaluate_in(job, job.templates[t], adapter, what + " in " + job.templates[t].name);
    first.by_template[job.templates[t].name] = other.accuracy();
    first.seconds += other.seconds;
  }
  return first;
}

std::optional<ReportCalibration> calibration_of(const std::vector<RankedExample>& ranked) {
  std::vector<std::vector<double>> probabilities;
  std::vector<std::vector<std::int64_t>> truths;
  std::vector<double> confidence;
  std::vector<std::uint8_t> correct;
  for (const auto& example : ranked) {
    if (example.label < 0 || example.probabilities.empty()) continue;
    probabilities.push_back(example.probabilities);
    truths.push_back(example.truths.empty() ? std::vector{example.label} : example.truths);
    confidence.push_back(example.probabilities[static_cast<std::size_t>(example.prediction)]);
    correct.push_back(example.prediction == example.label ? 1 : 0);
  }
  if (truths.empty()) return std::nullopt;
  const auto bins = calibration_bins(confidence, correct);
  ReportCalibration calibration{expected_calibration_error(bins), brier_score(probabilities, truths), {}};
  for (const auto& bin : bins) calibration.bins.push_back({bin.count, bin.confidence, bin.accuracy});
  return calibration;
}

std::map<std::string, double> accuracy_by_task(const Job& job, const Evaluation& evaluation) {
  std::map<std::string, double> result;
  for (const auto& part : job.parts) {
    std::int64_t labelled = 0, right = 0;
    for (std::size_t i = part.first; i < part.first + part.count; ++i) {
      const RankedExample& example = evaluation.ranked[i];
      labelled += example.label >= 0;
      right += example.label >= 0 && example.label == example.prediction;
    }
    if (labelled > 0) result[part.task] = static_cast<double>(right) / static_cast<double>(labelled);
  }
  return result;
}

Prediction asked_question(const Example& question, const Task& task, const std::vector<std::size_t>& slices) {
  Prediction prediction;
  prediction.id = question.id;
  prediction.where = question.where;
  prediction.text = question.prompt;
  prediction.group = question.group;
  for (const auto f : slices) prediction.slices[task.slices[f]] = question.slices[f];
  if (task.generates()) {
    prediction.references = question.references;
    prediction.false_references = question.false_references;
  } else {
    prediction.choices = question.choices;
  }
  return prediction;
}

void set_answer(const RankedExample& answer, Prediction& prediction) {
  prediction.probabilities = answer.probabilities;
  prediction.truth = answer.label;
  prediction.prediction = answer.prediction;
}

std::vector<Prediction> predictions_of(const Job& job, const Evaluation& evaluation) {
  std::vector<Prediction> predictions;
  const auto slices = told_slices(job);
  for (std::size_t i = 0; i < job.held_out.size(); ++i) {
    Prediction prediction = asked_question(job.held_out[i], job.task, slices);
    if (job.task.generates()) {
      prediction.output = evaluation.outputs[i];
      prediction.written = evaluation.written[i];
    } else {
      set_answer(evaluation.ranked[i], prediction);
    }
    predictions.push_back(std::move(prediction));
  }
  return predictions;
}

std::string evaluation_key(const Job& job) {
  const Model& model = *job.model;
  Sha256 key;
  key.update(base_hash(model) + settings_hash(model) + toString(model.dtype()) + job.task.normalisation +
             build_version());
  key.update(fmt::format("\n{}\n{}", model.parameters().storage(), model.device().str()));
  const auto add = [&key](const std::vector<ChoiceTokens>& examples) {
    for (const auto& example : examples) {
      key.update(fmt::format("\n{}", example.label));
      for (const auto& tokens : example.reading()) {
        key.update(std::to_string(tokens.size()) + ":");
        key.update(std::as_bytes(std::span(tokens)));
      }
    }
  };
  if (job.task.generates())
    key.update("\n" + decoding_text(generate_options(job.config, job.task, model, *job.tokenizer), model.config()));
  for (const auto& made : job.templates) {
    key.update("\n" + made.name);
    add(made.held_out);
    add(made.neutral);
  }
  return key.finish();
}

std::optional<Evaluation> evaluation_of(const Job& job, const std::vector<Prediction>& predictions) {
  if (predictions.size() != job.held_out.size()) return std::nullopt;
  Evaluation evaluation;
  for (std::size_t i = 0; i < predictions.size(); ++i) {
    const Prediction& then = predictions[i];
    const auto& example = job.held_out[i];
    const auto choices = static_cast<std::int64_t>(example.choices.size());
    if (job.task.generates()) {
      if (then.id != example.id || then.references != example.references) return std::nullopt;
      evaluation.written.push_back(then.written);
      continue;
    }
    if (then.id != example.id || then.probabilities.size() != example.choices.size() || then.prediction < 0 ||
        then.prediction >= choices)
      return std::nullopt;
    evaluation.ranked.push_back({example.label, then.prediction, {}, then.probabilities, example.truths});
    settle_label(evaluation.ranked.back());
  }
  if (job.task.generates()) {
    score_written(job, evaluation);
  } else {
    score_choices(job, evaluation);
  }
  return evaluation;
}

std::string told(const Job& job, const Evaluation& evaluation, const std::string& metric) {
  if (job.task.generates()) return fmt::format("{:.4g}", evaluation.metric(metric));
  return is_share(metric) ? percent_with_interval(evaluation.score(metric))
                          : bits_with_interval(evaluation.score(metric));
}

std::string bits_with_interval(const ReportScore& score) {
  return fmt::format("{:.2f} ({:.2f}–{:.2f}) bits", score.value, score.low, score.high);
}

std::string percent_with_interval(const ReportScore& score) {
  return fmt::format("{:.1f}% ({:.1f}–{:.1f})", 100 * score.value, 100 * score.low, 100 * score.high);
}

}  // namespace graft
