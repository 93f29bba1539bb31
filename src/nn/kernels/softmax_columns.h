// Softmax and its backward pass over the columns of a tile of scores.
#pragma once

#include <cstdint>

#include "nn/kernels/rows.h"

namespace graft::rows {

/// Scores q·k of some keys, a row each, and some queries, a column each, with the gradients of the probabilities they
/// become. Columns behind `columns` are room, as are rows behind `keys`: the results have zeros there. All slopes are
/// finite.
struct ScoreTile {
  float* scores = nullptr;        ///< [rows, stride]; overwritten
  const float* slopes = nullptr;  ///< [rows, stride]
  std::int64_t keys = 0, rows = 0, columns = 0, stride = 0;
  float factor = 1;                     ///< of the scores, before the softmax
  float scale = 1;                      ///< of the gradients of the scores
  const std::int64_t* first = nullptr;  ///< [keys] the first column that sees the key: those before it do not
  const std::int64_t* last = nullptr;   ///< [keys] the first one behind these that does not
};

/// Probabilities and gradients of scores as bfloat16, of a tile.
struct SoftmaxTile {
  Bits* shares = nullptr;  ///< [rows, stride]
  Bits* slopes = nullptr;  ///< [rows, stride]
};

/// Of each column p = softmax(factor · scores) and p · (slope - Σ p slope) · scale; A
/// column that sees no key has zeros.
void softmax_columns_backward(const ScoreTile& tile, const SoftmaxTile& out);

}  // namespace graft::rows
