// What was answered, rightly or not, and what was written: predictions.jsonl of graft tune and of graft eval, read
// alike.
#pragma once

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

  bool graded() const { return !runs.empty() && !runs.front().empty(); }
  bool written() const { return !texts.empty() && !texts.front().empty(); }
};

/// The answers in a run folder of graft tune or a folder of graft eval, or in their predictions.jsonl, in the order of
/// the file; rows without label are left out. Throws NotFound (no predictions there), Corruption (file and line).
std::vector<Answers> read_answers(const std::filesystem::path& path);

}  // namespace graft
