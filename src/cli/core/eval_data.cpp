#include "cli/core/eval_data.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/suggest.h"
#include "eval/rank.h"

namespace graft {
namespace {

const std::vector<std::string> kMetrics = {"accuracy", "balanced_accuracy", "macro_f1"};

std::vector<std::string> metrics_of(const EvalSettings& settings, const Task& task) {
  std::vector<std::string> metrics = {"accuracy"};  // what intervals and tests are of
  for (const auto& metric : settings.metrics.empty() ? task.metrics : settings.metrics) {
    if (std::find(kMetrics.begin(), kMetrics.end(), metric) == kMetrics.end())
      fail(Category::InvalidArgument, "--metric", "unknown '{}'{}", metric, did_you_mean(metric, kMetrics));
    if (std::find(metrics.begin(), metrics.end(), metric) == metrics.end()) metrics.push_back(metric);
  }
  return metrics;
}

std::vector<Example> rendered(const Task& task, const std::vector<Row>& rows, std::size_t index,
                              const Tokenizer& tokenizer) {
  std::vector<Example> examples;
  for (const auto& row : rows) examples.push_back(render(task, row, index, tokenizer));
  return examples;
}

std::vector<std::string> reading_of(const Example& example) {
  std::vector<std::string> reading = {example.prompt};
  reading.insert(reading.end(), example.choices.begin(), example.choices.end());
  return reading;
}

// Rows that differ may read the same once max_tokens has cut them: such a question would be answered in its own prompt.
void drop_read_alike(EvalData& data, std::vector<Row>& rows, const Tokenizer& tokenizer) {
  if (data.task.max_tokens.empty() || data.candidates.empty()) return;
  std::set<std::vector<std::string>> shown;
  for (const auto& row : data.candidates) shown.insert(reading_of(render(data.task, row, 0, tokenizer)));
  const std::size_t before = rows.size();
  std::erase_if(rows,
                [&](const Row& row) { return shown.count(reading_of(render(data.task, row, 0, tokenizer))) > 0; });
  if (rows.size() < before) {
    data.notes.push_back(fmt::format("{} of {} held-out rows read like a candidate once they are cut and were left out",
                                     before - rows.size(), before));
  }
}

void drop_unlabelled(EvalData& data, std::vector<Row>& rows) {
  const std::size_t before = rows.size();
  std::erase_if(rows, [&](const Row& row) { return label_of(data.task, row) < 0; });
  if (rows.size() < before)
    data.notes.push_back(
        fmt::format("{} of {} held-out rows carry no label and were left out", before - rows.size(), before));
  if (!rows.empty()) return;
  if (before > 0)
    fail(Category::InvalidArgument, data.path,
         "no held-out row carries a label, nothing can be scored; name a split with labels");
  fail(Category::InvalidArgument, data.path,
       "no row is left to ask: all of them are candidates for demonstrations, or the task has neither validation nor "
       "test; give fewer --candidates, or --set data.held_out_split");
}

void note_repeats(EvalData& data) {
  std::set<std::string> ids;
  for (const auto& example : data.questions.front()) ids.insert(example.id);
  if (ids.size() == data.questions.front().size()) return;
  data.notes.push_back(fmt::format("{} of {} held-out rows repeat an earlier one to the letter; each counts",
                                   data.questions.front().size() - ids.size(), data.questions.front().size()));
}

}  // namespace

Task eval_task(const RunConfig& config, const EvalSettings& settings) {
  Task task = task_of(config);
  if (task.generates()) {
    fail(Category::Unsupported, "task " + task.name,
         "has a text to write, and graft eval scores choices; graft tune reports such a task before and after");
  }
  if (!settings.normalisation.empty()) {
    normalisation_of(settings.normalisation);
    task.normalisation = settings.normalisation;
  }
  metrics_of(settings, task);
  templates_of(config, task);
  return task;
}

EvalData open_eval_data(const RunConfig& config, const EvalSettings& settings, const Tokenizer& tokenizer) {
  EvalData data;
  data.task = eval_task(config, settings);
  data.path = config.data.path;
  data.metrics = metrics_of(settings, data.task);
  data.templates = templates_of(config, data.task);
  data.one_pool = is_one_pool(data.task, data.path);
  FewShot sample = evaluation_data(
      data.task, data.path, {settings.demonstrations_file, settings.candidates, settings.shots.back()},
      static_cast<std::uint64_t>(config.data.seed), {config.data.train_split, config.data.held_out_split});
  data.notes = std::move(sample.notices);
  data.candidates = std::move(sample.train);
  std::vector<Row> rows = std::move(sample.held_out);
  drop_read_alike(data, rows, tokenizer);
  drop_unlabelled(data, rows);
  const auto wanted = static_cast<std::size_t>(config.data.eval_rows);
  if (wanted > 0 && wanted < rows.size()) rows.resize(wanted);
  for (const auto index : data.templates) data.questions.push_back(rendered(data.task, rows, index, tokenizer));
  note_repeats(data);
  data.candidates_hash = data_hash(data.candidates);
  data.questions_hash = data_hash(rows);
  // Too few candidates are told before anything is scored.
  Demonstrator(data, settings, tokenizer, data.templates.front(), settings.shots.back(),
               static_cast<std::uint64_t>(config.data.seed));
  return data;
}

Demonstrator::Demonstrator(const EvalData& data, const EvalSettings& settings, const Tokenizer& tokenizer,
                           std::size_t index, std::int64_t shots, std::uint64_t seed)
    : shots_(static_cast<std::size_t>(shots)) {
  if (shots == 0) return;
  if (shots > static_cast<std::int64_t>(data.candidates.size())) {
    fail(Category::InvalidArgument, "--shots", "{} demonstrations were asked for, task {} has {} rows for them; {}",
         shots, data.task.name, data.candidates.size(),
         data.one_pool ? "ask for fewer, or set more rows aside with --candidates" : "ask for fewer");
  }
  std::vector<Row> rows = data.candidates;
  if (settings.choice == DemonstrationChoice::Random)
    rows = drawn_demonstrations(rows, data.task, shots, settings.balanced, seed);
  if (settings.choice == DemonstrationChoice::Fixed) rows.resize(shots_);
  std::vector<std::string> prompts;
  for (const auto& example : rendered(data.task, rows, index, tokenizer)) {
    texts_.push_back(demonstration_text(example));
    prompts.push_back(example.prompt);
    ids_.push_back(example.id);
  }
  if (settings.choice != DemonstrationChoice::Bm25) return;
  nearest_.emplace(prompts);
  ids_.clear();
}

std::vector<std::string> Demonstrator::before(const Example& question) const {
  if (!nearest_) return texts_;
  std::vector<std::string> texts;
  for (const auto index : nearest_->nearest(question.prompt, shots_)) texts.push_back(texts_[index]);
  std::reverse(texts.begin(), texts.end());
  return texts;
}

}  // namespace graft
