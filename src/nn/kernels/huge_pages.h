// Memory for weights that every step reads from front to back.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>

namespace graft {

/// Whether Linux gives pages of 2 MiB where they are asked for, as the file tells (transparent_hugepage in
/// Documentation/admin-guide/mm/transhuge.rst).
bool huge_pages_are_given(const std::filesystem::path& told = "/sys/kernel/mm/transparent_hugepage/enabled");

/// Memory of zeros for values on the CPU, aligned to 64 bytes, one call's behind the former's in pages of 2 MiB where
/// Linux has such: with the usual ones a processor looks up an address every 4 KiB, and reads from memory at two thirds
/// of its rate. What is freed goes back when everything of the same 32 MiB is. Undefined where there is no such memory.
/// For any thread.
at::Tensor in_huge_pages(at::IntArrayRef sizes, at::ScalarType dtype);

/// The same of uint8; by LibTorch, which throws where it has none, where there is no such memory.
at::Tensor zeros_in_huge_pages(at::IntArrayRef sizes);

}  // namespace graft
