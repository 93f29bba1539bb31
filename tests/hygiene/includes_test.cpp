// Holds what no compiler checks: who may include whom, that rooms stay small, and that no machine's path is committed.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

const fs::path kRoot = GRAFT_SOURCE_DIR;
constexpr std::size_t kLongestFile = 450;

// A file may include from folders of a lower rank and from its own folder. docs/design.md names the order.
const std::map<std::string, int> kRanks = {{"base", 0},    {"checkpoint", 1}, {"config", 2},        {"text", 3},
                                           {"nn", 4},      {"arch", 5},       {"adapters", 6},      {"data", 7},
                                           {"convert", 7}, {"generate", 8},   {"eval", 9},          {"objectives", 10},
                                           {"train", 11},  {"statistics", 4}, {"report", 1},        {"cost", 3},
                                           {"corpus", 8},  {"cli", 100},      {"parquet_module", 8}};

// Folders that stand on a few others only, whatever their rank.
const std::map<std::string, std::set<std::string>> kNarrow = {
    {"statistics", {"base", "text"}},
    {"report", {"base"}},
    {"corpus", {"base", "text", "data", "statistics", "report"}}};

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

bool is_source(const fs::path& path) {
  return path.extension() == ".h" || path.extension() == ".cpp";
}

std::vector<fs::path> sources_below(const fs::path& folder) {
  std::vector<fs::path> found;
  if (!fs::exists(folder)) return found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() && is_source(entry.path())) found.push_back(entry.path());
  }
  return found;
}

std::vector<std::string> includes_of(const std::string& text) {
  static const std::regex pattern(R"(^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"])", std::regex::multiline);
  std::vector<std::string> found;
  for (auto it = std::sregex_iterator(text.begin(), text.end(), pattern); it != std::sregex_iterator(); ++it) {
    found.push_back((*it)[1]);
  }
  return found;
}

// Why a file of `from` may not include `header`; nothing where it may.
std::optional<std::string> complaint(const std::string& from, const std::string& header) {
  if (header == "torch/torch.h") return "torch/torch.h pulls in all of LibTorch: include the ATen header that is meant";
  const auto slash = header.find('/');
  if (slash == std::string::npos) return std::nullopt;
  const std::string to = header.substr(0, slash);
  const auto target = kRanks.find(to);
  if (target == kRanks.end() || to == from) return std::nullopt;
  const auto narrow = kNarrow.find(from);
  if (narrow != kNarrow.end() && narrow->second.count(to) == 0) return from + " may not include from " + to;
  if (target->second >= kRanks.at(from)) return from + " stands below or beside " + to + " and may not include from it";
  return std::nullopt;
}

// The folders that are built without LibTorch, from the list that CMake builds them by.
std::set<std::string> core_folders() {
  static const std::regex list(R"(set\(GRAFT_CORE_FOLDERS ([^)]*)\))");
  const std::string cmake = read(kRoot / "cmake" / "sources.cmake");
  std::set<std::string> folders;
  std::smatch found;
  if (!std::regex_search(cmake, found, list)) return folders;
  std::istringstream words(found[1].str());
  for (std::string word; words >> word;) folders.insert(word);
  return folders;
}

// A header of LibTorch's, or of graft's outside of `core`, which may include one.
bool may_need_libtorch(const std::string& header, const std::set<std::string>& core) {
  const std::string folder = header.substr(0, header.find('/'));
  static const std::set<std::string> kLibTorch = {"torch", "ATen", "c10", "caffe2"};
  return kLibTorch.count(folder) > 0 || (kRanks.count(folder) > 0 && core.count(folder) == 0);
}

std::size_t lines_of(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + (!text.empty() && text.back() != '\n');
}

