// Base parameters of which an adapter has a few numbers of its own, for the rows of its slot alone: what the base makes
// of the rows is made good, and no copy of the parameter is made.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "nn/sites.h"

namespace graft {

/// What a change adds to a parameter.
struct SparseDifference {
  at::Tensor places;  ///< as SparseChange's
  at::Tensor added;   ///< [K] fp32
};

/// Of the change of parameter `base`, whose values are first rounded to the base's dtype as the whole replacement's
/// are.
SparseDifference difference(const SparseChange& change, const at::Tensor& base);

/// How a linear map differs from the base's; absent: not at all.
struct MapDifference {
  std::optional<SparseDifference> weight;
  std::optional<SparseDifference> bias;
  Layout layout = Layout::OutIn;
};

/// y [n, out] of the base's map of x [n, in], as the map that differs so has it: y + x ΔWᵀ + Δb, in fp32 and rounded
/// once to y's dtype. On the CPU, where nothing learns, the bits of a row depend on no other row. Differentiable in
/// all; through a dense ΔW then.
at::Tensor with_difference(const at::Tensor& y, const at::Tensor& x, const MapDifference& by);

/// Rows [n, C] of the changed table by ids [n] int64, from `rows`, the base's. Differentiable in the values.
at::Tensor changed_rows(const at::Tensor& rows, const at::Tensor& ids, const SparseChange& change);

}  // namespace graft
