#include "convert/merged_weights.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

namespace graft {

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

FrozenAdapter::FrozenAdapter(const Model& model, const Adapter* adapter) : adapter_(adapter) {
  if (adapter != nullptr && adapter->replaces_parameters()) merged_.emplace(model, *adapter);
}

std::vector<const SiteHooks*> FrozenAdapter::slots() const {
  if (merged_) return {&*merged_};
  return adapter_ == nullptr ? std::vector<const SiteHooks*>() : std::vector<const SiteHooks*>{adapter_};
}

}  // namespace graft