// What a person wrote in this repository: everything but build outputs, environments, runs and generated goldens.
std::vector<fs::path> committed_files() {
  static const std::set<std::string> skipped = {".git", ".deps", ".venv", "build", "runs", "data", "__pycache__"};
  std::vector<fs::path> found;
  auto it = fs::recursive_directory_iterator(kRoot);
  for (; it != fs::recursive_directory_iterator(); ++it) {
    const bool top_or_generated =
        it.depth() == 0 || it->path().filename() == "__pycache__" || it->path() == kRoot / "tests" / "golden" / "data";
    if (it->is_directory() && top_or_generated && skipped.count(it->path().filename().string()) > 0) {
      it.disable_recursion_pending();
    } else if (it->is_regular_file() && it->path().filename() != ".git") {  // a worktree's .git is a file
      found.push_back(it->path());
    }
  }
  return found;
}

TEST(Hygiene, FilesIncludeOnlyFromLowerRanks) {
  std::size_t read_files = 0;
  for (const auto& path : sources_below(kRoot / "src")) {
    const std::string folder = fs::relative(path, kRoot / "src").begin()->string();
    ASSERT_TRUE(kRanks.count(folder) > 0) << "src/" << folder << " has no rank: give it one here and in docs/design.md";
    for (const auto& header : includes_of(read(path))) {
      const auto why = complaint(folder, header);
      EXPECT_FALSE(why.has_value()) << path << " includes " << header << ": " << *why;
    }
    ++read_files;
  }
  EXPECT_GT(read_files, 5u);
}

TEST(Hygiene, CoreNeedsNoLibTorch) {
  const auto core = core_folders();
  EXPECT_GE(core.size(), 9u) << "cmake/sources.cmake lists them as GRAFT_CORE_FOLDERS";
  for (const auto& folder : core) {
    const auto files = sources_below(kRoot / "src" / folder);
    EXPECT_GT(files.size(), 2u) << "src/" << folder;
    for (const auto& path : files) {
      for (const auto& header : includes_of(read(path))) {
        EXPECT_FALSE(may_need_libtorch(header, core)) << path << " includes " << header;
      }
    }
  }
}

TEST(Hygiene, TheRulesCatchAnOffender) {
  EXPECT_TRUE(complaint("base", "checkpoint/source.h").has_value());
  EXPECT_TRUE(complaint("data", "convert/merge.h").has_value());
  EXPECT_TRUE(complaint("report", "checkpoint/source.h").has_value());
  EXPECT_TRUE(complaint("statistics", "config/run_config.h").has_value());
  EXPECT_FALSE(complaint("statistics", "text/unicode.h").has_value());
  EXPECT_TRUE(complaint("nn", "torch/torch.h").has_value());
  EXPECT_FALSE(complaint("text", "base/error.h").has_value());
  EXPECT_FALSE(complaint("text", "text/tokenizer.h").has_value());
  EXPECT_FALSE(complaint("cli", "train/loop.h").has_value());
  EXPECT_TRUE(may_need_libtorch("ATen/core/Tensor.h", {"base", "text"}));
  EXPECT_TRUE(may_need_libtorch("nn/linear.h", {"base", "text"}));
  EXPECT_FALSE(may_need_libtorch("text/unicode.h", {"base", "text"}));
  EXPECT_FALSE(may_need_libtorch("sys/stat.h", {"base", "text"}));
  EXPECT_EQ(includes_of("#include <vector>\n  # include \"base/file.h\"\n// #include \"no.h\"\n"),
            (std::vector<std::string>{"vector", "base/file.h"}));
  EXPECT_EQ(lines_of("a\nb"), 2u);
}

TEST(Hygiene, NoFileIsLongerThanARoom) {
  for (const auto* folder : {"src", "tests", "bench"}) {
    for (const auto& path : sources_below(kRoot / folder)) {
      EXPECT_LE(lines_of(read(path)), kLongestFile) << path << ": split it";
    }
  }
}

TEST(Hygiene, NoMachinePathIsCommitted) {
  // Written in pieces, so that this file does not find itself.
  const std::vector<std::string> forbidden = {std::string("/wo") + "rk/", std::string("/opt/") + "graft",
                                              std::string("/ro") + "ot/"};
  for (const auto& path : committed_files()) {
    const std::string text = read(path);
    for (const auto& word : forbidden) {
      EXPECT_EQ(text.find(word), std::string::npos) << path << " names " << word;
    }
  }
}

}  // namespace
