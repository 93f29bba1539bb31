#include "base/memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <optional>
#include <utility>

#include "base/control_group.h"
#include "base/error.h"

#ifdef __GLIBC__
#include <malloc.h>
#endif

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

std::optional<double> unit_of(std::string name) {
  constexpr double kThousand = 1000, kBinary = 1024;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (name.empty() || name == "b") return 1.0;
  double decimal = 1, binary = 1;
  for (const char* letter : {"k", "m", "g", "t"}) {
    decimal *= kThousand;
    binary *= kBinary;
    if (name == std::string(letter) + "b") return decimal;
    if (name == std::string(letter) + "ib") return binary;
  }
  return std::nullopt;
}

}  // namespace

std::int64_t peak_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

void begin_peak() {
  trim_memory();
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
  constexpr const char* kMemoryGiven = "GRAFT_MEMORY";
  if (const char* given = std::getenv(kMemoryGiven); given != nullptr && *given != '\0')
    return std::max<std::int64_t>(0, memory_amount(given, kMemoryGiven) - private_memory());
  const std::int64_t machine = number_after("/proc/meminfo", "MemAvailable:");
  return std::min(machine < 0 ? kUnknown : machine * 1024, group_memory().value_or(kUnknown));
}

void trim_memory() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

std::int64_t memory_amount(const std::string& text, const std::string& where) {
  constexpr double kMost = 1e18;
  const std::size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::size_t unit = std::min(text.find_first_not_of(' ', end), text.size());
  const std::string number = text.substr(0, end);
  char* read = nullptr;
  const double value = std::strtod(number.c_str(), &read);
  const auto factor = unit_of(text.substr(unit));
  const bool whole = !number.empty() && read == number.c_str() + number.size();
  if (!whole || !factor || !(value * *factor >= 1) || value * *factor > kMost)
    fail(Category::InvalidArgument, where, "'{}' is no amount of memory; write 8GiB, 900MB or a number of bytes", text);
  return static_cast<std::int64_t>(value * *factor);
}

}  // namespace graft
