// graft predict: a tuned model answers rows that nobody has labelled.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "adapters/core/peft.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json_text.h"
#include "cli/core/columns.h"
#include "cli/core/decoding_options.h"
#include "cli/core/evaluation.h"
#include "cli/core/evaluation_plan.h"
#include "cli/core/options.h"
#include "cli/core/pass_memory.h"
#include "cli/core/placed_tensors.h"
#include "cli/core/verb.h"
#include "cli/core/work_plan.h"
#include "data/garbled.h"
#include "data/split.h"
#include "data/unicode.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Arguments : TunedArguments {
  std::string task, data, output, dtype, prompt_template, memory;
  std::vector<std::string> keep;
  DecodingArguments decoding;
  bool raft = false;
};

Arguments arguments;

void declare(CLI::App& app) {
  Arguments& a = arguments;
  add_tuned_options(app, a);
  app.add_option("--task", a.task, "a shipped task or a task YAML (default: the one the adapter was tuned on)");
  app.add_option("--data", a.data,
                 "rows to answer: a .csv, .tsv, .jsonl or .parquet file with the fields that the task's prompt names, "
                 "or a folder of "
                 ".txt files; they need no label")
      ->required();
  app.add_option("--output", a.output, "new .csv or .jsonl file")->required();
  app.add_option("--keep", a.keep, "a column of the rows to copy in front of the answers, once for each");
  app.add_flag("--raft", a.raft, "as the RAFT benchmark wants its predictions.csv: the columns ID and Label alone");
  app.add_option("--template", a.prompt_template,
                 "prompt template by name or number, or all: the mean of their probabilities (default: the run's)");
  app.add_option("--dtype", a.dtype, "float32 or bfloat16 (default: the run's)")
      ->check(CLI::IsMember({"float32", "bfloat16"}));
  add_memory_option(app, a.memory);
  add_decoding_options(app, a.decoding);
}

// A method without an adapter file leaves a whole model in its run folder.
bool run_left_model() {
  return !arguments.run.empty() && fs::exists(fs::path(arguments.run) / "model");
}

RunConfig resolve() {
  const Arguments& a = arguments;
  RunConfig config = config_of_tuned(a);
  if (a.model.empty() && run_left_model()) config.model.path = (fs::path(a.run) / "model").string();
  if (!a.dtype.empty()) config.model.dtype = a.dtype;
  if (!a.prompt_template.empty()) config.data.prompt_template = a.prompt_template;
  config.data.eval_rows = 0;
  return config;
}

std::string adapter_folder() {
  return run_left_model() ? arguments.adapter : adapter_of_tuned(arguments);
}

Task task_for(const RunConfig& config, const LoadedAdapter& adapter) {
  if (!arguments.task.empty()) return load_task(arguments.task);
  if (adapter.manifest.is_object() && adapter.manifest.contains("task"))
    return parse_task(adapter.manifest.at("task").get<std::string>(), "task of the adapter");
  if (config.task.name.empty())
    fail(Category::InvalidArgument, "--task", "name the task whose prompt the rows are put into");
  return load_task(config.task.name);
}

// Columns to copy, which every row has to have.
std::vector<std::string> kept_columns(const std::vector<Row>& rows, const Task& task) {
  std::vector<std::string> columns = arguments.keep;
  if (arguments.raft) columns = {"ID"};
  std::set<std::string> taken = {"row", "prediction", "probability", "probabilities"};
  for (const auto& column : columns) {
    if (!taken.insert(column).second)
      fail(Category::InvalidArgument, "--keep " + column, "is a column of the answers already");
  }
  for (const auto& column : columns) {
    for (const auto& row : rows) require_field(row, column, task.format);
  }
  return columns;
}

// Of each choice the label, the task's or the row's own, or where the data has none the choice's text.
std::vector<std::string> names_of(const Job& job, const Row& row, const Example& example) {
  auto names = job.task.labels_from.empty() ? job.labels : list_of(row, job.task.labels_from);
  for (std::size_t c = names.size(); c < example.choices.size(); ++c)
    names.push_back(without_space_around(example.choices[c]));
  return names;
}

struct Answer {
  std::string text;
  std::vector<double> probabilities = {};  ///< of the choices; empty for texts that were written
  std::vector<std::string> names = {};     ///< of the same
};

std::vector<Answer> choices_made(const Job& job, const std::vector<Row>& rows, const Adapter* adapter) {
  std::vector<Answer> answers(job.held_out.size());
  for (const auto& made : job.templates) {
    const auto ranked = rank_in(job, made, adapter, "predict");
    for (std::size_t row = 0; row < ranked.size(); ++row) {
      auto& sum = answers[row].probabilities;
      sum.resize(ranked[row].probabilities.size());
      for (std::size_t c = 0; c < sum.size(); ++c)
        sum[c] += ranked[row].probabilities[c] / static_cast<double>(job.templates.size());
    }
  }
  for (std::size_t row = 0; row < answers.size(); ++row) {
    Answer& answer = answers[row];
    const auto& p = answer.probabilities;
    answer.names = names_of(job, rows[row], job.held_out[row]);
    answer.text = answer.names[static_cast<std::size_t>(std::max_element(p.begin(), p.end()) - p.begin())];
  }
  return answers;
}

std::vector<Answer> answers_of(const Job& job, const std::vector<Row>& rows, const Adapter* adapter) {
  if (!job.task.generates()) return choices_made(job, rows, adapter);
  std::vector<Answer> answers;
  for (const auto& text : write_held_out(job, adapter, "predict")) answers.push_back({without_space_around(text)});
  return answers;
}

