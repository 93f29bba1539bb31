// Holds the documents to the tree: the paths that they name are there, and so are the verbs and their options.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

const fs::path kDocsRoot = GRAFT_SOURCE_DIR, kVerbs = kDocsRoot / "src/cli";

std::string content(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Words matches(const std::string& text, const std::regex& pattern, std::size_t group) {
  Words found;
  for (auto it = std::sregex_iterator(text.begin(), text.end(), pattern); it != std::sregex_iterator(); ++it)
    found.push_back((*it)[group].str());
  return found;
}

// Without patterns and places to fill, CONTRIBUTING.md's exercise, and what benchmarks write.
Words paths_in(const std::string& line) {
  static const std::regex path(
      R"((^|[^\w./-])((src|tests|docs|bench|cmake|tasks|recipes|comparisons)/[\w./*-]*[\w*]))"),
      no_file(R"(\*|NAME|/gain\.|bench/results/)");
  Words found = matches(line, path, 2);
  std::erase_if(found, [](const std::string& one) { return std::regex_search(one, no_file); });
  return found;
}

// "tune --model m": a line of code that begins with graft, or what stands between backticks.
Words commands_in(const std::string& line, bool code) {
  static const std::regex whole(R"(^\s*graft ([a-z]+[^|]*))"), quoted(R"(`graft ([a-z]+[^`|]*))");
  return matches(line, code ? whole : quoted, 1);
}

// By a name that CLI11 is given: "--json", "--dtype,--type", "--profile{5}".
bool declares(const std::string& source, const std::string& option) {
  const auto has = [&](const char* before, const char* after) {
    return source.find(before + option + after) != source.npos;
  };
  return has("\"", "\"") || has("\"", ",") || has("\"", "{") || has(",", "\"");
}

// "core/eval_arguments.cpp" is of `eval` alone; empty: of all verbs.
std::string verb_of(const fs::path& source) {
  const std::string name = source.stem().string(), verb = name.substr(0, name.find('_'));
  return fs::exists(kVerbs / (verb + ".cpp")) ? verb : "";
}

// What the sources of a verb, or of all verbs together, declare beside the verb's own file: those that give CLI11 an
// option.
std::string core_sources(const std::string& verb) {
  std::string all;
  for (const auto& entry : fs::directory_iterator(kVerbs / "core")) {
    const std::string source = verb_of(entry.path()) == verb ? content(entry.path()) : "";
    if (source.find("app.add_") != source.npos) all += source;
  }
  return all;
}

// The parts of a command that are no verb, or no option of the verbs in it (`graft plan tune` has two).
Words unknown_in(const std::string& command) {
  static const std::regex word(R"([^\s]+)"), option(R"((^|\s)(--[a-z][a-z0-9-]*))");
  static const std::string shared = "\"--help\"" + core_sources("");
  const Words words = matches(command, word, 0);
  if (!fs::exists(kVerbs / (words.front() + ".cpp"))) return {words.front()};
  std::string sources = shared;
  for (const auto& one : words) {
    const fs::path file = kVerbs / (one + ".cpp");
    if (fs::exists(file)) sources += content(file) + core_sources(one);
  }
  Words unknown = matches(command, option, 2);
  std::erase_if(unknown, [&](const std::string& one) { return declares(sources, one); });
  return unknown;
}

// Not the change log, which tells what was.
std::vector<fs::path> documents() {
  std::vector<fs::path> found = {kDocsRoot / "README.md", kDocsRoot / "CONTRIBUTING.md"};
  for (const auto& entry : fs::recursive_directory_iterator(kDocsRoot / "docs")) {
    if (entry.path().extension() == ".md") found.push_back(entry.path());
  }
  return found;
}

TEST(Hygiene, DocumentsNamePathsVerbsAndOptionsThatAreThere) {
  std::size_t paths = 0, commands = 0;
  for (const auto& document : documents()) {
    std::ifstream lines(document);
    bool code = false;
    for (std::string line; std::getline(lines, line);) {
      for (std::string more; line.ends_with('\\') && std::getline(lines, more);) line.back() = ' ', line += more;
      if (line.starts_with("```")) code = !code;
      for (const auto& path : paths_in(line)) {
        ++paths;
        EXPECT_TRUE(fs::exists(kDocsRoot / path)) << document << " names " << path;
      }
      for (const auto& command : commands_in(line, code)) {
        ++commands;
        EXPECT_EQ(unknown_in(command), Words{}) << document << ": graft " << command;
      }
    }
  }
  EXPECT_GT(paths, 100u);
  EXPECT_GT(commands, 100u);
}

// Whether a paragraph follows the title, which tells a reader whom the rest is for.
bool begins_with_prose(const std::string& document) {
  static const std::regex beginning(R"(# [^\n]+\n\n?([A-Za-z]|`[^`]))");
  return std::regex_search(document, beginning, std::regex_constants::match_continuous);
}

TEST(Hygiene, DocumentsBeginWithWhatTheyAreFor) {
  for (const auto& document : documents()) EXPECT_TRUE(begins_with_prose(content(document))) << document;
}

TEST(Hygiene, TheReaderOfDocumentsCatchesAnOffender) {
  EXPECT_EQ(
      paths_in("`src/nn/rope.cpp`, tests/laws. (docs/a.md) tasks/*.yaml src/arch/NAME.cpp my/src/b docs/formats/"),
      (Words{"src/nn/rope.cpp", "tests/laws", "docs/a.md", "docs/formats"}));
  EXPECT_EQ(commands_in("graft tune --a b | tee c", true), Words{"tune --a b "});
  EXPECT_EQ(commands_in("graft is `graft chat` and `graft plan --json tune`", false),
            (Words{"chat", "plan --json tune"}));
  EXPECT_EQ(unknown_in("chat --model m"), Words{"chat"});
  EXPECT_EQ(unknown_in("tune --modle n --device cpu --profile --quiet --help"), Words{"--modle"});
  EXPECT_EQ(unknown_in("plan tune --memory 8GiB --candidates 3"), Words{"--candidates"});
  EXPECT_EQ(unknown_in("plan eval --candidates 3"), Words{});
  EXPECT_TRUE(begins_with_prose("# A\nFor whoever asks.\n"));
  EXPECT_TRUE(begins_with_prose("# A\n\n`graft` does it.\n"));
  EXPECT_FALSE(begins_with_prose("# A\n## B\nFor whoever asks.\n"));
  EXPECT_FALSE(begins_with_prose("# A\n```\ngraft tune\n```\n"));
  EXPECT_FALSE(begins_with_prose("# A\n\n| a | b |\n"));
}

}  // namespace
