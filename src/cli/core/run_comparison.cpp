#include "cli/core/run_comparison.h"

#include <algorithm>
#include <optional>
#include <system_error>

#include "base/error.h"
#include "base/suggest.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using Pair = std::pair<const Answers*, const Answers*>;

// 1 where a question is answered rightly, a list a run.
std::vector<std::vector<std::int64_t>> right_answers(const Answers& answers,
                                                     const std::vector<std::string>& questions) {
  std::vector<std::vector<std::int64_t>> runs;
  for (const auto& run : answers.runs) {
    runs.emplace_back();
    for (const auto& question : questions) runs.back().push_back(run.at(question) ? 1 : 0);
  }
  return runs;
}

Runs views_of(const std::vector<std::vector<std::int64_t>>& lists) {
  return Runs(lists.begin(), lists.end());
}

std::vector<std::uint8_t> first_run(const std::vector<std::vector<std::int64_t>>& lists) {
  return std::vector<std::uint8_t>(lists.front().begin(), lists.front().end());
}

double mean_of(const std::vector<std::vector<std::int64_t>>& lists) {
  std::int64_t right = 0, all = 0;
  for (const auto& list : lists) {
    right += std::count(list.begin(), list.end(), 1);
    all += static_cast<std::int64_t>(list.size());
  }
  return static_cast<double>(right) / static_cast<double>(all);
}

bool in_every_run(const Answers& answers, const std::string& question) {
  return std::all_of(answers.runs.begin(), answers.runs.end(),
                     [&](const auto& run) { return run.count(question) > 0; });
}

// Nothing without a question in common.
std::optional<ComparedAnswers> compared(const Answers& first, const Answers& second) {
  std::vector<std::string> questions;
  for (const auto& [question, right] : first.runs.front()) {
    if (in_every_run(first, question) && in_every_run(second, question)) questions.push_back(question);
  }
  if (questions.empty()) return std::nullopt;
  ComparedAnswers result;
  result.task = first.task.empty() ? second.task : first.task;
  result.first = first.setting;
  result.second = second.setting;
  result.questions = static_cast<std::int64_t>(questions.size());
  result.others =
      static_cast<std::int64_t>(first.runs.front().size() + second.runs.front().size()) - 2 * result.questions;
  const auto a = right_answers(first, questions), b = right_answers(second, questions);
  result.first_accuracy = mean_of(a);
  result.second_accuracy = mean_of(b);
  const std::vector<std::int64_t> truth(questions.size(), 1);
  result.difference = paired_bootstrap_runs("accuracy", truth, views_of(a), views_of(b), 2);
  result.mcnemar = mcnemar(first_run(a), first_run(b));
  return result;
}

bool same_task(const Answers& a, const Answers& b) {
  return a.task.empty() || b.task.empty() || a.task == b.task;
}

bool is_first(const Answers& one, const std::vector<Answers>& all) {
  const auto found = std::find_if(all.begin(), all.end(), [&](const Answers& other) { return other.task == one.task; });
  return &*found == &one;
}

bool is_last(const Answers& one, const std::vector<Answers>& all) {
  const auto found =
      std::find_if(all.rbegin(), all.rend(), [&](const Answers& other) { return other.task == one.task; });
  return &*found == &one;
}

template <typename Wanted>
std::vector<Pair> pairs_of(const std::vector<Answers>& first, const std::vector<Answers>& second, Wanted wanted) {
  std::vector<Pair> pairs;
  for (const auto& a : first) {
    for (const auto& b : second) {
      if (same_task(a, b) && wanted(a, b)) pairs.emplace_back(&a, &b);
    }
  }
  return pairs;
}

void refuse_unknown(const std::string& setting, const std::vector<Answers>& answers, const fs::path& folder) {
  std::vector<std::string> known;
  for (const auto& one : answers) {
    if (one.setting == setting) return;
    if (std::find(known.begin(), known.end(), one.setting) == known.end()) known.push_back(one.setting);
  }
  fail(Category::InvalidArgument, "--setting", "{} has no '{}'{}", folder.string(), setting,
       did_you_mean(setting, known));
}

}  // namespace

std::vector<ComparedAnswers> compare_answers(const fs::path& first, const fs::path& second,
                                             const std::vector<std::string>& settings) {
  if (settings.size() > 2)
    fail(Category::InvalidArgument, "--setting", "two settings are compared, not {}", settings.size());
  const auto a = read_answers(first), b = read_answers(second);
  std::vector<Pair> pairs;
  if (!settings.empty()) {
    refuse_unknown(settings.front(), a, first);
    refuse_unknown(settings.back(), b, second);
    pairs = pairs_of(a, b, [&](const Answers& x, const Answers& y) {
      return x.setting == settings.front() && y.setting == settings.back();
    });
  } else if (std::error_code ignored; first == second || fs::equivalent(first, second, ignored)) {
    pairs = pairs_of(a, b, [&](const Answers& x, const Answers& y) {
      return x.task == y.task && is_first(x, a) && !is_first(y, b);
    });
  } else {
    pairs = pairs_of(a, b, [](const Answers& x, const Answers& y) { return x.setting == y.setting; });
    if (pairs.empty())
      pairs = pairs_of(a, b, [&](const Answers& x, const Answers& y) { return is_last(x, a) && is_last(y, b); });
  }
  std::vector<ComparedAnswers> results;
  for (const auto& pair : pairs) {
    if (auto result = compared(*pair.first, *pair.second)) results.push_back(std::move(*result));
  }
  if (results.empty())
    fail(Category::InvalidArgument, second.string(),
         "has no question in common with {}; compare runs on the same task and held-out rows", first.string());
  return results;
}

}  // namespace graft
