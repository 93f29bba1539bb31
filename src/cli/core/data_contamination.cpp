// graft data contamination: which examples of an evaluation stand in the training text, and what a score is without.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/build.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json_text.h"
#include "base/progress.h"
#include "cli/core/columns.h"
#include "cli/core/data_tools.h"
#include "cli/core/found_runs.h"
#include "cli/core/options.h"
#include "cli/core/usage.h"
#include "corpus/contamination.h"
#include "corpus/evaluation_texts.h"
#include "corpus/split_score.h"
#include "report/markup.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Arguments {
  std::vector<std::string> train, eval_fields;
  std::string task, data, split, eval, predictions, metric, order = "auto", output;
  std::int64_t most_in = ContaminationSettings{}.most_in;
  DocumentSettings documents;
};

Arguments arguments;
const CLI::App* options = nullptr;

void declare(CLI::App& app) {
  options = &app;
  Arguments& a = arguments;
  app.add_option("--train", a.train,
                 "training text: .txt, .jsonl, .csv, .tsv or .parquet files, folders of them, or - (a pipe)")
      ->required();
  app.add_option("--task", a.task, "the evaluation: a shipped task or a task YAML, with --data");
  app.add_option("--data", a.data, "file or folder with the task's examples");
  app.add_option("--split", a.split, "of the task's data (default: validation, or test where there is none)");
  app.add_option("--eval", a.eval,
                 "the evaluation without a task: a .jsonl, .csv, .tsv, .parquet or .txt file (a paragraph each)");
  app.add_option("--eval-field", a.eval_fields, "field of --eval to look for, once for each (default: text)");
  auto* predictions = app.add_option(
      "--predictions", a.predictions,
      "predictions.jsonl of graft tune or graft eval, or its folder: scores on all, clean and dirty examples");
  app.add_option("--metric", a.metric,
                 "of texts in --predictions: what they are measured by (default: the first one that the folder tells)")
      ->needs(predictions);
  app.add_option("--ngram", a.order, "words of an n-gram, or auto: the examples' 5th percentile, within 8 and 13")
      ->capture_default_str();
  app.add_option("--common", a.most_in, "n-grams of more training documents than this are not looked at")
      ->check(count_from(1))
      ->capture_default_str();
  app.add_option("--output", a.output, "folder for contamination.json and dirty.jsonl (default: none is written)");
  add_document_options(app, a.documents);
}

std::size_t order_of(const std::string& text) {
  if (text == "auto") return 0;
  std::size_t order = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), order);
  if (error == std::errc() && end == text.data() + text.size() && order >= 1 && order <= 1000) return order;
  fail(Category::InvalidArgument, "--ngram", "'{}' is neither auto nor a number of words from 1 to 1000", text);
}

EvaluationTexts evaluation_of(const Arguments& a) {
  if (a.task.empty() == a.eval.empty())
    fail(Category::InvalidArgument, "--task", "name either a task and its --data, or a file with --eval");
  if (a.task.empty()) return texts_of_file(a.eval, a.eval_fields);
  if (a.data.empty()) fail(Category::InvalidArgument, "--data", "name the file or folder with the task's examples");
  return texts_of_task(load_task(a.task), a.data, a.split);
}

// Of a pool, rows that trained were not asked.
void keep_answered(EvaluationTexts& texts, const std::vector<SettingAnswers>& answers) {
  std::set<std::string> asked;
  for (const auto& one : answers) {
    for (const auto& [id, right] : one.right) asked.insert(id);
    for (const auto& run : one.texts) {
      for (const auto& [id, text] : run) asked.insert(id);
    }
  }
  const std::size_t before = texts.size();
  const std::size_t left = texts.keep_ids(asked);
  if (left == before) return;
  if (left == 0) {
    fail(Category::InvalidArgument, "--predictions",
         "none of its {} examples is among the evaluation's {}; name the data and the split that the run was asked",
         asked.size(), before);
  }
  std::fprintf(stderr, "graft: note: %zu of %zu examples were not asked in the run and are left out\n", before - left,
               before);
}

Json share_json(const AnswerShare& share) {
  if (share.examples == 0) return {{"examples", 0}};
  return {{"examples", share.examples},
          {"accuracy", share.right},
          {"wilson_95", {share.wilson_95.low, share.wilson_95.high}}};
}

