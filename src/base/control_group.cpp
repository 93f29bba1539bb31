#include "base/control_group.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>
#include <string>

namespace graft {
namespace {

namespace fs = std::filesystem;

// Names of a version's files and of its counts of pages of files, those of groups below included.
struct GroupVersion {
  const char *limit, *use;
  std::array<const char*, 2> files;
};

constexpr GroupVersion kUnifiedGroups{"memory.max", "memory.current", {"inactive_file", "active_file"}};
constexpr GroupVersion kFirstGroups{
    "memory.limit_in_bytes", "memory.usage_in_bytes", {"total_inactive_file", "total_active_file"}};
constexpr std::int64_t kUnlimited = std::int64_t{1} << 60;  // version 1 writes a number near the largest

std::optional<std::int64_t> number_of(const fs::path& file) {
  std::ifstream in(file);
  std::int64_t value = 0;
  return in >> value ? std::optional(value) : std::nullopt;  // "max" is no number
}

// Pages of files are counted as used, and dropped where another needs the room.
std::int64_t pages_of_files(const fs::path& group, const GroupVersion& version) {
  std::ifstream in(group / "memory.stat");
  std::string key;
  std::int64_t value = 0, sum = 0;
  while (in >> key >> value) {
    if (std::find(version.files.begin(), version.files.end(), key) != version.files.end()) sum += value;
  }
  return sum;
}

std::optional<std::int64_t> left_in(const fs::path& group, const GroupVersion& version) {
  const auto limit = number_of(group / version.limit), use = number_of(group / version.use);
  if (!limit || !use || *limit >= kUnlimited) return std::nullopt;
  return std::clamp<std::int64_t>(*limit - *use + pages_of_files(group, version), 0, *limit);
}

// Of the group at `path` below `root` and of those above it. A container may see the path of its host, which is not
// there: what is mounted at the root is its own group then.
std::optional<std::int64_t> least_left(const fs::path& root, const fs::path& path, const GroupVersion& version) {
  std::optional<std::int64_t> least = left_in(root, version);
  fs::path group = root;
  for (const fs::path& part : path.relative_path()) {
    if (part == "..") break;  // outside of what is mounted
    group /= part;
    const auto left = left_in(group, version);
    if (left) least = std::min(*left, least.value_or(*left));
  }
  return least;
}

bool has_memory(const std::string& controllers) {
  std::istringstream list(controllers);
  for (std::string one; std::getline(list, one, ',');) {
    if (one == "memory") return true;
  }
  return false;
}

}  // namespace

std::optional<std::int64_t> group_memory(const fs::path& of, const fs::path& root) {
  std::ifstream in(of);
  std::optional<std::int64_t> least;
  // "hierarchy:controllers:path", with neither number nor controllers in version 2.
  for (std::string line; std::getline(in, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    std::optional<std::int64_t> left;
    if (controllers.empty()) left = least_left(root, path, kUnifiedGroups);
    if (has_memory(controllers)) left = least_left(root / "memory", path, kFirstGroups);
    if (left) least = std::min(*left, least.value_or(*left));
  }
  return least;
}

}  // namespace graft
