#include "base/file_identity.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <system_error>

namespace graft {

std::string file_identity(const std::filesystem::path& file) {
  struct stat status = {};
  std::error_code ignored;
  const std::filesystem::path path = std::filesystem::absolute(file, ignored);
  if (::stat(file.c_str(), &status) != 0) return "";
  return fmt::format("{} {} {} {} {} {} {} {}\n", path.string(), status.st_dev, status.st_ino, status.st_size,
                     status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec);
}

}  // namespace graft
