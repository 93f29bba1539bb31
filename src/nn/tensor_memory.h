// Where LibTorch's tensors on the CPU get their memory.
#pragma once

#include <c10/core/Allocator.h>

namespace graft {

/// Memory that begins at a cache line, from the C library's plain allocation. LibTorch asks for aligned memory, for
/// which glibc (2.36) looks for a longer piece, to give back its ends: what one tensor has left is then too short for
/// the next of its size, and a step of training leaves holes between what it keeps. Throws std::bad_alloc. For any
/// threads.
c10::Allocator& tensor_memory();

/// For main(), before there is any tensor: LibTorch takes tensor_memory() from here on, and what is freed is kept for
/// the next step, up to a gigabyte of it (trim_memory() gives it back).
void use_tensor_memory();

}  // namespace graft