std::string share_text(const AnswerShare& share) {
  if (share.examples == 0) return "-";
  return fmt::format("{} ({:.1f}–{:.1f})", percent(share.right), 100 * share.wilson_95.low, 100 * share.wilson_95.high);
}

Json share_json(const TextShare& share) {
  if (share.examples == 0) return {{"examples", 0}};
  return {{"examples", share.examples},
          {"score", share.score},
          {"bootstrap_95", {share.bootstrap_95.low, share.bootstrap_95.high}}};
}

std::string share_text(const TextShare& share) {
  if (share.examples == 0) return "-";
  return fmt::format("{:.4g} ({:.4g}–{:.4g})", share.score, share.bootstrap_95.low, share.bootstrap_95.high);
}

std::string line_of(const Json& json) {
  return json_text(json) + "\n";
}

struct Found {
  const EvaluationTexts& texts;
  const DocumentReader& reader;
  Contamination contamination;
  std::vector<SplitScore> scores = {};
  std::vector<SplitTexts> texts_scores = {};
  ReadingTime time = {};
};

std::string dirty_lines(const Found& found) {
  std::string lines;
  for (const auto& dirty : found.contamination.dirty) {
    lines += line_of({{"id", found.texts.ids[dirty.example]},
                      {"where", found.texts.where[dirty.example]},
                      {"ngram", dirty.gram},
                      {"training_document", found.reader.where(dirty.place)},
                      {"training_documents", dirty.documents},
                      {"matched_ngrams", dirty.matched},
                      {"ngrams", dirty.grams}});
  }
  return lines;
}

Json json_of(const Found& found) {
  const Contamination& c = found.contamination;
  const auto dirty = static_cast<std::int64_t>(c.dirty.size());
  std::vector<std::string> files;
  for (const auto& file : found.reader.files()) files.push_back(file.string());
  Json json = {{"graft", GRAFT_VERSION},
               {"commit", build_commit()},
               {"command", command_line(*options)},
               {"evaluation", found.texts.name},
               {"ngram", c.order},
               {"ngram_chosen_by", arguments.order == "auto" ? "5th percentile of the examples' words" : "--ngram"},
               {"common_above_documents", arguments.most_in},
               {"examples", c.examples},
               {"dirty", dirty},
               {"clean", c.examples - dirty},
               {"shorter_than_ngram", c.shorter},
               {"without_words", c.empty},
               {"different_ngrams", c.grams},
               {"common_ngrams", c.common},
               {"training",
                {{"files", files},
                 {"documents", c.training_documents},
                 {"words", c.training_words},
                 {"bytes", found.reader.bytes()}}},
               {"seconds", found.time.seconds()},
               {"scores", Json::array()}};
  for (const auto& score : found.scores) {
    json["scores"].push_back({{"setting", score.setting},
                              {"all", share_json(score.all)},
                              {"clean", share_json(score.clean)},
                              {"dirty", share_json(score.dirty)},
                              {"unanswered", score.unanswered}});
  }
  for (const auto& score : found.texts_scores) {
    json["scores"].push_back({{"setting", score.setting},
                              {"metric", score.metric},
                              {"all", share_json(score.all)},
                              {"clean", share_json(score.clean)},
                              {"dirty", share_json(score.dirty)},
                              {"unanswered", score.unanswered}});
  }
  return json;
}

void print(const Found& found) {
  const Contamination& c = found.contamination;
  fmt::print("{}: {} examples, {}-grams ({} different)\ntraining text: {} documents, {} words, {}\n", found.texts.name,
             grouped(c.examples), c.order, grouped(c.grams), grouped(c.training_documents), grouped(c.training_words),
             found.time.told(found.reader.bytes()));
  const auto dirty = static_cast<std::int64_t>(c.dirty.size());
  std::vector<std::vector<std::string>> lines = {
      {"", "all", "clean", "dirty"}, {"examples", grouped(c.examples), grouped(c.examples - dirty), grouped(dirty)}};
  for (const auto& score : found.scores)
    lines.push_back({score.setting, share_text(score.all), share_text(score.clean), share_text(score.dirty)});
  for (const auto& score : found.texts_scores)
    lines.push_back({fmt::format("{} ({})", score.setting, score.metric), share_text(score.all),
                     share_text(score.clean), share_text(score.dirty)});
  print_columns(lines);
  if (c.common > 0)
    fmt::print("{} n-grams stand in more than {} documents each and were not looked at\n", grouped(c.common),
               grouped(arguments.most_in));
  if (c.shorter > 0) fmt::print("{} examples have fewer words and were looked for whole\n", grouped(c.shorter));
  if (c.empty > 0) fmt::print("{} examples have no word and count as clean\n", grouped(c.empty));
}

