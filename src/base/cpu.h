// What the processor can do, asked once at run time: machines differ.
#pragma once

#include <string>

namespace graft {

struct CpuFeatures {
  bool avx2 = false;         ///< with FMA and F16C
  bool avx512_vnni = false;  ///< with AVX-512 F, BW, VL and DQ
  bool avx512_bf16 = false;  ///< likewise
  bool amx_int8 = false;     ///< with AVX-512 as above, and the system's leave to use tiles
};

/// Features named in the environment variable GRAFT_MASK_CPU ("avx2,avx512_vnni,avx512_bf16,amx_int8", or "all") count
/// as absent, so that the other paths can be tested.
const CpuFeatures& cpu_features();

/// The processor as the system names it ("AMD EPYC 9R14"); empty where it does not (Linux on x86 does).
std::string cpu_name();

}  // namespace graft
