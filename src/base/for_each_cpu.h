// GRAFT_FOR_EACH_CPU before a function of plain loops.
#pragma once

// GCC makes one version for each set of vector instructions; the machine's own is taken at run time. AddressSanitizer
// is not ready yet when that is chosen.
#if defined(__x86_64__) && defined(__linux__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__)
#define GRAFT_FOR_EACH_CPU __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define GRAFT_FOR_EACH_CPU
#endif
