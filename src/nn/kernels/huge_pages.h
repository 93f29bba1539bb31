// Memory for weights that every step reads from front to back.
#pragma once

#include <ATen/core/Tensor.h>

namespace graft {

/// Zeros of uint8, aligned to 64 bytes, one call's behind the former's in pages of 2 MiB where Linux has such: with the
/// usual ones a processor looks up an address every 4 KiB, and reads from memory at two thirds of its rate. What is
/// freed goes back when everything of the same 32 MiB is. For any thread.
at::Tensor zeros_in_huge_pages(at::IntArrayRef sizes);

}  // namespace graft
