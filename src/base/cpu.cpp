#include "base/cpu.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/suggest.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace graft {
namespace {

constexpr const char* kMaskVariable = "GRAFT_MASK_CPU";

#if defined(__x86_64__)
// Whether tiles can be multiplied. Linux keeps their registers only for a process that asked for it
// (arch_prctl(2), ARCH_REQ_XCOMP_PERM, of the feature XTILEDATA).
bool may_use_tiles() {
#if defined(__linux__)
  constexpr unsigned kNeeded = 1U << 22 | 1U << 24 | 1U << 25;  // of bfloat16, tiles, of 8-bit numbers
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  if ((edx & kNeeded) != kNeeded) return false;
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#endif

CpuFeatures asked() {
  CpuFeatures found;
#if defined(__x86_64__)
  const bool base = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  // Every processor with both has F16C, for which clang 14 has no name here.
  found.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  found.avx512_vnni = base && __builtin_cpu_supports("avx512vnni");
  found.avx512_bf16 = base && __builtin_cpu_supports("avx512bf16");
#endif
  const char* mask = std::getenv(kMaskVariable);
  const CpuFeatures hidden = masked_cpu_features(mask == nullptr ? "" : mask);
  if (hidden.avx2) found.avx2 = false;
  if (hidden.avx512_vnni) found.avx512_vnni = false;
  if (hidden.avx512_bf16) found.avx512_bf16 = false;
#if defined(__x86_64__)
  found.amx = found.avx512_vnni && !hidden.amx && may_use_tiles();
#endif
  return found;
}

}  // namespace

CpuFeatures masked_cpu_features(const std::string& value) {
  static const std::vector<std::pair<std::string, bool CpuFeatures::*>> kNames = {
      {"avx2", &CpuFeatures::avx2},
      {"avx512_vnni", &CpuFeatures::avx512_vnni},
      {"avx512_bf16", &CpuFeatures::avx512_bf16},
      {"amx", &CpuFeatures::amx}};
  CpuFeatures masked;
  for (std::size_t begin = 0; begin < value.size();) {
    const std::size_t end = std::min(value.find(',', begin), value.size());
    const std::string word = value.substr(begin, end - begin);
    std::vector<std::string> known = {"all"};
    bool found = word == "all";
    for (const auto& [name, feature] : kNames) {
      known.push_back(name);
      if (word != name && word != "all") continue;
      masked.*feature = true;
      found = true;
    }
    if (!found)
      fail(Category::InvalidArgument, kMaskVariable,
           "'{}' is no feature of a processor that can be hidden{}; correct or unset it", word,
           did_you_mean(word, known));
    begin = end + 1;
  }
  return masked;
}

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = asked();
  return features;
}

std::string cpu_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const auto colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "";
}

}  // namespace graft
