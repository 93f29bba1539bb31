// One tensor on its way from a file into another type and order.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/source.h"
#include "checkpoint/writer.h"

namespace graft {

/// Where a tensor comes from and what it becomes.
struct Passage {
  const TensorInfo* from = nullptr;
  TensorPlan to;
  std::vector<std::int64_t> rows = {};  ///< row i is row rows[i] of `from`; empty: each keeps its place
  bool turned = false;                  ///< a matrix whose columns become rows; then `rows` is empty

  bool plus_one = false;  ///< one is added to every value

  /// True where the bytes stay as they are.
  bool unchanged() const { return from->dtype == to.dtype && rows.empty() && !turned && !plus_one; }
};

/// What rounding to stored types did, over the tensors that were rounded.
struct RoundingError {
  std::size_t tensors = 0;
  double summed = 0;  ///< of a tensor: ‖written − values‖ / ‖values‖, Frobenius norms
  double worst = 0;
  std::string worst_tensor = {};

  double mean() const { return tensors > 0 ? summed / static_cast<double>(tensors) : 0; }
};

/// Bytes of `passage.to`, rounded from fp32 on all threads; beyond them, a few rows at a time are in memory (of a
/// turned matrix all in fp32). Adds to `error` unless the new type holds every value of the old. Throws Corruption for
/// NaN and infinity, Unsupported for values beyond the new type and types that hold no numbers.
std::vector<std::byte> passed(const TensorSource& source, const Passage& passage, RoundingError& error);

}  // namespace graft
