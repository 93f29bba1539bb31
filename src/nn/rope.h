// Rotary position embeddings (Su et al. 2021) in the half-split layout of Hugging Face's Llama, with the published
// scalings.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "config/model_config.h"

namespace graft {

/// Cosines and sines of the positions of one forward pass.
struct RopeTable {
  at::Tensor cos;  ///< [N, D/2] fp32
  at::Tensor sin;  ///< [N, D/2] fp32
};

/// Inverse frequencies after scaling (none, linear, dynamic NTK, YaRN (Peng et al. 2023), llama3, LongRoPE (Ding et al.
/// 2024)), and the attention factor of YaRN and LongRoPE.
class Rope {
 public:
  /// Throws Corruption for an odd number of rotated dimensions.
  Rope(const RopeConfig& config, std::int64_t head_dim, std::int64_t max_positions);
  /// `positions` and `lengths` [N] int64; dynamic scaling and LongRoPE look at the length of each token's own sequence.
  RopeTable table(const at::Tensor& positions, const at::Tensor& lengths) const;

 private:
  at::Tensor inverse_frequencies(std::int64_t length) const;
  at::Tensor frequencies(const at::Tensor& lengths) const;

  RopeConfig config_;
  std::int64_t dim_;
  at::Tensor frequencies_;  // [1, D/2] fp32, undefined where they are of each length; LongRoPE's of short texts
  at::Tensor long_;         // [1, D/2] fp32, LongRoPE's of long ones
};

/// Whether a text that grows from `before` tokens, at least one, to `after` has all of its keys turned by other factors
/// from then on (LongRoPE), so that cached ones must be made anew.
bool turns_anew(const RopeConfig& config, std::int64_t before, std::int64_t after);

/// Rotates x [N, H, D]; dimensions beyond the table's stay as they are (partial rotation).
at::Tensor rotate(const at::Tensor& x, const RopeTable& table);
/// The same of x [N, H · D], as a map gives it. Returns [N, H, D].
at::Tensor rotate(const at::Tensor& x, std::int64_t head_dim, const RopeTable& table);

}  // namespace graft
