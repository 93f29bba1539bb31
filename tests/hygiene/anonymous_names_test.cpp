// Sources of a folder are compiled together (GRAFT_BATCHES), and its tests are: what they have in anonymous namespaces
// must differ by name. Which of them come together changes with every new file, so that only some of such slips break a
// build.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <string>
#include <utility>
#include <vector>

namespace {

namespace fs = std::filesystem;

const fs::path kTree = GRAFT_SOURCE_DIR;

// "src/nn", or "src/nn, tests"; empty of what is compiled alone.
std::string compiled_with(const fs::path& file) {
  const std::string name = file.filename().string(), folder = fs::relative(file.parent_path(), kTree).generic_string();
  if (file.extension() != ".cpp") return "";
  if (name.ends_with("_test.cpp") || folder == "tests/e2e") return folder + ", tests";
  const bool alone = !folder.starts_with("src/") || name.starts_with("data_") || folder == "src/arch" ||
                     folder == "src/adapters" || folder == "src/cli" || folder == "src/parquet_module";
  return alone ? "" : folder;
}

// The names of a type or of constants, a function's with its parameters; nothing of anything else.
std::vector<std::string> names_of(const std::string& declaration) {
  static const std::regex type(R"(^(?:template <.*> ?)?(?:struct|class|enum class|enum) (?:alignas\(\w+\) )?(\w+).*)"),
      constant(R"(^(?:constexpr|const|thread_local|volatile) [^(=]*?(\w+)(?: =|\{|\[|;).*)"),
      function(R"(^[^=({]*[ &*](\w+\(.*\)) (?:const )?\{.*)"), further(R"(, (k[A-Z]\w*)(?= =|\{))");
  std::smatch found;
  if (std::regex_match(declaration, found, type)) return {found[1].str()};
  if (std::regex_match(declaration, found, constant)) {
    std::vector<std::string> names = {found[1].str()};
    for (std::sregex_iterator next(declaration.begin(), declaration.end(), further), end; next != end; ++next)
      names.push_back((*next)[1].str());
    return names;
  }
  if (std::regex_match(declaration, found, function)) return {found[1].str()};
  return {};
}

// Each with what must be the same where another file has it too: its file, of another name of a type the type.
std::vector<std::pair<std::string, std::string>> anonymous_names(const fs::path& file) {
  static const std::regex alias(R"(^using (\w+) = .*)");
  std::ifstream in(file);
  std::vector<std::pair<std::string, std::string>> names;
  std::string line, declaration;
  std::smatch found;
  bool inside = false;
  while (std::getline(in, line)) {
    if (line.starts_with("namespace {")) inside = true;
    if (line.starts_with("}  // namespace")) inside = false;
    if (!inside || line.empty() || line.starts_with("namespace {")) continue;
    const bool begins = line[0] != ' ' && line[0] != '/' && line[0] != '#' && line[0] != '}';
    if (!begins && declaration.empty()) continue;
    declaration += declaration.empty() ? line : " " + line.substr(line.find_first_not_of(' '));
    if (declaration.find_first_of(";{") == std::string::npos) continue;
    for (const auto& name : names_of(declaration)) names.emplace_back(name, file.string());
    if (std::regex_match(declaration, found, alias)) names.emplace_back(found[1].str(), declaration);
    declaration.clear();
  }
  return names;
}

TEST(Hygiene, NamesOfAFoldersAnonymousNamespacesDiffer) {
  struct Seen {
    std::string file, what;
  };
  std::map<std::string, std::map<std::string, Seen>> all;  // by what is compiled together, by name
  std::size_t of_sources = 0, of_tests = 0;
  for (const char* root : {"src", "tests"}) {
    for (const auto& entry : fs::recursive_directory_iterator(kTree / root)) {
      if (!entry.is_regular_file()) continue;
      const std::string together = compiled_with(entry.path()), path = fs::relative(entry.path(), kTree).string();
      if (together.empty()) continue;
      for (const auto& [name, what] : anonymous_names(entry.path())) {
        ++(together.ends_with("tests") ? of_tests : of_sources);
        const auto [at, fresh] = all[together].emplace(name, Seen{path, what});
        EXPECT_TRUE(fresh || at->second.what == what)
            << path << " and " << at->second.file << " both have '" << name << "'";
      }
    }
  }
  EXPECT_GT(of_sources, 500u);
  EXPECT_GT(of_tests, 500u);
}

TEST(Hygiene, TheReaderOfAnonymousNamesKnowsEveryKind) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(names_of("struct Inputs {"), Names{"Inputs"});
  EXPECT_EQ(names_of("at::Tensor random(at::IntArrayRef shape) {"), Names{"random(at::IntArrayRef shape)"});
  EXPECT_EQ(names_of("constexpr std::int64_t kRows = 600, kIn = 576;"), (Names{"kRows", "kIn"}));
  EXPECT_EQ(names_of("const std::map<int, int> kPairs = {"), Names{"kPairs"});
  EXPECT_EQ(names_of("TEST(Rows, AreRead) {"), Names{});
}

}  // namespace
