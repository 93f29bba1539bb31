// What tells a file on the disk from others, and from what it was before, without reading it.
#pragma once

#include <filesystem>
#include <string>

namespace graft {

/// A line of the file's path, device, inode, size, and the times of the last change of its content and of its inode.
/// Empty where it is not there. What goes unnoticed is a file that was changed in place and had all of its times put
/// back (those of the inode too, which no program sets).
std::string file_identity(const std::filesystem::path& file);

}  // namespace graft
