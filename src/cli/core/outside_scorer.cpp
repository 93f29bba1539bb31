#include "cli/core/outside_scorer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/json_text.h"
#include "base/progress.h"
#include "base/shell_command.h"
#include "report/markup.h"

namespace graft {
namespace {

using Json = nlohmann::ordered_json;
using Numbers = std::map<std::string, double>;

constexpr const char* kOption = "--scorer";
constexpr std::size_t kShown = 80;        // characters of an answer in a message
constexpr std::size_t kLongestName = 64;  // of a number

std::string line_of(const EvalData& data, const EvalRow& row, const EvalPass& pass, std::size_t q) {
  const Example& question = data.questions[pass.place][q];
  Json json = {
      {"task", data.task.name},         {"setting", row.name},       {"seed", pass.seed},
      {"template", pass.template_name}, {"order", pass.order},       {"id", question.id},
      {"prompt", question.prompt},      {"output", pass.outputs[q]}, {"references", data.references(pass.place, q)}};
  if (!question.false_references.empty()) json["false_references"] = question.false_references;
  return json_text(json) + "\n";
}

void check_name(const std::string& name, const EvalData& data, std::size_t line) {
  const bool plain = std::none_of(name.begin(), name.end(), [](unsigned char c) { return std::iscntrl(c) != 0; });
  if (name.empty() || name.size() > kLongestName || !plain)
    fail(Category::InvalidArgument, kOption,
         "answer {} names a number {}; a name has 1 to {} bytes, no control characters among them", line,
         json_text(nlohmann::json(excerpt(name, kShown))), kLongestName);
  if (std::find(data.metrics.begin(), data.metrics.end(), name) != data.metrics.end())
    fail(Category::InvalidArgument, kOption,
         "answer {} names a number '{}', as a metric of the table is; name it otherwise", line, name);
}

Numbers numbers_of(const std::string& answer, const EvalData& data, std::size_t line) {
  const auto json = nlohmann::json::parse(answer, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.empty())
    fail(Category::InvalidArgument, kOption, "answer {} is '{}', not a JSON object like {{\"score\": 0.5}}", line,
         excerpt(answer, kShown));
  Numbers numbers;
  for (const auto& [name, value] : json.items()) {
    check_name(name, data, line);
    const double number = value.is_number() ? value.get<double>() : std::nan("");
    if (!std::isfinite(number))
      fail(Category::InvalidArgument, kOption, "answer {}: '{}' is no number: {}", line, name, excerpt(answer, kShown));
    numbers[name] = number;
  }
  return numbers;
}

void refuse_other_names(const Numbers& first, const Numbers& here, std::size_t line) {
  const bool same = std::equal(first.begin(), first.end(), here.begin(), here.end(),
                               [](const auto& a, const auto& b) { return a.first == b.first; });
  if (same) return;
  fail(Category::InvalidArgument, kOption,
       "answer {} has other names of numbers than answer 1 ('{}' there, '{}' here); name the same ones in all", line,
       first.begin()->first, here.begin()->first);
}

std::vector<Numbers> answers_to(const std::string& texts, std::size_t count, const EvalSettings& settings,
                                const EvalData& data) {
  Progress progress("score", static_cast<std::int64_t>(count));
  const auto lines =
      lines_through({settings.scorer, kOption, settings.scorer_patience}, texts, count,
                    [&](std::size_t done) { progress.update(static_cast<std::int64_t>(std::min(done, count))); });
  progress.finish();
  if (lines.size() > count)
    fail(Category::InvalidArgument, kOption,
         "the command answers the {} texts of task {} with more lines than that; it must answer each with one", count,
         data.task.name);
  std::vector<Numbers> answers;
  for (const auto& line : lines) {
    answers.push_back(numbers_of(line, data, answers.size() + 1));
    refuse_other_names(answers.front(), answers.back(), answers.size());
  }
  if (lines.size() < count)
    fail(Category::InvalidArgument, kOption,
         "the command answers the {} texts of task {} with {} lines; it must answer each with one", count,
         data.task.name, lines.size());
  return answers;
}

}  // namespace

void judge_texts(const EvalSettings& settings, const EvalData& data, std::vector<EvalRow>& rows) {
  std::string texts;
  std::size_t count = 0;
  for (const auto& row : rows) {
    for (const auto& pass : row.passes) {
      for (std::size_t q = 0; q < pass.texts.size(); ++q) texts += line_of(data, row, pass, q);
      count += pass.texts.size();
    }
  }
  const auto answers = answers_to(texts, count, settings, data);
  std::size_t at = 0;
  for (auto& row : rows) {
    for (auto& pass : row.passes) {
      for (std::size_t q = 0; q < pass.texts.size(); ++q, ++at) {
        for (const auto& [name, number] : answers[at]) pass.judged[name].push_back(number);
      }
    }
  }
}

}  // namespace graft
