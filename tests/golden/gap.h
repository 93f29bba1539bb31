// How far apart two tensors are.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

namespace graft {

/// Largest difference of two tensors of one shape, relative to the largest value of `want`.
inline double relative_gap(const at::Tensor& got, const at::Tensor& want) {
  const at::Tensor reference = want.to(at::kDouble);
  const double largest = std::max(reference.abs().max().item<double>(), 1e-12);
  return (got.to(at::kDouble) - reference).abs().max().item<double>() / largest;
}

/// The largest of one or more gaps. No number where one of them is none, which std::max would pass over, so that no
/// tolerance holds it.
inline double largest_gap_of(const std::vector<double>& gaps) {
  return at::tensor(gaps, at::kDouble).max().item<double>();
}

}  // namespace graft
