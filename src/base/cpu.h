// What the processor can do, asked once at run time: machines differ.
#pragma once

#include <string>

namespace graft {

struct CpuFeatures {
  bool avx2 = false;         ///< with FMA and F16C
  bool avx512_vnni = false;  ///< with AVX-512 F, BW, VL and DQ
  bool avx512_bf16 = false;  ///< likewise
  bool amx = false;  ///< of 8-bit numbers and bfloat16, with AVX-512 as above, and the system's leave to use tiles
};

/// The features that a value of the environment variable GRAFT_MASK_CPU hides: their names with commas between, or
/// "all"; nothing where it is empty. Throws InvalidArgument for any other word.
CpuFeatures masked_cpu_features(const std::string& value);

/// What the machine has, without the features that GRAFT_MASK_CPU hides, so that the other paths can be tested. Throws
/// as masked_cpu_features(); the command asks before it does anything else.
const CpuFeatures& cpu_features();

/// The processor as the system names it ("AMD EPYC 9R14"); empty where it does not (Linux on x86 does).
std::string cpu_name();

}  // namespace graft
