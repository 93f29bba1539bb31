// What the control groups of Linux leave a process of memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace graft {

/// Bytes that may be taken on top within the limits of the groups that the file `of` (/proc/PID/cgroup) names and of
/// all above them, mounted at `root`: the least, over these, of limit less use, where what the system keeps of files
/// counts as free. Version 2, and the memory controller of version 1 (cgroups(7)). Nothing where there is no limit.
std::optional<std::int64_t> group_memory(const std::filesystem::path& of = "/proc/self/cgroup",
                                         const std::filesystem::path& root = "/sys/fs/cgroup");

}  // namespace graft
