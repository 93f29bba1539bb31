// What one forward pass carries through the blocks: parameters, adapters and where their tokens are.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/model_config.h"
#include "nn/activation.h"
#include "nn/forest_plan.h"
#include "nn/parameters.h"
#include "nn/relative_bias.h"
#include "nn/sites.h"
#include "nn/slot_rows.h"

namespace graft {

class KvCache;

/// A norm of an architecture, by parameter index.
struct Norm {
  std::int64_t weight = -1;
  std::int64_t bias = -1;  ///< -1: none
};

/// Hooks of the adapters in use, by slot. Throws as SlotRows.
class Context {
 public:
  Context(const ParameterTable& parameters, std::vector<const SiteHooks*> slots, ForestPlan plan,
          KvCache* cache = nullptr, Activations activations = Activations::Exact);

  const ForestPlan& plan() const { return plan_; }
  KvCache* cache() const { return cache_; }

  /// Rows [N, C] of table `index` by ids [N], one for each token of the plan.
  at::Tensor rows(std::int64_t index, const at::Tensor& ids) const;
  /// relative_bias() of each of the plan's calls, from table `index`.
  std::vector<at::Tensor> relative_biases(std::int64_t index, const RelativeBuckets& buckets) const;
  /// y [N, out] = x [N, in] through the map and every adapter that acts on its site.
  at::Tensor linear(const Linear& map, const at::Tensor& x) const;
  /// The same of several maps of one x, which are computed together where adapters leave x as it is and that is faster.
  std::vector<at::Tensor> linear(const std::vector<Linear>& maps, const at::Tensor& x) const;
  /// linear() of gated(activate, gate, up). Where adapters do no more than scale it before the map, one pass gates and
  /// scales, and the product of both is kept by nobody.
  at::Tensor linear_of_gated(const Linear& map, Activation activate, const at::Tensor& gate,
                             const at::Tensor& up) const;
  /// Adapters' output hooks alone, for roles that are slices of a fused map: x is the fused map's input.
  at::Tensor adapt_output(const Site& site, const at::Tensor& x, const at::Tensor& y) const {
    return rows_.adapt_output(site, x, y);
  }
  /// Adapters' input scales alone.
  at::Tensor adapt_input(const Site& site, const at::Tensor& x) const { return rows_.adapt_input(site, x); }
  /// Adapters' sublayer hooks on the output y of the attention or feed-forward that ends at site `last`.
  at::Tensor sublayer(const Site& last, const at::Tensor& x, const at::Tensor& y) const {
    return rows_.sublayer(last, x, y);
  }
  /// Rows [N, C] of table `index` for the plan's tokens, through every adapter that acts on the stack's embeddings,
  /// times `scale`; then the adapters' prompts in their virtual
  /// tokens' places. In fp32, and with them the residual stream of pre-norm models, whatever the maps compute in: sixty
  /// sums in bf16 would cost more digits than all maps together.
  at::Tensor embed(Stack stack, std::int64_t index, double scale = 1) const;
  /// Keys and values [N, G, D] with the adapters' prefixes in their virtual tokens' places.
  std::pair<at::Tensor, at::Tensor> with_prefixes(Stack stack, std::int64_t layer, const at::Tensor& keys,
                                                  const at::Tensor& values) const;
  /// rms_norm() or layer_norm() of x [N, …] with every slot's own vectors, in the compute dtype.
  at::Tensor rms_norm(const Norm& norm, const at::Tensor& x, double eps, NormWeight weight = NormWeight::Rounded) const;
  at::Tensor layer_norm(const Norm& norm, const at::Tensor& x, double eps) const;

 private:
  template <typename Apply>
  at::Tensor normalised(const Norm& norm, const at::Tensor& x, const Apply& apply) const;
  at::Tensor replacement(std::int64_t index) const;
  at::Tensor parameter(std::int64_t index) const;
  std::optional<at::Tensor> bias_of(const Linear& map) const;
  at::Tensor norm_vector(std::int32_t slot, std::int64_t index) const;
  at::Tensor bias_of_runs(std::int64_t index, const AttentionCall& call, const RelativeBuckets& buckets) const;
  std::vector<at::Tensor> products(const std::vector<Linear>& maps, const at::Tensor& x) const;

  const ParameterTable& parameters_;
  ForestPlan plan_;
  SlotRows rows_;
  KvCache* cache_;
  Activations activations_;
};

}  // namespace graft
