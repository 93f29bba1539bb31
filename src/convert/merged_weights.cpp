#include "convert/merged_weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/ScalarType.h>

#include <algorithm>

namespace graft {
namespace {

// Matrices of every kind, tables of positions too, of an adapter that replaces parameters.
std::set<std::int64_t> replaced_matrices(const Model& model, const Adapter& adapter) {
  std::set<std::int64_t> replaced;
  const auto& parameters = model.parameters().all();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto index = static_cast<std::int64_t>(i);
    const bool changes = adapter.changes_by_places() ? adapter.change(index).has_value() : !parameters[i].fixed;
    if (changes && parameters[i].store->shape().size() == 2) replaced.insert(index);
  }
  return replaced;
}

}  // namespace

MergedWeights::MergedWeights(const Model& model, const Adapter& adapter) {
  const at::NoGradGuard no_grad;
  const auto& parameters = model.parameters().all();
  const Residency& pages = model.parameters().residency();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor base = parameters[i].value();
    const at::Tensor merged = adapter.merged(static_cast<std::int64_t>(i), base);
    values_.push_back(merged.defined() ? merged.to(base.scalar_type()) : merged);
    if (pages.streams()) pages.release({static_cast<std::int64_t>(i)});
  }
}

std::set<std::int64_t> merged_parameters(const Model& model, const Adapter& adapter) {
  if (adapter.replaces_parameters()) return replaced_matrices(model, adapter);
  std::set<std::int64_t> changed;
  for (const RoleMap* roles : {&model.roles(), &model.tables()}) {
    for (const RoleEntry& entry : *roles) {
      if (adapter.merges_into_weight(entry.site)) changed.insert(model.parameters().index(entry.weight));
    }
  }
  changed.erase(-1);
  return changed;
}

std::int64_t merged_bytes(const Model& model, const std::set<std::int64_t>& changed) {
  constexpr std::int64_t kWideBytes = 4;  // of a value in fp32
  std::int64_t values = 0, largest = 0;
  for (const std::int64_t index : changed) {
    const std::int64_t elements = model.parameters().store(index).elements();
    values += elements;
    largest = std::max(largest, elements);
  }
  return values * static_cast<std::int64_t>(c10::elementSize(model.dtype())) + 2 * largest * kWideBytes;
}

std::vector<TensorWork> merging_work(const Model& model, const Adapter& adapter,
                                     const std::set<std::int64_t>& changed) {
  std::vector<TensorWork> work;
  const auto count = static_cast<std::int64_t>(model.parameters().all().size());
  for (std::int64_t index = 0; index < count; ++index) {
    const WeightStore& store = model.parameters().store(index);
    const auto merge = [&model, &adapter, index] {
      const at::NoGradGuard no_grad;
      const at::Tensor base = model.parameters().value(index), merged = adapter.merged(index, base);
      if (merged.defined()) merged.to(base.scalar_type());
    };
    work.push_back({(changed.contains(index) ? "merged " : "kept ") + store.kind(), store.elements(), merge});
  }
  return work;
}

FrozenAdapter::FrozenAdapter(const Model& model, const Adapter* adapter) : adapter_(adapter) {
  if (adapter != nullptr && adapter->replaces_parameters()) merged_.emplace(model, *adapter);
}

std::vector<const SiteHooks*> FrozenAdapter::slots() const {
  if (merged_) return {&*merged_};
  return adapter_ == nullptr ? std::vector<const SiteHooks*>() : std::vector<const SiteHooks*>{adapter_};
}

}  // namespace graft
