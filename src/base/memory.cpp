#include "base/memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace graft {
namespace {

// The number that follows `key` in a file of the kernel's; -1 where there is none.
std::int64_t number_after(const char* file, const std::string& key) {
  std::ifstream in(file);
  std::string word;
  std::int64_t value = -1;
  while (in >> word) {
    if (word == key && in >> value) return value;
  }
  return -1;
}

std::int64_t number_in(const char* file) {
  std::ifstream in(file);
  std::int64_t value = -1;
  return in >> value ? value : -1;  // "max" is no number
}

struct Pages {
  std::int64_t resident = 0, of_files = 0;
};

Pages pages() {
  std::ifstream in("/proc/self/statm");
  std::int64_t size = 0;
  Pages now;
  in >> size >> now.resident >> now.of_files;
  return now;
}

}  // namespace

std::int64_t peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

void begin_peak() {
  std::ofstream("/proc/self/clear_refs") << "5";  // proc(5): resets the peak resident size
}

std::int64_t resident_memory() {
  return pages().resident * ::sysconf(_SC_PAGESIZE);
}

std::int64_t private_memory() {
  const Pages now = pages();
  return (now.resident - now.of_files) * ::sysconf(_SC_PAGESIZE);
}

std::int64_t available_memory() {
  constexpr std::int64_t kUnknown = std::numeric_limits<std::int64_t>::max();
  const std::int64_t machine = number_after("/proc/meminfo", "MemAvailable:"),
                     limit = number_in("/sys/fs/cgroup/memory.max"), used = number_in("/sys/fs/cgroup/memory.current");
  // Pages of files are counted as used, and dropped where another needs the room.
  std::int64_t files = 0;
  for (const char* kind : {"inactive_file", "active_file"})
    files += std::max<std::int64_t>(0, number_after("/sys/fs/cgroup/memory.stat", kind));
  const std::int64_t group =
      limit < 0 || used < 0 ? kUnknown : std::clamp<std::int64_t>(limit - used + files, 0, limit);
  return std::min(machine < 0 ? kUnknown : machine * 1024, group);
}

}  // namespace graft
