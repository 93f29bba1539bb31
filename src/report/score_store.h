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
/// other one holds an example. Any number of processes may have it open and add to it, each line whole; one thread of
/// each.
class ScoreStore {
 public:
  /// Opens or begins the file of `scorer`, which is everything the scores follow from beside the example and the
  /// program, and `build`, which tells programs apart that may compute otherwise; both name the file. It counts as used
  /// now, as drop_old_scores() reads it. A last line that a killed process cut short is dropped. Throws Corruption
  /// (another line is damaged, or the file is not the scorer's: file and line), Io, ResourceExhausted.
  ScoreStore(const std::filesystem::path& folder, const nlohmann::json& scorer, const nlohmann::json& build);
  ~ScoreStore();
  ScoreStore(const ScoreStore&) = delete;

  /// The file of a scorer, which need not be there.
  static std::filesystem::path file_of(const std::filesystem::path& folder, const nlohmann::json& scorer,
                                       const nlohmann::json& build);

  const std::filesystem::path& file() const { return file_; }
  /// Of scores.
  std::size_t size() const { return scores_.size(); }
  bool empty() const { return scores_.empty() && texts_.empty(); }
  /// Files of the same scorer by other builds, which are not read.
  std::int64_t other_builds() const;

  /// Reads what other processes have added since. Throws Corruption, Io.
  void refresh();
  /// Nullptr where the example is not there. `key` is a hash of all that was read and scored.
  const KeptScore* find(const std::string& key) const;
  /// Appends with one write. A score that is not finite is not kept: it could not be read back. Throws Corruption, Io,
  /// ResourceExhausted.
  void add(const std::vector<std::pair<std::string, KeptScore>>& scores);
  /// The same of texts; there `key` is a hash of all that a text follows from.
  const KeptText* find_text(const std::string& key) const;
  void add_texts(const std::vector<std::pair<std::string, KeptText>>& texts);

 private:
  void begin(const nlohmann::json& scorer, const nlohmann::json& build);
  void read_new();
  void read_line(const std::string& line);
  void append(const std::string& lines);

  std::filesystem::path file_;
  std::unordered_map<std::string, KeptScore> scores_;
  std::unordered_map<std::string, KeptText> texts_;
  int descriptor_ = -1;
  std::int64_t read_to_ = 0;  // byte of the file behind the last line read
  std::int64_t lines_ = 0;
  std::string head_;  // the first line
};

/// Where scores of all runs of this user are kept: graft/scores in user_cache_folder(). Empty where that is
/// empty or no absolute path.
std::filesystem::path user_scores();

/// Removes the files of `folder` that were used longest ago until the others take at most `most_bytes`; never one that
/// was used within a day. Returns the bytes that it removed. What cannot be removed stays, without an error.
std::int64_t drop_old_scores(const std::filesystem::path& folder, std::int64_t most_bytes);

}  // namespace graft
