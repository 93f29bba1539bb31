#include "cli/core/eval_data.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/suggest.h"
#include "eval/rank.h"
#include "statistics/text_metric.h"

namespace graft {
namespace {

// Of a text to write also how probable it is, as it is scored whether or not one is written.
std::vector<std::string> known_metrics(const Task& task) {
  if (task.rolls()) return running_metric_names();
  if (!task.generates()) return choice_metric_names();
  std::vector<std::string> known = {"accuracy", "token_perplexity", "word_perplexity", "byte_perplexity"};
  const auto of_texts = text_metric_names();
  known.insert(known.end(), of_texts.begin(), of_texts.end());
  return known;
}

std::vector<std::string> standard_metrics(const Task& task) {
  if (!task.generates()) return task.metrics;
  std::vector<std::string> metrics;
  if (!task.only_scored) metrics = task.metrics;
  metrics.emplace_back("token_perplexity");
  return metrics;
}

std::vector<std::string> metrics_of(const EvalSettings& settings, const Task& task) {
  const auto known = known_metrics(task);
  const auto standard = standard_metrics(task);
  std::vector<std::string> metrics = {"accuracy"};  // what intervals and tests are of
  for (const auto& metric : settings.metrics.empty() ? standard : settings.metrics) {
    if (std::find(known.begin(), known.end(), metric) == known.end())
      fail(Category::InvalidArgument, "--metric", "unknown '{}'{}", metric, did_you_mean(metric, known));
    refuse_unmeasurable(task, metric, "--metric");
    if (std::find(metrics.begin(), metrics.end(), metric) == metrics.end()) metrics.push_back(metric);
  }
  return metrics;
}

// The prompt of a group of rows with its references, and every distinct text that they write as a choice.
Example with_references(const Task& task, const std::vector<Row>& group, std::size_t index,
                        const Tokenizer& tokenizer) {
  Example example = render_group(task, group, index, tokenizer);
  example.writes = false;  // its end-of-text token is no part of the answer
  const auto add = [&texts = example.choices](const std::string& text) {
    if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(text);
  };
  for (std::size_t r = 1; r < group.size(); ++r) add(render(task, group[r], index, tokenizer).choices.front());
  for (const auto& row : group) {
    for (const auto& text : further_targets(task, row, index)) add(text);
  }
  return example;
}

std::vector<Example> rendered(const Task& task, const std::vector<Row>& rows, std::size_t index,
                              const Tokenizer& tokenizer) {
  std::vector<Example> examples;
  for (const auto& row : rows) examples.push_back(render(task, row, index, tokenizer));
  return examples;
}

std::vector<Example> asked(const Task& task, const std::vector<std::vector<Row>>& groups, std::size_t index,
                           const Tokenizer& tokenizer) {
  std::vector<Example> examples;
  for (const auto& group : groups)
    examples.push_back(task.generates() ? with_references(task, group, index, tokenizer)
                                        : render(task, group.front(), index, tokenizer));
  return examples;
}

std::vector<std::vector<std::string>> content_free(const Task& task, const std::vector<std::vector<Row>>& groups,
                                                   std::size_t index, const Tokenizer& tokenizer) {
  std::vector<std::vector<std::string>> prompts;
  for (const auto& group : groups) prompts.push_back(content_free_prompts(task, group.front(), index, tokenizer));
  return prompts;
}

std::string hash_of(const std::vector<std::vector<Row>>& groups) {
  std::vector<Row> rows;
  for (const auto& group : groups) rows.insert(rows.end(), group.begin(), group.end());
  return data_hash(rows);
}

FewShot rows_of(const Task& task, const RunConfig::Data& data, const EvalSettings& settings) {
  const auto seed = static_cast<std::uint64_t>(data.seed);
  if (settings.training_rows) {
    return few_shot_data(task, data.path, data.shots, seed,
                         {data.train_split, data.held_out_split, data.held_out_share, data.balanced});
  }
  return evaluation_data(task, data.path, {settings.demonstrations_file, settings.candidates, settings.shots.back()},
                         seed, {data.train_split, data.held_out_split});
}

// What tells a question from a demonstration: not the text to write.
std::vector<std::string> reading_of(const Example& example) {
  std::vector<std::string> reading = {example.prompt};
  if (example.writes) return reading;
  reading.insert(reading.end(), example.choices.begin(), example.choices.end());
  reading.push_back(example.continuation);
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
  std::erase_if(rows, [&](const Row& row) {
    return data.task.generates() ? !has_target(data.task, row) : label_of(data.task, row) < 0;
  });
  if (rows.size() < before)
    data.notes.push_back(fmt::format("{} of {} held-out rows carry no label or text to write and were left out",
                                     before - rows.size(), before));
  if (!rows.empty()) return;
  if (before > 0)
    fail(Category::InvalidArgument, data.path,
         "no held-out row carries a label or a text to write, nothing can be scored; name a split with labels");
  fail(Category::InvalidArgument, data.path,
       "no row is left to ask: all of them are candidates for demonstrations, or the task has neither validation nor "
       "test; give fewer --candidates (graft compare: --shots), or --set data.held_out_split");
}

// Intervals are wide then, and nobody may have meant it.
void note_few(EvalData& data, const EvalSettings& settings) {
  const auto shown = static_cast<std::int64_t>(data.candidates.size());
  const bool chosen = settings.training_rows || !settings.demonstrations_file.empty();
  if (!data.one_pool || chosen || data.count() >= shown) return;
  data.notes.push_back(fmt::format(
      "{} rows are asked and {} are set aside for demonstrations; fewer --shots or --candidates, or rows of their own "
      "(--demonstrations-file), leave more to ask",
      data.count(), shown));
}

void note_repeats(EvalData& data) {
  std::set<std::string> ids;
  for (const auto& example : data.questions.front()) ids.insert(example.id);
  if (ids.size() == data.questions.front().size()) return;
  data.notes.push_back(fmt::format("{} of {} held-out rows repeat an earlier one to the letter; each counts",
                                   data.questions.front().size() - ids.size(), data.questions.front().size()));
}

// Nothing is asked there, and the score is higher by it, as that of guessing is.
void note_single_choices(EvalData& data) {
  if (!data.task.has_choices()) return;
  const auto& questions = data.questions.front();
  const auto count = std::count_if(questions.begin(), questions.end(),
                                   [](const Example& question) { return question.choices.size() == 1; });
  if (count > 0)
    data.notes.push_back(fmt::format("{} of {} questions have one choice, which is right whatever the model says",
                                     count, questions.size()));
}

// Running text is scored as it is, with nothing in front of it.
void refuse_for_running_text(const Task& task, const EvalSettings& settings) {
  if (!task.rolls()) return;
  const auto refuse = [&](const char* option) {
    fail(Category::InvalidArgument, option, "task {} has running text, which is read alone; leave it out", task.name);
  };
  if (settings.shots.size() > 1) refuse("--shots");
  if (!settings.layout.instruction.empty()) refuse("--instruction");
  if (!settings.demonstrations_file.empty()) refuse("--demonstrations-file");
  if (settings.candidates > 0) refuse("--candidates");
}

void add_slices(Task& task, const std::vector<std::string>& fields) {
  if (fields.empty()) return;
  if (task.rolls())
    fail(Category::InvalidArgument, "--slice", "task {} has running text, which is told as a whole; leave it out",
         task.name);
  for (const auto& field : fields) {
    if (std::find(task.slices.begin(), task.slices.end(), field) == task.slices.end()) task.slices.push_back(field);
  }
}

// A shipped task may name a field that some forms of its data have not.
void drop_absent_slices(EvalData& data, const std::vector<std::vector<Row>>& groups, const EvalSettings& settings) {
  std::vector<std::string> kept;
  for (const auto& field : data.task.slices) {
    const bool there = std::any_of(groups.begin(), groups.end(), [&](const std::vector<Row>& group) {
      return slice_value(group.front(), field).has_value();
    });
    if (there) {
      kept.push_back(field);
      continue;
    }
    if (std::find(settings.slices.begin(), settings.slices.end(), field) != settings.slices.end()) {
      fail(Category::InvalidArgument, "--slice", "no row of {} has a field '{}'{}", data.path, field,
           did_you_mean(field, slice_fields(groups.front().front())));
    }
    data.notes.push_back(fmt::format("no row has the field '{}', by which the task's slices are told", field));
  }
  data.task.slices = std::move(kept);
}

}  // namespace

Task eval_task(const RunConfig& config, const EvalSettings& settings) {
  Task task = task_of(config);
  refuse_for_running_text(task, settings);
  if (!settings.normalisation.empty()) {
    normalisation_of(settings.normalisation);
    if (!task.has_choices())
      fail(Category::InvalidArgument, "--normalisation", "compares choices, and task {} has none; leave it out",
           task.name);
    task.normalisation = settings.normalisation;
  }
  if (settings.balanced && !task.has_classes())
    fail(Category::InvalidArgument, "--balanced", "task {} has no classes; leave it out", task.name);
  if (settings.contextual && (!task.has_choices() || task.normalisation == "pmi"))
    fail(Category::InvalidArgument, "--calibrate", "{}; leave it out",
         !task.has_choices() ? fmt::format("compares choices, and task {} has none", task.name)
                             : "and the normalisation pmi both take off what choices have by themselves");
  if (!settings.scorer.empty() && !task.generates())
    fail(Category::InvalidArgument, "--scorer", "judges texts, and task {} has none to write; leave it out", task.name);
  add_slices(task, settings.slices);
  metrics_of(settings, task);
  templates_of(config, task);
  return task;
}

bool writes_texts(const Task& task, const EvalSettings& settings) {
  const auto metrics = metrics_of(settings, task);
  return std::any_of(metrics.begin(), metrics.end(), is_text_metric) || !settings.scorer.empty();
}

EvalData open_eval_data(const RunConfig& config, const EvalSettings& settings, const Tokenizer& tokenizer) {
  EvalData data;
  data.task = eval_task(config, settings);
  data.path = config.data.path;
  data.metrics = metrics_of(settings, data.task);
  data.writes = writes_texts(data.task, settings);
  data.templates = templates_of(config, data.task);
  data.one_pool = is_one_pool(data.task, data.path);
  FewShot sample = rows_of(data.task, config.data, settings);
  drop_alike_choices(sample, data.task, data.templates, tokenizer);
  data.notes = std::move(sample.notices);
  data.candidates = std::move(sample.train);
  std::vector<Row> rows = std::move(sample.held_out);
  drop_read_alike(data, rows, tokenizer);
  drop_unlabelled(data, rows);
  auto groups = prompt_groups(data.task, rows);
  data.held_out = static_cast<std::int64_t>(groups.size());
  const auto wanted = static_cast<std::size_t>(config.data.eval_rows);
  if (wanted > 0 && wanted < groups.size()) groups.resize(wanted);
  drop_absent_slices(data, groups, settings);
  for (const auto index : data.templates) data.questions.push_back(asked(data.task, groups, index, tokenizer));
  if (settings.contextual)
    for (const auto index : data.templates)
      data.content_free.push_back(content_free(data.task, groups, index, tokenizer));
  note_repeats(data);
  note_single_choices(data);
  if (wanted == 0 || data.count() < config.data.eval_rows) note_few(data, settings);
  data.candidates_hash = data_hash(data.candidates);
  data.questions_hash = hash_of(groups);
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
    const char* way_out = settings.training_rows ? "ask for fewer, or give more rows to train on (--shots)"
                          : data.one_pool        ? "ask for fewer, or set more rows aside with --candidates"
                                                 : "ask for fewer";
    fail(Category::InvalidArgument, settings.training_rows ? "method.options.shots" : "--shots",
         "{} demonstrations were asked for, task {} has {} rows for them; {}", shots, data.task.name,
         data.candidates.size(), way_out);
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

Demonstrator Demonstrator::reordered(const std::vector<std::size_t>& order) const {
  Demonstrator other = *this;
  for (std::size_t i = 0; i < order.size(); ++i) {
    other.texts_[i] = texts_.at(order[i]);
    other.ids_[i] = ids_.at(order[i]);
  }
  return other;
}

std::vector<std::string> Demonstrator::before(const Example& question) const {
  if (!nearest_) return texts_;
  std::vector<std::string> texts;
  for (const auto index : nearest_->nearest(question.prompt, shots_)) texts.push_back(texts_[index]);
  std::reverse(texts.begin(), texts.end());
  return texts;
}

}  // namespace graft
