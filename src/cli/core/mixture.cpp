#include "cli/core/mixture.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <numeric>

#include "base/error.h"
#include "base/hash.h"
#include "base/rng.h"

namespace graft {
namespace {

// Not so "rte=FILE".
bool takes_data(const std::string& given) {
  return std::filesystem::exists(given) || given.find('=') == std::string::npos;
}

// The configuration of one task alone.
RunConfig part_of(RunConfig config, const std::string& task, const std::string& data) {
  config.task.mixture.clear();
  config.task.name = task;
  config.data.path = data;
  return config;
}

// Which of a task's training examples take part.
std::vector<std::size_t> drawn(const RunConfig& config, std::size_t count, std::size_t task) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto cap = static_cast<std::size_t>(config.data.mixture_cap);
  if (cap == 0 || cap >= count) return order;
  Rng rng(static_cast<std::uint64_t>(config.data.seed), task);
  rng.shuffle(order);
  order.resize(cap);
  std::sort(order.begin(), order.end());
  return order;
}

class Mixture {
 public:
  Mixture(const RunConfig& config, const Base& base) {
    job_.config = config;
    job_.model = base.model;
    job_.tokenizer = base.tokenizer;
    job_.load_seconds = base.load_seconds;
    job_.task.metrics = {"accuracy"};
    job_.task.normalisation.clear();
    job_.templates.push_back({"mixture", {}, {}});
  }

  void add(Job part) {
    refuse(part);
    // Two tasks may be made of the same rows.
    for (auto* examples : {&part.train, &part.held_out})
      for (auto& example : *examples) example.id = part.task.name + "/" + example.id;
    job_.load_seconds += part.load_seconds;
    const auto chosen = drawn(job_.config, part.train.size(), names_.size());
    for (const auto i : chosen) {
      job_.train.push_back(std::move(part.train[i]));
      job_.train_tokens.push_back(std::move(part.train_tokens[i]));
    }
    std::fprintf(stderr, "mixture: %s, %zu of %zu training examples\n", part.task.name.c_str(), chosen.size(),
                 part.train.size());
    hash_.update(part.data_hash);
    names_.push_back(part.task.name);
    job_.task_texts += (job_.task_texts.empty() ? "" : "\n---\n") + part.task.text;
    hold_out(std::move(part));
  }

  Job finish() {
    shuffle();
    job_.task.name = fmt::format("{}", fmt::join(names_, "+"));
    if (job_.task.normalisation.empty()) job_.task.normalisation = Task().normalisation;
    job_.data_hash = hash_.finish();
    std::size_t most = 0;
    for (const auto* examples : {&job_.train, &job_.held_out})
      for (const auto& example : *examples) most = std::max(most, example.choices.size());
    for (std::size_t c = 0; c < most; ++c) job_.labels.push_back(fmt::format("choice {}", c));
    return std::move(job_);
  }

 private:
  // A method that looks at the first examples (fish) sees every task.
  void shuffle() {
    std::vector<std::size_t> order(job_.train.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    Rng(static_cast<std::uint64_t>(job_.config.data.seed)).shuffle(order);
    std::vector<Example> train;
    std::vector<ChoiceTokens> tokens;
    for (const auto i : order) {
      train.push_back(std::move(job_.train[i]));
      tokens.push_back(std::move(job_.train_tokens[i]));
    }
    job_.train = std::move(train);
    job_.train_tokens = std::move(tokens);
  }

  void refuse(const Job& part) {
    if (std::find(names_.begin(), names_.end(), part.task.name) != names_.end())
      fail(Category::InvalidArgument, "task.mixture", "two of its tasks are called {}; change the name in one",
           part.task.name);
    if (part.task.generates()) {
      if (job_.config.objective.name == "lm") return;
      fail(Category::InvalidArgument, "objective.name",
           "the task {} has a text to write, and {} compares choices; set objective.name=lm for this mixture",
           part.task.name, job_.config.objective.name == "auto" ? "tfew" : job_.config.objective.name);
    }
    std::string& normalisation = job_.task.normalisation;
    if (normalisation.empty()) normalisation = part.task.normalisation;
    if (normalisation == part.task.normalisation) return;
    fail(Category::InvalidArgument, "task.mixture",
         "{} is scored with normalisation {}, a task before it with {}; they have no score in common", part.task.name,
         part.task.normalisation, normalisation);
  }

  void hold_out(Job part) {
    if (part.task.generates()) return;
    Job::Templated& all = job_.templates.front();
    Job::Templated& own = part.templates.front();
    std::move(own.held_out.begin(), own.held_out.end(), std::back_inserter(all.held_out));
    std::move(own.neutral.begin(), own.neutral.end(), std::back_inserter(all.neutral));
    job_.parts.push_back({part.task.name, job_.held_out.size(), part.held_out.size()});
    std::move(part.held_out.begin(), part.held_out.end(), std::back_inserter(job_.held_out));
  }

  Job job_;
  std::vector<std::string> names_;
  Sha256 hash_;
};

}  // namespace

std::string short_task_name(const std::string& task) {
  return std::filesystem::path(task).stem().string();
}

std::string with_task(std::string path, const std::string& task) {
  const std::string place = "{task}";
  for (std::size_t at = path.find(place); at != std::string::npos; at = path.find(place, at + task.size()))
    path.replace(at, place.size(), task);
  return path;
}

std::vector<TaskData> task_data(const std::vector<std::string>& tasks, const std::string& data) {
  if (tasks.empty()) return {{"", data}};
  std::vector<TaskData> result;
  for (const auto& given : tasks) {
    const std::size_t equals = takes_data(given) ? std::string::npos : given.find('=');
    const std::string name = given.substr(0, equals);
    const std::string own =
        equals == std::string::npos ? with_task(data, short_task_name(name)) : given.substr(equals + 1);
    if (own.empty())
      fail(Category::InvalidArgument, "--task " + given, "has no data: write --task {}=FILE, or --data", name);
    if (std::any_of(result.begin(), result.end(), [&](const TaskData& one) { return one.task == name; }))
      fail(Category::InvalidArgument, "--task " + given, "{} is named twice", name);
    result.push_back({name, own});
  }
  if (!data.empty() && std::none_of(tasks.begin(), tasks.end(), [](const auto& given) { return takes_data(given); }))
    fail(Category::InvalidArgument, "--data", "every task names its own data; leave --data out");
  if (result.size() > 1 && data.find("{task}") == std::string::npos &&
      std::all_of(result.begin(), result.end(), [&](const TaskData& task) { return task.data == data; }))
    fail(Category::InvalidArgument, "--data", "is one place for {} tasks; write {{task}} in it, or --task NAME=FILE",
         result.size());
  return result;
}

Job open_mixture(const RunConfig& config, const Base& base, const Adapter* adapter) {
  Base shared = base;
  shared.load_seconds = 0;  // the mixture counts it, once
  Mixture mixture(config, base);
  for (const auto& [task, data] : config.task.mixture)
    mixture.add(open_job(part_of(config, task, data), shared, adapter));
  return mixture.finish();
}

}  // namespace graft
