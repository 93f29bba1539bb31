// Which questions were answered rightly: predictions.jsonl of graft tune and of graft eval, read alike.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace graft {

/// What one setting answered.
struct Answers {
  std::string task;     ///< empty: of graft tune, whose folders have one task and do not name it
  std::string setting;  ///< "before", "after"; "0-shot", "runs/rte (ia3)"
  /// Of each seed and template: by question, whether the answer is right. A question that stands there twice counts
  /// twice.
  std::vector<std::map<std::string, bool>> runs;
};

/// The answers in a run folder of graft tune or a folder of graft eval, or in their predictions.jsonl, in the order of
/// the file; rows without label are left out. Throws NotFound (no predictions there), Corruption (file and line),
/// Unsupported (texts that graft tune wrote: they are neither right nor wrong).
std::vector<Answers> read_answers(const std::filesystem::path& path);

}  // namespace graft
