// Where the goldens are.
#pragma once

#include <cstdlib>
#include <filesystem>

namespace graft {

/// GRAFT_GOLDENS, or what tests/golden/make.py wrote beside itself. It may be absent.
inline std::filesystem::path goldens() {
  const char* given = std::getenv("GRAFT_GOLDENS");
  return given != nullptr ? std::filesystem::path(given)
                          : std::filesystem::path(GRAFT_SOURCE_DIR) / "tests/golden/data";
}

}  // namespace graft
