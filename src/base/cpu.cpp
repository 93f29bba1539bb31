#include "base/cpu.h"

#include <cstdlib>
#include <fstream>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace graft {
namespace {

#if defined(__x86_64__)
// Whether tiles of 8-bit numbers can be multiplied. Linux keeps their registers only for a process that asked for it
// (arch_prctl(2), ARCH_REQ_XCOMP_PERM, of the feature XTILEDATA).
bool may_use_amx() {
#if defined(__linux__)
  constexpr unsigned kTiles = 1U << 24, kInt8 = 1U << 25;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return false;
  if ((edx & kTiles) == 0 || (edx & kInt8) == 0) return false;
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
  const char* mask = std::getenv("GRAFT_MASK_CPU");
  const std::string masked = mask == nullptr ? "" : mask;
  const auto hidden = [&](const char* feature) { return masked == "all" || masked.find(feature) != std::string::npos; };
  if (hidden("avx2")) found.avx2 = false;
  if (hidden("avx512_vnni")) found.avx512_vnni = false;
  if (hidden("avx512_bf16")) found.avx512_bf16 = false;
#if defined(__x86_64__)
  found.amx_int8 = found.avx512_vnni && !hidden("amx_int8") && may_use_amx();
#endif
  return found;
}

}  // namespace

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
