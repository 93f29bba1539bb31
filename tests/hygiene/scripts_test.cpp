// Holds what the tree's Python scripts have in common: each says what it does when it is asked.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <regex>
#include <string>
#include <vector>

#include "base/file.h"
#include "shell.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

// A script is run; what others import alone is none.
bool is_script(const std::string& source) {
  return source.find("__name__ == \"__main__\"") != source.npos || source.starts_with("#!");
}

// Its text is the help of the parser that it makes, or takes from what its folder shares.
bool takes_help(const std::string& source) {
  static const std::regex parser(R"((ArgumentParser\(description=|\.parser\(|\barguments\()__doc__)");
  return std::regex_search(source, parser);
}

std::vector<fs::path> scripts() {
  std::vector<fs::path> found;
  for (const char* folder : {"bench", "tests/golden", "tests/compat"}) {
    for (const auto& entry : fs::recursive_directory_iterator(fs::path(GRAFT_SOURCE_DIR) / folder)) {
      if (entry.path().extension() == ".py" && is_script(read_file(entry.path()))) found.push_back(entry.path());
    }
  }
  return found;
}

TEST(Hygiene, EveryScriptHasHelp) {
  const auto found = scripts();
  EXPECT_GT(found.size(), 20u);
  for (const auto& script : found) EXPECT_TRUE(takes_help(read_file(script))) << script;
}

TEST(Hygiene, TheReaderOfScriptsCatchesAnOffender) {
  const std::string ends = "if __name__ == \"__main__\":\n    main()\n";
  EXPECT_TRUE(is_script("import x\n" + ends));
  EXPECT_TRUE(is_script("#!/usr/bin/env python3\nimport x\n"));
  EXPECT_FALSE(is_script("def names():\n    return []\n"));
  EXPECT_TRUE(takes_help("\"\"\"Does it.\"\"\"\nparser = argparse.ArgumentParser(description=__doc__)\n"));
  EXPECT_TRUE(takes_help("\"\"\"Does it.\"\"\"\noptions = tfew_peer.arguments(__doc__)\n"));
  EXPECT_FALSE(takes_help("\"\"\"Does it.\"\"\"\nparser = argparse.ArgumentParser()\n"));
  EXPECT_FALSE(takes_help("\"\"\"Does it.\"\"\"\nout = sys.argv[1]\n"));
}

// Without what it makes the goldens with; it makes none.
TEST(Hygiene, MakingGoldensTellsItsFolder) {
  const std::string script = "python3 -B '" + std::string(GRAFT_SOURCE_DIR) + "/tests/golden/make.py'";
  EXPECT_THAT(printed_by(script + " --help", 0), HasSubstr("default: data beside this file"));
  const std::string refused = printed_by(script + " one two", 2);
  EXPECT_THAT(refused, HasSubstr("unrecognized arguments: two"));
  EXPECT_THAT(refused, Not(HasSubstr("Traceback")));
}

}  // namespace
}  // namespace graft
