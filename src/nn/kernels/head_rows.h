// Keys or values of attention, as they are or in 8 bits.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace graft {

struct HeadRows {
  at::Tensor rows;    ///< [T, G, D] in the compute dtype, or int8 codes
  at::Tensor scales;  ///< [T, G] fp32 of codes, whose values are scale · code; undefined where rows are the values

  /// Tokens [first, first + count).
  HeadRows part(std::int64_t first, std::int64_t count) const;
  /// [T, G, D]: codes as values in `dtype`, else the rows themselves.
  at::Tensor values(at::ScalarType dtype) const;
};

/// Keys and values of the same tokens.
struct KeyValues {
  HeadRows keys, values;
};
/// Those of tokens one behind the other.
using KvPages = std::vector<std::shared_ptr<KeyValues>>;

/// x [T, G, D] with a scale for each head of each token: its largest magnitude is 127, so that no value moves by more
/// than 1/254 of that. A head that is not finite gets NaN for its scale, which whoever reads it meets again. Throws
/// Unsupported for what is not fp32 or bfloat16 on the CPU.
HeadRows in_eight_bits(const at::Tensor& x);
/// The same of tokens [first, first + count) of x, into those of `to` from `row` on.
void put_in_eight_bits(const at::Tensor& x, std::int64_t first, std::int64_t count, const HeadRows& to,
                       std::int64_t row);

}  // namespace graft
