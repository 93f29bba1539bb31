#include "cli/core/overlaps.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <utility>

#include "report/run_folder.h"
#include "report/run_lines.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> contents_of(const std::vector<Example>& examples, std::size_t count) {
  std::vector<std::string> texts;
  for (std::size_t i = 0; i < count; ++i) texts.push_back(examples[i].content);
  return texts;
}

struct TunedOn {
  std::vector<std::string> texts;
  std::set<std::string> ids;
};

// Of the run that the adapter lies in; none where it lies elsewhere, whatever lies beside it.
TunedOn tuned_on(const EvalAdapter& adapter) {
  fs::path folder = fs::path(adapter.path).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();  // "adapter/"
  TunedOn tuned;
  if (!RunFolder::is_run(folder.parent_path())) return tuned;
  for_each_line(folder.parent_path() / "train.jsonl", [&](const nlohmann::json& line) {
    std::string text = line.at("prompt").get<std::string>();
    for (const auto& choice : line.at("choices")) text += " " + choice.get<std::string>();
    tuned.texts.push_back(std::move(text));
    const std::string id = line.at("id").get<std::string>();
    tuned.ids.insert(id.substr(id.rfind('/') + 1));  // of a mixture "rte/0123…"
  });
  return tuned;
}

// What trained, as texts. Between the fields of a prompt stand the words of a template, so that a row of short fields
// shares no n-gram with itself: the rows that are asked and trained are told by their ids, and by what they hold.
std::vector<std::string> texts_beside(const std::vector<Example>& questions, TunedOn tuned) {
  for (const auto& question : questions) {
    if (tuned.ids.count(question.id) > 0) tuned.texts.push_back(question.content);
  }
  return tuned.texts;
}

bool trained_on_candidates(const EvalData& data, const EvalAdapter& adapter) {
  const auto& manifest = adapter.loaded.manifest;
  return manifest.is_object() && manifest.contains("data_hash") && manifest.at("data_hash") == data.candidates_hash;
}

}  // namespace

std::optional<Overlap> overlap_of(const Job& job) {
  if (job.train.empty() || job.held_out.empty()) return std::nullopt;
  // The same rows come again in every template.
  const auto tuned = contents_of(job.train, job.train.size() / job.templates.size());
  return overlap_of(tuned, contents_of(job.held_out, job.held_out.size()));
}

void note_overlaps(EvalData& data, const std::vector<const EvalAdapter*>& adapters) {
  const auto& questions = data.questions.front();
  const auto asked = contents_of(questions, questions.size());
  const auto note = [&](const std::string& with, const std::string& whose, const std::vector<std::string>& texts) {
    if (texts.empty()) return;
    data.overlaps.push_back({with, overlap_of(texts, asked)});
    data.notes.push_back(overlap_text(data.overlaps.back().overlap, "questions", whose));
  };
  std::vector<std::string> candidates;
  for (const auto& row : data.candidates) candidates.push_back(row_text(data.task, row));
  note("candidates for demonstrations", "the candidates for demonstrations", candidates);
  for (const EvalAdapter* adapter : adapters) {
    if (!candidates.empty() && trained_on_candidates(data, *adapter)) continue;
    TunedOn tuned = tuned_on(*adapter);
    if (tuned.texts.empty()) {
      data.notes.push_back(fmt::format(
          "not checked: the examples that {} was tuned on are not at hand; a run folder has them in train.jsonl",
          adapter->name));
      continue;
    }
    note(adapter->name, "the examples that " + adapter->name + " was tuned on",
         texts_beside(questions, std::move(tuned)));
  }
}

}  // namespace graft
