// What was answered, rightly or not, and what was written: predictions.jsonl of graft tune and of graft eval, read
// alike.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace graft {

struct WrittenAnswer {
  std::string output;  ///< as metrics compare it
  std::vector<std::string> references;
  std::vector<std::string> false_references = {};  ///< texts that are wrong; mostly none are told
};

/// A choice that was made, of which the right one is known.
struct ChosenAnswer {
  std::int64_t truth = 0, prediction = 0;
  std::vector<double> probabilities;  ///< of every choice; empty where they are not told
  std::vector<std::int64_t> truths;   ///< every right choice, where there are several
  std::vector<std::string> group;     ///< what the question has in common with those that belong to it
};

/// What one setting answered.
struct Answers {
  std::string task;     ///< empty: of graft tune, whose folders have one task and do not name it
  std::string setting;  ///< "before", "after"; "0-shot", "runs/rte (ia3)"
  /// Of each seed and template: by question, whether the answer is right. A question that stands there twice counts
  /// twice.
  std::vector<std::map<std::string, bool>> runs;
  /// By the same runs and questions: the texts. Without them where nothing was written; `runs` are without questions
  /// where only a text is told (graft tune).
  std::vector<std::map<std::string, WrittenAnswer>> texts;

  /// By the same runs and questions: the choices that were made, where the questions had choices.
  std::vector<std::map<std::string, ChosenAnswer>> choices;

  bool graded() const { return !runs.empty() && !runs.front().empty(); }
  bool written() const { return !texts.empty() && !texts.front().empty(); }
  bool chosen() const { return !choices.empty() && !choices.front().empty(); }
};

/// The answers in a run folder of graft tune or a folder of graft eval, or in their predictions.jsonl, in the order of
/// the file; rows without label are left out. Throws NotFound (no predictions there), Corruption (file and line).
std::vector<Answers> read_answers(const std::filesystem::path& path);

}  // namespace graft
