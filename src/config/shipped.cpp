#include "config/shipped.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/suggest.h"

namespace graft {
namespace fs = std::filesystem;

fs::path shipped_folder(const std::string& kind) {
  std::vector<std::string> tried;
  std::error_code ignored;
  const auto usable = [&](const fs::path& root) {
    tried.push_back((root / kind).string());
    return fs::is_directory(root / kind, ignored);
  };
  // A home that was asked for is the only one looked at, so that a slip in it does not go unnoticed.
  if (const char* home = std::getenv("GRAFT_HOME"); home != nullptr && *home != '\0') {
    if (usable(home)) return fs::path(home) / kind;
    fail(Category::NotFound, tried.back(), "GRAFT_HOME has no folder '{}'; correct or unset GRAFT_HOME", kind);
  }
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  const fs::path installed = program.parent_path().parent_path() / "share" / "graft";
  if (usable(installed)) return installed / kind;
  if (usable(GRAFT_COMPILED_HOME)) return fs::path(GRAFT_COMPILED_HOME) / kind;
  fail(Category::NotFound, kind, "no such folder with the files of graft (tried {}); set GRAFT_HOME",
       fmt::join(tried, ", "));
}

std::vector<std::string> shipped_names(const std::string& kind) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(shipped_folder(kind))) {
    if (entry.path().extension() == ".yaml") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

fs::path find_yaml(const std::string& kind, const std::string& path_or_name) {
  std::error_code ignored;
  if (fs::is_regular_file(path_or_name, ignored)) return path_or_name;
  const auto names = shipped_names(kind);
  if (std::find(names.begin(), names.end(), path_or_name) != names.end()) {
    return shipped_folder(kind) / (path_or_name + ".yaml");
  }
  fail(Category::NotFound, path_or_name, "is neither a file nor one of the shipped {}{}", kind,
       did_you_mean(path_or_name, names));
}

}  // namespace graft