// What texts are measured by; null where there are none, or nobody says how those are measured that are right or wrong,
// too.
const TextMetric* metric_of(const Arguments& a, const std::vector<SettingAnswers>& answers, const std::string& task) {
  const auto writes = [](const SettingAnswers& one) { return !one.texts.empty(); };
  if (std::none_of(answers.begin(), answers.end(), writes)) {
    if (!a.metric.empty())
      fail(Category::InvalidArgument, "--metric", "is for texts that were written, and {} holds none; leave it out",
           a.predictions);
    return nullptr;
  }
  const bool tuned = std::any_of(answers.begin(), answers.end(), [](const auto& one) { return one.right.empty(); });
  std::string name = a.metric.empty() ? told_text_metric(a.predictions, task) : a.metric;
  if (name.empty() && tuned) name = told_text_metric(a.predictions, "");  // such a folder has one task
  if (!name.empty()) return &text_metric(name);
  if (tuned)
    fail(Category::InvalidArgument, "--metric",
         "{} does not say what its texts are measured by; name a metric (docs/metrics.md)", a.predictions);
  return nullptr;
}

void add_scores(Found& found, const std::vector<SettingAnswers>& answers, const TextMetric* metric) {
  const EvaluationTexts& texts = found.texts;
  std::vector<bool> dirty(texts.size(), false);
  for (const auto& one : found.contamination.dirty) dirty[one.example] = true;
  for (const auto& one : answers) {
    if (!one.right.empty()) found.scores.push_back(split_score(one, texts.ids, dirty));
    if (metric != nullptr && !one.texts.empty())
      found.texts_scores.push_back(split_texts(one, *metric, texts.ids, dirty));
  }
}

int run() {
  const Arguments& a = arguments;
  ContaminationSettings settings;
  settings.order = order_of(a.order);
  settings.most_in = a.most_in;
  EvaluationTexts texts = evaluation_of(a);
  for (const auto& note : texts.notes) std::fprintf(stderr, "graft: note: %s\n", note.c_str());
  std::vector<SettingAnswers> answers;
  const TextMetric* metric = nullptr;
  if (!a.predictions.empty()) {
    const std::string task = a.task.empty() ? "" : texts.name;
    answers = setting_answers(a.predictions, task);
    metric = metric_of(a, answers, task);
    keep_answered(texts, answers);
  }
  DocumentReader reader(a.train, a.documents, "contamination");
  // Gigabytes later is too late to find out that a folder cannot be written to.
  const fs::path home = a.output;
  std::optional<AtomicFile> list;
  if (!a.output.empty()) list.emplace(home / "dirty.jsonl");
  ContaminationCheck check(texts.texts, settings);
  Found found{texts, reader, {}};
  for (Piece piece; reader.next(piece);) check.read(piece);
  note_garbled(reader);
  found.contamination = check.result();
  add_scores(found, answers, metric);
  print(found);
  if (!list) return 0;
  AtomicFile results(home / "contamination.json");
  results.write(json_text(json_of(found), 2) + "\n");
  results.sync();
  list->write(dirty_lines(found));
  list->commit();
  results.commit();
  fmt::print("dirty examples: {}\nresults:        {}\n", (home / "dirty.jsonl").string(),
             (home / "contamination.json").string());
  return 0;
}

}  // namespace

namespace data_tools {
const Verb contamination{
    "contamination", "which examples of an evaluation stand in training text (GPT-3, appendix C)",
    "  graft data contamination --train corpus/*.jsonl --task rte --data superglue/rte/ --predictions runs/eval-rte "
    "--output runs/rte-seen\n"
    "  graft data contamination --train book.txt --task bbc_news --data articles/ --ngram 13\n"
    "  zstdcat pile/*.zst | graft data contamination --train - --format jsonl --eval questions.csv --eval-field "
    "question --output runs/seen\n",
    declare, run};
}  // namespace data_tools
}  // namespace graft
