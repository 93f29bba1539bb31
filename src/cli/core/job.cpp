#include "cli/core/job.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>
#include <utility>

#include "adapters/core/combination.h"
#include "adapters/core/peft.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "cli/core/mixture.h"
#include "nn/compute_dtype.h"
#include "text/own_tokenizer.h"

namespace graft {
namespace {

std::vector<Example> render_all(const Job& job, const std::vector<Row>& rows, std::size_t index) {
  std::vector<Example> examples;
  for (const auto& row : rows) examples.push_back(render(job.task, row, index, *job.tokenizer));
  return examples;
}

ChoiceTokens tokenize_for(const Job& job, const Example& example) {
  return tokenize(example, *job.tokenizer, job.texts, job.config.data.max_prompt_tokens);
}

// A held-out row in every template of the run.
struct HeldOut {
  std::vector<Example> examples;
  std::vector<ChoiceTokens> tokens;
};

HeldOut held_out_of(const Job& job, const std::vector<std::size_t>& templates, const std::vector<Row>& group) {
  HeldOut made;
  for (const auto index : templates) {
    made.examples.push_back(job.task.generates() ? render_group(job.task, group, index, *job.tokenizer)
                                                 : render(job.task, group.front(), index, *job.tokenizer));
    made.tokens.push_back(tokenize_for(job, made.examples.back()));
  }
  return made;
}

// What tells a held-out example from one that trained: not the text to write.
std::vector<std::vector<std::int64_t>> told_by(const Task& task, const ChoiceTokens& tokens) {
  if (task.generates()) return {tokens.prompt};
  return tokens.reading();
}

void hold_out(Job& job, HeldOut made) {
  for (std::size_t t = 0; t < job.templates.size(); ++t) {
    job.templates[t].held_out.push_back(std::move(made.tokens[t]));
    if (job.task.normalisation != "pmi") continue;
    Example neutral = made.examples[t];
    neutral.prompt = neutral.neutral;
    job.templates[t].neutral.push_back(tokenize_for(job, neutral));
  }
  job.held_out.push_back(std::move(made.examples.front()));
}

// Rows that differ may read the same once the task or the context has cut them: such a row has been trained on.
void hold_out_unseen(Job& job, const std::vector<std::size_t>& templates, const std::vector<Row>& rows) {
  std::set<std::vector<std::vector<std::int64_t>>> trained;
  for (const auto& tokens : job.train_tokens) trained.insert(told_by(job.task, tokens));
  const std::int64_t wanted = job.config.data.eval_rows;
  std::size_t dropped = 0;
  for (const auto& group : prompt_groups(job.task, rows)) {
    if (wanted > 0 && static_cast<std::int64_t>(job.held_out.size()) == wanted) break;
    HeldOut made = held_out_of(job, templates, group);
    const bool seen = std::any_of(made.tokens.begin(), made.tokens.end(), [&](const ChoiceTokens& tokens) {
      return trained.count(told_by(job.task, tokens)) > 0;
    });
    if (seen) {
      ++dropped;
    } else {
      hold_out(job, std::move(made));
    }
  }
  if (dropped == 0) return;
  std::fprintf(stderr,
               "graft: note: %zu of %zu held-out rows read like a training row once they are cut and were left out\n",
               dropped, dropped + job.held_out.size());
}

// The places of two choices that are one text.
std::optional<std::pair<std::size_t, std::size_t>> same_choices(const Example& example) {
  std::map<std::string_view, std::size_t> places;
  for (std::size_t c = 0; c < example.choices.size(); ++c) {
    const auto [other, added] = places.emplace(example.choices[c], c);
    if (!added) return std::pair(other->second, c);
  }
  return std::nullopt;
}

// A held-out row of this kind is left out; one that waits for an answer would be missed. All of them are told at once.
void refuse_same_choices(const std::vector<HeldOut>& rows) {
  const auto has_same = [](const Example& example) { return same_choices(example).has_value(); };
  const Example* first = nullptr;
  std::size_t count = 0;
  for (const HeldOut& row : rows) {
    const auto found = std::find_if(row.examples.begin(), row.examples.end(), has_same);
    if (found == row.examples.end()) continue;
    if (first == nullptr) first = &*found;
    ++count;
  }
  if (first == nullptr) return;
  const auto places = *same_choices(*first);
  fail(Category::InvalidArgument, first->where,
       "choices {} and {} are both '{}', so that no answer tells which is meant ({} of {} rows have the same choice "
       "twice); change these rows or leave them out",
       places.first, places.second, first->choices[places.first], count, rows.size());
}

void tell_cuts(const Job& job) {
  std::size_t cut = 0, all = 0;
  const auto count = [&](const std::vector<ChoiceTokens>& examples) {
    all += examples.size();
    cut += static_cast<std::size_t>(
        std::count_if(examples.begin(), examples.end(), [](const ChoiceTokens& tokens) { return tokens.cut > 0; }));
  };
  count(job.train_tokens);
  for (const auto& made : job.templates) count(made.held_out);
  if (cut == 0) return;
  std::fprintf(stderr,
               "graft: note: %zu of %zu prompts are too long and lost their beginning; max_tokens of a task cuts one "
               "field instead, data.max_prompt_tokens sets the limit\n",
               cut, all);
}

void render_templates(Job& job, const FewShot& data) {
  const auto templates = templates_of(job.config, job.task);
  for (const auto index : templates) {
    const auto train = render_all(job, data.train, index);
    job.train.insert(job.train.end(), train.begin(), train.end());
    job.templates.push_back({job.task.templates[index].name, {}, {}});
  }
  for (const auto& example : job.train) job.train_tokens.push_back(tokenize_for(job, example));
  hold_out_unseen(job, templates, data.held_out);
  tell_cuts(job);
}

void read_data(Job& job) {
  const RunConfig& config = job.config;
  FewShot data = few_shot_data(
      job.task, config.data.path, config.data.shots, static_cast<std::uint64_t>(config.data.seed),
      {config.data.train_split, config.data.held_out_split, config.data.held_out_share, config.data.balanced});
  drop_alike_choices(data, job.task, templates_of(config, job.task), *job.tokenizer);
  for (const auto& notice : data.notices) std::fprintf(stderr, "graft: note: %s\n", notice.c_str());
  job.data_hash = data_hash(data.train);
  render_templates(job, data);
  if (job.task.generates()) return;
  job.labels = job.task.labels;
  std::size_t most = 0;
  for (const auto* examples : {&job.train, &job.held_out})
    for (const auto& example : *examples) most = std::max(most, example.choices.size());
  for (std::size_t c = job.labels.size(); c < most; ++c) job.labels.push_back(fmt::format("choice {}", c));
}

// An adapter of the configuration's is counted before there are examples to make one for, on a model without values.
ModelConfig config_beside_method(const RunConfig& config, const Model& model) {
  const MethodChoice method(config.method.name);
  for (const Method* part : method.parts()) {
    if (!part->virtual_tokens) continue;
    if (!config.method.start_from.empty())
      return config_beside(model, load_adapter(start_of(config), model).adapter.get());
    const nlohmann::json all = method_options(config);
    nlohmann::json options = method.single() ? all : all.value(part->name, nlohmann::json::object());
    if (options.is_object()) options.erase("init_text");  // has no part in their number
    const auto outline = outline_model(model.config());
    Rng rng(0);
    return config_beside(model, part->create(*outline, options, rng).get());
  }
  return model.config();
}

void refuse_running_text(const Task& task) {
  if (task.rolls())
    fail(Category::InvalidArgument, "task " + task.name,
         "has running text, of which graft eval tells the perplexity; there is nothing in it to choose or to write");
}

Job job_on(const RunConfig& config, const Base& base, Task task, ModelConfig texts) {
  refuse_running_text(task);
  Job job;
  job.texts = std::move(texts);
  job.config = config;
  job.task = std::move(task);
  job.model = base.model;
  job.tokenizer = base.tokenizer;
  job.load_seconds = base.load_seconds;
  return job;
}

Job with_examples(Job job) {
  const auto start = Clock::now();
  read_data(job);
  job.load_seconds += seconds_since(start);
  return job;
}

// Where "lora.rank" stands: options["lora"]["rank"].
nlohmann::json& option_place(nlohmann::json& options, const std::string& key) {
  nlohmann::json* place = &options;
  std::istringstream parts(key);
  for (std::string part; std::getline(parts, part, '.');) {
    if (!place->is_object() && !place->is_null())
      fail(Category::InvalidArgument, "method.options." + key, "one of the names before it has a value already");
    place = &(*place)[part];
  }
  return *place;
}

void choose_tasks(RunConfig& config, const std::vector<TaskData>& tasks) {
  config.task = {};
  config.data.path.clear();
  if (tasks.size() == 1) {
    config.task.name = tasks.front().task;
    config.data.path = tasks.front().data;
    return;
  }
  for (const auto& [task, data] : tasks) config.task.mixture[task] = data;
}

void take(std::string& setting, const std::string& given) {
  if (!given.empty()) setting = given;
}

// A task or columns of the command take the place of whatever the recipe says of what the rows hold.
void choose_rows(RunConfig& config, const JobArguments& a) {
  RunConfig::Data& data = config.data;
  const bool labelled = !a.text_column.empty() || !a.label_column.empty(),
             written = !a.prompt_column.empty() || !a.target_column.empty(), named = !a.tasks.empty();
  if (named || labelled || written) config.task = {};
  if (named || written) data.text_column = data.label_column = "";
  if (named || labelled) data.prompt_column = data.target_column = "";
  take(data.text_column, a.text_column);
  take(data.label_column, a.label_column);
  take(data.prompt_column, a.prompt_column);
  take(data.target_column, a.target_column);
  take(data.path, a.data);
  if (named) choose_tasks(config, task_data(a.tasks, a.data));
}

void refuse_task_beside_mixture(const RunConfig& config) {
  if (config.task.name.empty() && config.data.path.empty()) return;
  fail(Category::InvalidArgument, "task.mixture",
       "stands beside task.name or data.path; leave one out (task.mixture.NAME=DATA adds a task)");
}

}  // namespace

RunConfig run_config_of(const JobArguments& a) {
  return run_config_of(a, load_recipe(a.recipe));
}

RunConfig run_config_of(const JobArguments& a, RunConfig config) {
  config.model.path = a.model;
  choose_rows(config, a);
  config.run.output = a.output;
  choose_method(config, a.method);
  if (!a.start_from.empty()) config.method.start_from = a.start_from;
  if (!config.method.start_from.empty()) config.method.options.clear();  // the adapter's hold
  if (a.shots >= 0) config.data.shots = a.shots;
  if (a.eval_rows >= 0) config.data.eval_rows = a.eval_rows;
  if (a.seed >= 0) config.data.seed = config.train.seed = a.seed;
  if (a.steps >= 0) config.train.steps = a.steps;
  if (a.batch_size >= 0) config.train.batch_size = a.batch_size;
  for (const auto& set : a.sets) set_run_field(config, set);
  if (!config.method.start_from.empty() && !config.method.options.empty())
    fail(Category::InvalidArgument, "method.options." + config.method.options.begin()->first,
         "{} brings its own options; leave this one out", config.method.start_from);
  return config;
}

nlohmann::json method_options(const RunConfig& config) {
  nlohmann::json options = nlohmann::json::object();
  for (const auto& [key, text] : config.method.options) {
    const auto value = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    option_place(options, key) = value.is_discarded() ? nlohmann::json(text) : value;
  }
  return options;
}

at::ScalarType compute_dtype(const RunConfig& config) {
  return compute_dtype(config.model.dtype == "auto" ? config.train.precision : config.model.dtype);
}

void tell_fallen_back(const Model& model) {
  const std::string text = model.parameters().fallen_back();
  if (!text.empty()) std::fprintf(stderr, "graft: note: %s\n", text.c_str());
}

void check_base(const Model& model, const Tokenizer& tokenizer, const std::string& path) {
  const std::string odd = refuse_other_tokenizer(model.config(), tokenizer, path);
  if (!odd.empty()) std::fprintf(stderr, "graft: note: %s\n", odd.c_str());
  tell_fallen_back(model);
}

Base open_base(const RunConfig& config, std::int64_t memory) {
  const auto start = Clock::now();
  if (config.run.threads > 0) at::set_num_threads(static_cast<int>(config.run.threads));
  if (config.model.path.empty()) fail(Category::InvalidArgument, "--model", "name a model folder or a .gguf file");
  Base base;
  base.tokenizer = open_tokenizer(config.model.path);
  base.model = load_model(config.model.path,
                          {compute_dtype(config), compute_device(), weight_format(config.model.weights), memory});
  check_base(*base.model, *base.tokenizer, config.model.path);
  base.load_seconds = seconds_since(start);
  return base;
}

Job open_job(const RunConfig& config, std::int64_t memory) {
  if (!config.task.mixture.empty()) {
    refuse_task_beside_mixture(config);
    for (const auto& [task, data] : config.task.mixture) templates_of(config, load_task(task));
    return open_mixture(config, open_base(config, memory), nullptr);
  }
  if (config.data.path.empty()) fail(Category::InvalidArgument, "--data", "name the file or folder with your examples");
  Task task = task_of(config);
  refuse_running_text(task);
  templates_of(config, task);  // a slip is told before the model is read
  const Base base = open_base(config, memory);
  return with_examples(job_on(config, base, std::move(task), config_beside_method(config, *base.model)));
}

Job open_job(const RunConfig& config, const Base& base, const Adapter* adapter) {
  if (!config.task.mixture.empty()) return open_mixture(config, base, adapter);
  ModelConfig texts =
      adapter == nullptr ? config_beside_method(config, *base.model) : config_beside(*base.model, adapter);
  return with_examples(job_on(config, base, task_of(config), std::move(texts)));
}

Job open_unlabelled(const RunConfig& config, const Base& base, Task task, const std::vector<Row>& rows,
                    const Adapter* adapter) {
  Job job = job_on(config, base, std::move(task), config_beside(*base.model, adapter));
  job.labels = job.task.labels;
  const auto templates = templates_of(config, job.task);
  for (const auto index : templates) job.templates.push_back({job.task.templates[index].name, {}, {}});
  std::vector<HeldOut> all;
  for (const auto& row : rows) {
    HeldOut& made = all.emplace_back();
    for (const auto index : templates) {
      made.examples.push_back(render(job.task, row, index, *job.tokenizer));
      if (job.task.generates()) made.examples.back().choices = {"?"};  // stands for the text, which nobody reads
    }
  }
  refuse_same_choices(all);
  for (HeldOut& made : all) {
    for (const Example& example : made.examples) made.tokens.push_back(tokenize_for(job, example));
    hold_out(job, std::move(made));
  }
  tell_cuts(job);
  return job;
}

std::filesystem::path kept_start(const RunConfig& config) {
  return std::filesystem::path(config.run.output) / "start";
}

std::filesystem::path start_of(const RunConfig& config) {
  const bool kept = !config.method.start_from.empty() && !config.run.output.empty() &&
                    RunFolder::has_begun(config.run.output) &&
                    std::filesystem::exists(kept_start(config) / "adapter_config.json");
  return kept ? kept_start(config) : std::filesystem::path(config.method.start_from);
}

RunConfig config_of_run(const std::filesystem::path& run) {
  const auto file = run / "config.yaml";
  if (!std::filesystem::exists(file)) {
    fail(Category::NotFound, run.string(), "holds no config.yaml; give the folder that graft tune --output named");
  }
  return parse_run_config(read_file(file), file.string());
}

std::filesystem::path adapter_of_run(const std::filesystem::path& run) {
  if (std::filesystem::exists(run / "adapter")) return run / "adapter";
  fail(Category::NotFound, run.string(),
       "holds no adapter: the run did not end (start graft tune again, it goes on), or its method writes none");
}

void refuse_unscorable(const Job& job) {
  objective_of(job.config, job.task);
  best_metric_of(job.config, job.task);
  if (job.held_out.empty()) {
    if (job.config.train.eval_every == 0) return;
    fail(Category::InvalidArgument, "train.eval_every",
         "there is nothing held out to evaluate on: every row trains; give --shots, data.held_out_share or a task with "
         "a "
         "validation split");
  }
  const auto labelled = [](const Example& example) { return example.label >= 0; };
  if (std::any_of(job.held_out.begin(), job.held_out.end(), labelled)) return;
  fail(Category::InvalidArgument, job.held_out.front().where,
       "no held-out row carries a label, nothing can be scored; name a split with labels in the task");
}

std::vector<TrainingExample> training_examples(const Job& job) {
  std::vector<TrainingExample> examples;
  for (const Example& e : job.train) {
    std::vector<std::string> choices = e.choices;
    for (auto& choice : choices) choice += e.continuation;
    examples.push_back({e.id, e.where, e.prompt, choices, e.label});
  }
  return examples;
}

}  // namespace graft
