// What models answered, kept by the content of what they read: nothing is scored twice.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace graft {

struct KeptScore {
  std::vector<double> sums;  ///< log-probability of every choice, summed over its tokens
  std::vector<bool> greedy;  ///< whether greedy decoding writes it; empty where that was not asked
  double seconds = 0;        ///< that scoring took, a share of its batch's
};

struct KeptText {
  std::string text;         ///< that the model wrote, valid UTF-8
  std::int64_t tokens = 0;  ///< of it
  double seconds = 0;       ///< that writing took, a share of its batch's
};

/// The scores and texts of one scorer, in one file that grows line by line: the first line says whose they are, each
/// other one holds an example. One process at a time, and one of its threads.
class ScoreStore {
 public:
  /// Opens or begins the file of `scorer`, which is everything the scores follow from beside the example; its content
  /// names the file. A last line that a killed process cut short is dropped. Throws Corruption (another line is
  /// damaged, or the file is not the scorer's: file and line), Io (another process has it open, too),
  /// ResourceExhausted.
  ScoreStore(const std::filesystem::path& folder, const nlohmann::json& scorer);
  ~ScoreStore();
  ScoreStore(const ScoreStore&) = delete;

  /// The file of a scorer, which need not be there.
  static std::filesystem::path file_of(const std::filesystem::path& folder, const nlohmann::json& scorer);

  const std::filesystem::path& file() const { return file_; }
  std::size_t size() const { return scores_.size(); }
  /// Nullptr where the example is not there. `key` is a hash of all that was read and scored.
  const KeptScore* find(const std::string& key) const;
  /// Appends with one write. A score that is not finite is not kept: it could not be read back. Throws Io,
  /// ResourceExhausted.
  void add(const std::vector<std::pair<std::string, KeptScore>>& scores);
  /// The same of texts; there `key` is a hash of all that a text follows from.
  const KeptText* find_text(const std::string& key) const;
  void add_texts(const std::vector<std::pair<std::string, KeptText>>& texts);

 private:
  void own();
  void read(const nlohmann::json& scorer);

  std::filesystem::path file_;
  std::unordered_map<std::string, KeptScore> scores_;
  std::unordered_map<std::string, KeptText> texts_;
  int descriptor_ = -1;
};

}  // namespace graft
