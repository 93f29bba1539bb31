#include "nn/context.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"

namespace graft {
namespace {

// Applies `hook(hooks, rows)` to each run of tokens and puts the results together; one run costs no copy.
template <typename Hook>
at::Tensor by_run(const std::vector<SlotRun>& runs, const at::Tensor& rows, const Hook& hook) {
  if (runs.size() == 1) return hook(runs[0].slot, at::Tensor(rows), TokenRange{0, rows.size(0)});
  std::vector<at::Tensor> parts;
  parts.reserve(runs.size());
  for (const auto& run : runs)
    parts.push_back(hook(run.slot, rows.narrow(0, run.tokens.begin, run.tokens.length), run.tokens));
  return at::cat(parts);
}

}  // namespace

Context::Context(const ParameterTable& parameters, std::vector<const SiteHooks*> slots, ForestPlan plan, KvCache* cache)
    : parameters_(parameters),
      slots_(std::move(slots)),
      plan_(std::move(plan)),
      cache_(cache),
      replacing_(replacing(slots_)) {
  for (const auto& run : plan_.runs) {
    if (run.slot >= static_cast<std::int32_t>(slots_.size()))
      fail(Category::Internal, "", "segment names adapter slot {} of {}", run.slot, slots_.size());
  }
  if (replacing_ == nullptr) return;
  for (const auto& run : plan_.runs) {
    if (hooks(run.slot) == replacing_) continue;
    fail(Category::InvalidArgument, "adapters",
         "a method that changes the base weights shares no batch with other adapters or the base model; run it alone");
  }
}

at::Tensor Context::parameter(std::int64_t index) const {
  const at::Tensor& base = parameters_.value(index);
  if (replacing_ == nullptr) return base;
  const at::Tensor replaced = replacing_->parameter(index);
  return replaced.defined() ? replaced.to(base.scalar_type()) : base;
}

bool Context::acts_on(const Site& site) const {
  return std::any_of(plan_.runs.begin(), plan_.runs.end(), [&](const SlotRun& run) {
    const SiteHooks* here = hooks(run.slot);
    return here != nullptr && here->acts_on(site);
  });
}

at::Tensor Context::adapt_input(const Site& site, const at::Tensor& x) const {
  if (!acts_on(site)) return x;
  return by_run(plan_.runs, x, [&](std::int32_t slot, const at::Tensor& rows, TokenRange) {
    const SiteHooks* here = hooks(slot);
    return here != nullptr && here->acts_on(site) ? here->input(site, rows) : rows;
  });
}

at::Tensor Context::adapt_output(const Site& site, const at::Tensor& x, const at::Tensor& y) const {
  if (!acts_on(site)) return y;
  return by_run(plan_.runs, y, [&](std::int32_t slot, const at::Tensor& rows, TokenRange range) {
    const SiteHooks* here = hooks(slot);
    if (here == nullptr || !here->acts_on(site)) return rows;
    return here->output(site, x.narrow(0, range.begin, range.length), rows);
  });
}

at::Tensor Context::linear(const Linear& map, const at::Tensor& x) const {
  const at::Tensor weight = parameter(map.weight);
  const auto bias = map.bias < 0 ? std::optional<at::Tensor>() : std::optional<at::Tensor>(parameter(map.bias));
  const at::Tensor adapted = adapt_input(map.site, x);
  const at::Tensor y = at::linear(adapted, map.layout == Layout::OutIn ? weight : weight.t(), bias);
  return adapt_output(map.site, x, y);
}

}  // namespace graft
