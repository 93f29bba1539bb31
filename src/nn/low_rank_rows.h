// Low-rank updates of few ranks, row by row: LibTorch's products would want copies of the rows in fp32, which take
// longer to make and to read than the update itself.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <vector>

#include "nn/low_rank.h"

namespace graft {

struct LowRankResult {
  at::Tensor result;
  at::Tensor inner;  ///< x aᵀ, as whoever made it lays it out
};

/// Which gradients are asked for.
struct LowRankWishes {
  bool x = false;
  std::vector<bool> factors;  ///< a and b of each update

  bool a(std::size_t slot) const { return factors[2 * slot]; }
  bool b(std::size_t slot) const { return factors[2 * slot + 1]; }
  bool any_a() const;
};

struct LowRankGradients {
  at::Tensor x;                     ///< [N, in], in x's dtype
  std::vector<at::Tensor> factors;  ///< fp32
};

/// Whether the rows of y [N, out] and x [N, in] are read as they are: fp32 or bfloat16 on the CPU, both the same, and
/// ranks of at most 16.
bool goes_row_by_row(const at::Tensor& y, const at::Tensor& x, const LowRankRuns& by);

/// low_rank_sums(), with x aᵀ [the largest R, N]. A row's bits depend neither on others nor on the number of threads.
LowRankResult sums_row_by_row(const at::Tensor& y, const at::Tensor& x, const LowRankRuns& by);

/// From the gradient `above` [N, out] of its result. Sums over a run's rows depend on nothing but them.
LowRankGradients gradients_row_by_row(const at::Tensor& above, const at::Tensor& x, const at::Tensor& inner,
                                      const LowRankRuns& by, const LowRankWishes& wishes);

}  // namespace graft
