// Rows times the vector of their adapter slot, for any number of slots at once.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "nn/forest_plan.h"

namespace graft {

/// A vector for each slot that has one, and whose the rows are. The vectors are the adapters' own: to copy those of
/// many slots into one tensor at every map takes longer than to scale by them.
struct RowScales {
  std::vector<at::Tensor> scales;  ///< A of [C] fp32; empty: no slot has any
  std::vector<SlotRun> runs;       ///< cover the rows in order; their slot is a place in `scales`, or -1
};

/// y[n] = x[n] ⊙ scales[r] for the rows n of a run whose slot is r; y[n] = x[n] where the slot is -1. x [N, C] in any
/// float type; x itself where there are no scales. The product is taken in fp32 and rounded once to x's dtype.
/// Differentiable; autograd keeps x and the scales, no product. Throws Internal where a vector is not as long as a row.
at::Tensor scale_rows(const at::Tensor& x, const RowScales& by);

/// x [N, C] ⊙ scale [C] fp32, in x's dtype.
at::Tensor scale_rows(const at::Tensor& x, const at::Tensor& scale);

/// Vectors on the CPU, for loops over rows.
class ScaleVectors {
 public:
  /// The scales outlive it. Throws Internal where one of them has not `width` values.
  ScaleVectors(at::TensorList scales, std::int64_t width);

  /// [width]; null for slot -1.
  const float* of(std::int32_t slot) const { return slot < 0 ? nullptr : firsts_[static_cast<std::size_t>(slot)]; }
  /// Has of(slot) come from memory while rows of another slot are computed: of many slots' vectors no cache has any.
  void ask_for(std::int32_t slot) const;

 private:
  std::int64_t width_;
  std::vector<at::Tensor> held_;  // of those that do not lie in order in memory
  std::vector<const float*> firsts_;
};

/// Runs as numbers, which an autograd context can keep, and back.
std::vector<std::int64_t> as_numbers(const std::vector<SlotRun>& runs);
std::vector<SlotRun> as_runs(const std::vector<std::int64_t>& numbers);

/// Runs cut into parts of at most 64 rows, each of which one thread takes: sums over them do not depend on how many
/// threads there are.
std::vector<SlotRun> parts_of(const std::vector<SlotRun>& runs);

}  // namespace graft
