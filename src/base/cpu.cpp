#include "base/cpu.h"

#include <cstdlib>
#include <fstream>
#include <string>

namespace graft {
namespace {

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