std::string as_csv(const std::vector<Row>& rows, const std::vector<Answer>& answers,
                   const std::vector<std::string>& columns) {
  const bool choices = !answers.empty() && !answers.front().probabilities.empty();
  std::vector<std::string> head = columns;
  if (columns.empty()) head.emplace_back("row");
  head.emplace_back(arguments.raft ? "Label" : "prediction");
  if (choices && !arguments.raft) head.emplace_back("probability");
  std::string text = csv_line(head);
  for (std::size_t row = 0; row < rows.size(); ++row) {
    std::vector<std::string> cells;
    for (const auto& column : columns) cells.push_back(rows[row].fields.at(column));
    if (columns.empty()) cells.push_back(rows[row].where);
    cells.push_back(answers[row].text);
    const auto& p = answers[row].probabilities;
    if (choices && !arguments.raft) cells.push_back(fmt::format("{:.6f}", *std::max_element(p.begin(), p.end())));
    text += csv_line(cells);
  }
  return text;
}

std::string as_jsonl(const std::vector<Row>& rows, const std::vector<Answer>& answers,
                     const std::vector<std::string>& columns) {
  std::string text;
  for (std::size_t row = 0; row < rows.size(); ++row) {
    Json line = {{"row", rows[row].where}};
    for (const auto& column : columns) line[column] = rows[row].fields.at(column);
    line["prediction"] = answers[row].text;
    for (std::size_t c = 0; c < answers[row].probabilities.size(); ++c)
      line["probabilities"][answers[row].names[c]] = answers[row].probabilities[c];
    // A file's name may be no UTF-8.
    text += json_text(line) + "\n";
  }
  return text;
}

void check_output() {
  const fs::path output = arguments.output;
  const std::string suffix = output.extension().string();
  if (suffix != ".csv" && suffix != ".jsonl")
    fail(Category::InvalidArgument, "--output", "'{}' must end in .csv or .jsonl", arguments.output);
  if (arguments.raft && !arguments.keep.empty())
    fail(Category::InvalidArgument, "--keep",
         "stands beside --raft, whose file has the columns ID and Label alone; leave one out");
  if (arguments.raft && suffix != ".csv") fail(Category::InvalidArgument, "--output", "is a .csv file with --raft");
  if (fs::exists(output)) fail(Category::InvalidArgument, arguments.output, "exists already; name a new file");
}

// What run() and plan() begin with.
struct Opened {
  Base base;
  LoadedAdapter adapter;
  std::vector<Row> rows;
  std::vector<std::string> columns;
  Job job;
  MemoryFit fit;
};

Opened open_rows() {
  check_output();
  const MemoryBudget budget = memory_budget(arguments.memory);
  const RunConfig config = resolve();
  Opened opened;
  opened.base = open_base(config, budget.said());
  if (const std::string folder = adapter_folder(); !folder.empty()) {
    opened.adapter = load_adapter(folder, *opened.base.model, *opened.base.tokenizer);
    tell_placed(folder, opened.adapter.method, opened.adapter.tensors);
  }
  Task task = task_for(config, opened.adapter);
  if (arguments.prompt_template == "all" && task.generates())
    fail(Category::InvalidArgument, "--template",
         "all takes the mean of the choices' probabilities, and the task {} writes texts; name one of its templates",
         task.name);
  if (!task.generates())
    refuse_idle_decoding(arguments.decoding, fmt::format("the task {} has choices to compare", task.name));
  opened.rows = read_unlabelled(task, arguments.data);
  for (const auto& notice : garbled_notices(opened.rows)) std::fprintf(stderr, "graft: note: %s\n", notice.c_str());
  opened.columns = kept_columns(opened.rows, task);
  const Adapter* adapter = opened.adapter.adapter.get();
  opened.job = open_unlabelled(config, opened.base, std::move(task), opened.rows, adapter);
  opened.fit = fit_passes(*opened.job.model, answer_needs(opened.job, adapter), budget);
  opened.job.memory = opened.fit.choice;
  opened.job.decoding = settled_decoding(arguments.decoding, config, opened.job.task, opened.base);
  return opened;
}

int run() {
  const Opened opened = open_rows();
  AtomicFile(arguments.output);  // a place that cannot be written to is told before anything is answered
  settle(opened.fit);
  const auto answers = answers_of(opened.job, opened.rows, opened.adapter.adapter.get());
  const bool csv = fs::path(arguments.output).extension() == ".csv";
  write_file(arguments.output,
             csv ? as_csv(opened.rows, answers, opened.columns) : as_jsonl(opened.rows, answers, opened.columns));
  fmt::print("{}: {} rows\n", arguments.output, opened.rows.size());
  return 0;
}

void plan(bool json) {
  const Opened opened = open_rows();
  print_plan(plan_answers(opened.job, opened.adapter.adapter.get(), opened.fit), json);
}

}  // namespace

namespace cli {
extern const Verb predict;
const Verb predict{
    "predict",
    "answer new rows with a tuned model, into a file",
    "  graft predict --run runs/bbc --data new-articles/ --output topics.csv\n"
    "  graft predict --run runs/mine --data new.csv --keep id --keep text --output answers.csv\n"
    "  graft predict --model ./smollm2 --adapter runs/bbc/adapter --data new.jsonl --output topics.jsonl\n"
    "  graft predict --run runs/rte-11b --data new.jsonl --memory 20GiB --output answers.csv\n"
    "  graft predict --run runs/answers --data questions.jsonl --speculate 4 --kv-cache q8 --output answers.jsonl\n"
    "  graft predict --run runs/raft-ade --data test_unlabeled.csv --raft --output predictions.csv\n",
    declare,
    run,
    plan};
}  // namespace cli
}  // namespace graft
