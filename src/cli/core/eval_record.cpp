#include "cli/core/eval_record.h"

#include <fmt/chrono.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "base/build.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json_text.h"
#include "report/run_folder.h"
#include "report/runs.h"
#include "report/score_store.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

constexpr const char* kScoresFile = "scores.json";
constexpr std::int64_t kMostScores = std::int64_t{4} << 30;  // bytes of the user's folder

const char* name_of(DemonstrationChoice choice) {
  return choice == DemonstrationChoice::Random ? "random" : choice == DemonstrationChoice::Fixed ? "fixed" : "bm25";
}

std::map<std::string, double> recorded_scores(const EvaluatedTask& task, const EvaluatedRow& row) {
  std::map<std::string, double> scores;
  if (task.graded) scores["accuracy"] = row.accuracy.value;
  for (std::size_t m = 0; m < row.metrics.size(); ++m) scores[task.metrics[m]] = row.metrics[m].value;
  return scores;
}

// Kernels may have changed.
void note_other_builds(const std::vector<std::unique_ptr<EvalScorer>>& scorers) {
  const auto count = std::count_if(scorers.begin(), scorers.end(), [](const std::unique_ptr<EvalScorer>& scorer) {
    return scorer->store().empty() && scorer->store().other_builds() > 0;
  });
  if (count == 0) return;
  std::fprintf(
      stderr, "graft: note: %s holds scores by another build of graft than this one, %s, which does not take them up\n",
      scorers.front()->store().file().parent_path().c_str(), build_version().c_str());
}

// Whether files can be made in the folder, which need not be there yet.
bool takes_scores(fs::path folder) {
  std::error_code ignored;
  while (!fs::exists(folder, ignored) && folder.has_relative_path()) folder = folder.parent_path();
  return fs::is_directory(folder, ignored) && ::access(folder.c_str(), W_OK | X_OK) == 0;
}

}  // namespace

nlohmann::ordered_json settings_json(const EvalSettings& settings, const RunConfig& config) {
  return {{"shots", settings.shots},
          {"demonstrations", name_of(settings.choice)},
          {"balanced", settings.balanced},
          {"shots_for_adapters", settings.shots_for_adapters},
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
          {"train_split", config.data.train_split},
          {"held_out_split", config.data.held_out_split},
          {"max_prompt_tokens", config.data.max_prompt_tokens},
          {"generation",
           {{"max_new_tokens", config.generation.max_new_tokens},
            {"beams", config.generation.beams},
            {"length_penalty", config.generation.length_penalty},
            {"no_repeat_ngram", config.generation.no_repeat_ngram},
            {"early_stopping", config.generation.early_stopping},
            {"speculate", settings.decoding.speculate},
            {"kv_cache", settings.decoding.kv_cache}}}};
}

bool holds_evaluation(const fs::path& folder) {
  std::error_code ignored;
  // Folders of earlier versions held the scores themselves.
  return fs::exists(folder / kScoresFile, ignored) || fs::is_directory(folder / "scores", ignored);
}

void refuse_other_folder(const fs::path& home, const std::set<std::string>& tasks) {
  if (!holds_evaluation(home)) return refuse_occupied(home);
  const nlohmann::json results = read_results(home);
  if (!results.is_object() || !results.contains("tasks")) return;
  for (const auto& before : results.at("tasks")) {
    const std::string name = before.value("task", "");
    if (tasks.count(name) == 0)
      fail(Category::InvalidArgument, home.string(),
           "holds the results of task {}, which this command would replace; name that task too (what was scored is not "
           "scored again), or another --output",
           name);
  }
}

fs::path score_folder(const std::string& asked, const fs::path& output) {
  if (!asked.empty()) return asked;
  const fs::path shared = user_scores(), own = output / "scores";
  if (shared.empty()) return own;
  if (takes_scores(shared)) return shared;
  std::fprintf(stderr,
               "graft: note: %s cannot be written to, so scores are kept in %s; --scores names another folder\n",
               shared.c_str(), own.c_str());
  return own;
}

void clear_user_scores() {
  if (const fs::path shared = user_scores(); !shared.empty()) drop_old_scores(shared, kMostScores);
}

void record_scores(const fs::path& home, const std::vector<std::unique_ptr<EvalScorer>>& scorers) {
  note_other_builds(scorers);
  nlohmann::ordered_json json = {
      {"graft", GRAFT_VERSION}, {"commit", build_commit()}, {"files", nlohmann::ordered_json::array()}};
  for (const auto& scorer : scorers) json["files"].push_back(fs::absolute(scorer->store().file()).string());
  write_file(home / kScoresFile, json_text(json, 2) + "\n");
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
