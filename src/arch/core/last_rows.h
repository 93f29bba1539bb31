// What a model gives where only some tokens' hidden states are asked for, and what its last layer leaves out then.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "arch/core/model.h"
#include "nn/context.h"

namespace graft {

/// Of final hidden states [N, C] in the planned order what Model::forward() gives: [K, C] of the tokens that are asked
/// for (ForwardOptions::asked), or where that is empty all of them in the input's order.
at::Tensor asked_rows(const at::Tensor& hidden, const ForestPlan& plan, const std::vector<std::int64_t>& asked);

/// The rows of a pass of a decoder-only model: all of them, but behind the attention of the last layer only those of
/// the tokens that are asked for, if any are. The keys and values of the others are there by then, and nobody reads
/// more of them.
class LastRows {
 public:
  /// Of a pass through `layers` layers, whose context `all` outlives this.
  LastRows(const ParameterTable& parameters, const Context& all, const ForwardOptions& options, std::int64_t layers);

  /// What carries the rows behind the attention of layer `l`.
  const Context& behind(std::int64_t l) const { return fewer(l) ? *some_ : all_; }
  /// Those rows [K, …] of x [N, …].
  at::Tensor of(std::int64_t l, const at::Tensor& x) const;
  /// What carries the rows behind all layers.
  const Context& end() const { return behind(last_); }
  /// Of these what Model::forward() gives, as asked_rows().
  at::Tensor given(const at::Tensor& x) const { return some_ ? x : asked_rows(x, all_.plan(), {}); }

 private:
  bool fewer(std::int64_t l) const { return some_.has_value() && l == last_; }

  const Context& all_;
  std::int64_t last_;
  std::optional<Context> some_;
  at::Tensor index_;  // [K] planned rows
};

}  // namespace graft
