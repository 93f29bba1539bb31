// Which graft this is: results say so, and what another build has kept is not taken for its own.
#pragma once

#include <string>

namespace graft {

/// The commit that was built, as `git describe` tells it: "508b978f1c2d", "v0.1.0-3-g508b978f1c2d"; with
/// "-dirty-1a2b3c4d", a hash of the difference, where the code was another. "unknown-1a2b3c4d", a hash of all code,
/// where it was built from an archive without git; -D GRAFT_COMMIT=… names it there. Written at every build by
/// cmake/build_commit.cmake.
const char* build_commit();

/// "0.1.0 (508b978f1c2d)".
std::string build_version();

}  // namespace graft
