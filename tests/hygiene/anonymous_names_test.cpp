// Sources of a folder are compiled together (GRAFT_BATCHES): what they have in anonymous namespaces must differ by
// name. Which of them come together changes with every new file, so that only some of such slips break a build.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;

const fs::path kSources = fs::path(GRAFT_SOURCE_DIR) / "src";

bool compiled_together(const fs::path& file) {
  const std::string name = file.filename().string(), folder = fs::relative(file.parent_path(), kSources).string();
  return file.extension() == ".cpp" && !name.ends_with("_test.cpp") && !name.starts_with("data_") && folder != "arch" &&
         folder != "adapters" && folder != "cli";
}

// The name of a type or a constant, a function's with its parameters; empty of anything else.
std::string name_of(const std::string& declaration) {
  static const std::regex type(R"(^(?:template <.*> ?)?(?:struct|class|enum class|enum) (?:alignas\(\w+\) )?(\w+).*)"),
      constant(R"(^(?:constexpr|const|thread_local|volatile) [^(=]*?(\w+)(?: =|\{|\[|;).*)"),
      function(R"(^[^=({]*[ &*](\w+\(.*\)) (?:const )?\{.*)");
  std::smatch found;
  for (const auto* kind : {&type, &constant, &function}) {
    if (std::regex_match(declaration, found, *kind)) return found[1];
  }
  return "";
}

std::vector<std::string> anonymous_names(const fs::path& file) {
  std::ifstream in(file);
  std::vector<std::string> names;
  std::string line, declaration;
  bool inside = false;
  while (std::getline(in, line)) {
    if (line.starts_with("namespace {")) inside = true;
    if (line.starts_with("}  // namespace")) inside = false;
    if (!inside || line.empty() || line.starts_with("namespace {")) continue;
    const bool begins = line[0] != ' ' && line[0] != '/' && line[0] != '#' && line[0] != '}';
    if (!begins && declaration.empty()) continue;
    declaration += declaration.empty() ? line : " " + line.substr(line.find_first_not_of(' '));
    if (declaration.find_first_of(";{") == std::string::npos) continue;
    if (const std::string name = name_of(declaration); !name.empty()) names.push_back(name);
    declaration.clear();
  }
  return names;
}

TEST(Hygiene, NamesOfAFoldersAnonymousNamespacesDiffer) {
  std::map<std::string, std::map<std::string, std::string>> files;  // of a name, by folder
  std::size_t seen = 0;
  for (const auto& entry : fs::recursive_directory_iterator(kSources)) {
    if (!entry.is_regular_file() || !compiled_together(entry.path())) continue;
    const std::string path = fs::relative(entry.path(), kSources).string();
    auto& of_folder = files[entry.path().parent_path().string()];
    for (const auto& name : anonymous_names(entry.path())) {
      ++seen;
      const auto [at, fresh] = of_folder.emplace(name, path);
      EXPECT_TRUE(fresh || at->second == path) << path << " and " << at->second << " both have '" << name << "'";
    }
  }
  EXPECT_GT(seen, 500u);
}

}  // namespace
