// bfloat16 matrices as tiled products want their second factor: two of its rows side by side.
#pragma once

#include <cstdint>

#include "nn/kernels/rows.h"

namespace graft::rows {

/// x [count, width] → [count / 2, width, 2], the second factor x; count is even.
void pair_rows(const Bits* x, std::int64_t count, std::int64_t width, Bits* to);
/// x [count, width] → [width / 2, count, 2], the second factor xᵀ; width is even.
void pair_columns(const Bits* x, std::int64_t count, std::int64_t width, Bits* to);
/// x [count, width] → [width, count].
void turn(const float* x, std::int64_t count, std::int64_t width, float* to);
void turn(const Bits* x, std::int64_t count, std::int64_t width, Bits* to);
/// to [width, stride] becomes factor · to + the lines [count] of `width` values, each a column of it; stride >= count.
void add_turned(const float* const* lines, std::int64_t count, std::int64_t width, float factor, float* to,
                std::int64_t stride);
void add_turned(const Bits* const* lines, std::int64_t count, std::int64_t width, float factor, float* to,
                std::int64_t stride);

}  // namespace graft::rows
