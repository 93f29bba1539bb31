// Where programs of this user keep what can be made again.
#pragma once

#include <filesystem>

namespace graft {

/// XDG_CACHE_HOME, else ~/.cache (XDG Base Directory Specification). Empty where the environment names neither. It need
/// not be there.
std::filesystem::path user_cache_folder();

}  // namespace graft
