// An adapter merged into its base in memory: the same model computes with the new weights and no adapter.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <vector>

#include "adapters/core/method.h"
#include "convert/weight_work.h"

namespace graft {

/// Used as the hooks of a slot, in the adapter's place. Holds a copy of every weight the adapter changes, computed in
/// fp32 and rounded once to the model's dtype; the others stay the model's own, and are given back once they have been
/// looked at where mapped weights are streamed. Immutable.
class MergedWeights : public SiteHooks {
 public:
  /// Throws Unsupported for a method that cannot be merged.
  MergedWeights(const Model& model, const Adapter& adapter);

  at::Tensor parameter(std::int64_t index) const override { return values_[static_cast<std::size_t>(index)]; }
  bool replaces_parameters() const override { return true; }

 private:
  std::vector<at::Tensor> values_;  // undefined where the base's own value stays
};

/// Matrices that merging changes: weights of maps and tables (Adapter::merges_into_weight()), a fused map, which plays
/// several roles, once; of an adapter that replaces parameters those of positions, too. Nothing is computed for it, and
/// vectors (biases, norms) are left out.
std::set<std::int64_t> merged_parameters(const Model& model, const Adapter& adapter);

/// Bytes of the values that MergedWeights holds where it changes these parameters, and of the largest of them while it
/// is merged, in fp32.
std::int64_t merged_bytes(const Model& model, const std::set<std::int64_t>& changed);

/// What MergedWeights does, parameter by parameter, where it changes these. Refers to both.
std::vector<TensorWork> merging_work(const Model& model, const Adapter& adapter, const std::set<std::int64_t>& changed);

/// The slots of a model that nothing trains any more, at the least cost: parameters that an adapter replaces are worked
/// out once and not in every pass. Gives the same bits as the adapter. Must outlive the forward passes.
class FrozenAdapter {
 public:
  /// `adapter` may be null: no slot.
  FrozenAdapter(const Model& model, const Adapter* adapter);
  std::vector<const SiteHooks*> slots() const;

 private:
  const Adapter* adapter_;
  std::optional<MergedWeights> merged_;
};

}  // namespace graft
