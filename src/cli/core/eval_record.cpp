#include "cli/core/eval_record.h"

#include <fmt/chrono.h>

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "base/build.h"
#include "base/file.h"
#include "report/runs.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

constexpr const char* kScoresFile = "scores.json";

const char* name_of(DemonstrationChoice choice) {
  return choice == DemonstrationChoice::Random ? "random" : choice == DemonstrationChoice::Fixed ? "fixed" : "bm25";
}

std::map<std::string, double> recorded_scores(const EvaluatedTask& task, const EvaluatedRow& row) {
  std::map<std::string, double> scores;
  if (task.graded) scores["accuracy"] = row.accuracy.value;
  for (std::size_t m = 0; m < row.metrics.size(); ++m) scores[task.metrics[m]] = row.metrics[m].value;
  return scores;
}

}  // namespace

nlohmann::ordered_json settings_json(const EvalSettings& settings, const RunConfig& config) {
  return {{"shots", settings.shots},
          {"demonstrations", name_of(settings.choice)},
          {"balanced", settings.balanced},
          {"demonstrations_file", settings.demonstrations_file},
          {"candidates", settings.candidates},
          {"seeds", settings.seeds},
          {"orders", settings.orders},
          {"calibrate", settings.contextual ? "contextual" : ""},
          {"seed", config.data.seed},
          {"instruction", settings.layout.instruction},
          {"separator", settings.layout.separator},
          {"slices", settings.slices},
          {"scorer", settings.scorer},
          {"eval_rows", config.data.eval_rows},
          {"max_prompt_tokens", config.data.max_prompt_tokens},
          {"generation",
           {{"max_new_tokens", config.generation.max_new_tokens},
            {"beams", config.generation.beams},
            {"length_penalty", config.generation.length_penalty},
            {"no_repeat_ngram", config.generation.no_repeat_ngram},
            {"early_stopping", config.generation.early_stopping}}}};
}

bool holds_evaluation(const fs::path& folder) {
  std::error_code ignored;
  // Folders of earlier versions held the scores themselves.
  return fs::exists(folder / kScoresFile, ignored) || fs::is_directory(folder / "scores", ignored);
}

void record_scores(const fs::path& home, const std::vector<std::unique_ptr<EvalScorer>>& scorers) {
  nlohmann::ordered_json json = {
      {"graft", GRAFT_VERSION}, {"commit", build_commit()}, {"files", nlohmann::ordered_json::array()}};
  for (const auto& scorer : scorers) json["files"].push_back(fs::absolute(scorer->store().file()).string());
  write_file(home / kScoresFile, json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

void record_evaluation(const fs::path& home, std::time_t started, const EvaluationReport& report) {
  const fs::path folder = fs::canonical(home);
  for (const auto& task : report.tasks) {
    for (const auto& row : task.rows) {
      const RunRecord run{fmt::format("{} {} {}", folder.string(), task.name, row.name),
                          folder.string(),
                          fmt::format("{:%FT%TZ}", fmt::gmtime(started)),
                          "done",
                          report.model,
                          task.name,
                          row.name,
                          0,
                          recorded_scores(task, row)};
      const std::string why = record_run(folder.parent_path() / "runs.db", run);
      if (why.empty()) continue;
      std::fprintf(stderr, "graft: note: %s\n", why.c_str());
      return;
    }
  }
}

}  // namespace graft
