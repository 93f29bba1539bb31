#include "cli/core/eval_slices.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>

namespace graft {
namespace {

using Json = nlohmann::ordered_json;

void put_rare_together(std::vector<QuestionSlice>& slices) {
  if (slices.size() <= kToldValues) return;
  QuestionSlice rare{slices.front().field, "", static_cast<std::int64_t>(slices.size() - kToldValues), {}};
  for (std::size_t s = kToldValues; s < slices.size(); ++s)
    rare.questions.insert(rare.questions.end(), slices[s].questions.begin(), slices[s].questions.end());
  std::sort(rare.questions.begin(), rare.questions.end());
  slices.resize(kToldValues);
  slices.push_back(std::move(rare));
}

Json row_json(const EvaluatedTask& task, const EvaluatedSlice& slice, std::size_t r) {
  const EvaluatedSliceScore& score = slice.rows[r];
  Json json = {
      {"setting", task.rows[r].name},
      {"accuracy", {{"value", score.accuracy.value}, {"wilson_95", {score.accuracy.low, score.accuracy.high}}}}};
  if (score.metric)
    json[task.text_metric] = {{"value", score.metric->value},
                              {"bootstrap_95", {score.metric->low, score.metric->high}}};
  return json;
}

ReportScore score_of(const nlohmann::json& json, const char* interval) {
  return {json.at("value").get<double>(), json.at(interval).at(0).get<double>(), json.at(interval).at(1).get<double>()};
}

// The one metric beside accuracy, where there is one.
EvaluatedSliceScore row_from(const nlohmann::json& json) {
  EvaluatedSliceScore score{score_of(json.at("accuracy"), "wilson_95"), std::nullopt};
  for (const auto& [name, value] : json.items()) {
    if (name != "accuracy" && value.is_object()) score.metric = score_of(value, "bootstrap_95");
  }
  return score;
}

}  // namespace

std::vector<QuestionSlice> slices_of(const std::vector<std::string>& fields, const std::vector<Example>& questions) {
  std::vector<QuestionSlice> all;
  for (std::size_t f = 0; f < fields.size(); ++f) {
    std::map<std::string, std::vector<std::size_t>> by_value;
    for (std::size_t q = 0; q < questions.size(); ++q) by_value[questions[q].slices.at(f)].push_back(q);
    std::vector<QuestionSlice> slices;
    for (const auto& [value, places] : by_value) slices.push_back({fields[f], value, 0, places});
    std::stable_sort(slices.begin(), slices.end(), [](const QuestionSlice& a, const QuestionSlice& b) {
      return a.questions.size() > b.questions.size();
    });
    put_rare_together(slices);
    std::move(slices.begin(), slices.end(), std::back_inserter(all));
  }
  return all;
}

std::vector<QuestionSlice> slices_by_overlap(const EvalData& data) {
  std::vector<QuestionSlice> slices;
  if (data.task.rolls()) return slices;
  const auto count = static_cast<std::size_t>(data.count());
  for (const EvalOverlap& one : data.overlaps) {
    const std::vector<std::size_t>& dirty = one.overlap.dirty;
    if (dirty.empty() || dirty.size() == count) continue;
    const std::string field = fmt::format("{}-gram shared with {}", one.overlap.order, one.with);
    QuestionSlice clean{field, "no", 0, {}};
    for (std::size_t q = 0; q < count; ++q) {
      if (!std::binary_search(dirty.begin(), dirty.end(), q)) clean.questions.push_back(q);
    }
    slices.push_back(std::move(clean));
    slices.push_back({field, "yes", 0, dirty});
  }
  return slices;
}

std::vector<EvaluatedSlice> told_slices(const std::vector<QuestionSlice>& slices) {
  std::vector<EvaluatedSlice> told;
  for (const auto& slice : slices)
    told.push_back({slice.field, slice.value, slice.others, static_cast<std::int64_t>(slice.questions.size())});
  return told;
}

std::vector<EvaluatedSlice> template_parts(const EvalData& data) {
  std::vector<EvaluatedSlice> parts;
  if (data.templates.size() < 2 || data.task.rolls()) return parts;
  for (const auto index : data.templates)
    parts.push_back({"prompt template", data.task.templates[index].name, 0, data.count()});
  return parts;
}

void add_setting(const std::vector<EvaluatedSliceScore>& scores, std::vector<EvaluatedSlice>& slices) {
  for (std::size_t s = 0; s < scores.size(); ++s) slices[s].rows.push_back(scores[s]);
}

Json slices_json(const EvaluatedTask& task, const std::vector<EvaluatedSlice>& slices) {
  Json all = Json::array();
  for (const auto& slice : slices) {
    Json json = {
        {"field", slice.field}, {"value", slice.value}, {"questions", slice.examples}, {"rows", Json::array()}};
    if (slice.others > 0) json["other_values"] = slice.others;
    for (std::size_t r = 0; r < slice.rows.size(); ++r) json["rows"].push_back(row_json(task, slice, r));
    all.push_back(std::move(json));
  }
  return all;
}

std::vector<EvaluatedSlice> slices_from(const nlohmann::json& json) {
  std::vector<EvaluatedSlice> slices;
  for (const auto& one : json) {
    EvaluatedSlice slice{one.at("field").get<std::string>(),
                         one.at("value").get<std::string>(),
                         one.value("other_values", std::int64_t{0}),
                         one.at("questions").get<std::int64_t>(),
                         {}};
    for (const auto& row : one.at("rows")) slice.rows.push_back(row_from(row));
    slices.push_back(std::move(slice));
  }
  return slices;
}

}  // namespace graft
