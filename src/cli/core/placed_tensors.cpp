#include "cli/core/placed_tensors.h"

#include <fmt/format.h>

#include <cstdio>
#include <set>

#include "base/progress.h"

namespace graft {

void tell_placed(const std::string& path, const std::string& method, std::size_t tensors, const std::string& name) {
  if (Progress::quiet()) return;
  static std::set<std::string> told;
  const std::string line =
      fmt::format("{}{}: {} adapter, {} tensor{}, every one placed", name.empty() || name == path ? "" : name + " = ",
                  path, method, tensors, tensors == 1 ? "" : "s");
  if (told.insert(line).second) std::fprintf(stderr, "%s\n", line.c_str());
}

}  // namespace graft
