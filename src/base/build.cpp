#include "base/build.h"

namespace graft {

std::string build_version() {
  return std::string(GRAFT_VERSION " (") + build_commit() + ")";
}

}  // namespace graft
