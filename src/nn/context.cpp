#include "nn/context.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "base/error.h"
#include "nn/learns.h"
#include "nn/norm.h"
#include "nn/scaled_gate.h"

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

// x [N, …] with `rows_of(slot)` in each run's place, where that is defined.
template <typename RowsOf>
at::Tensor replaced(const std::vector<SlotRun>& runs, const at::Tensor& x, const RowsOf& rows_of) {
  std::vector<at::Tensor> parts;
  std::int64_t next = 0;
  for (const auto& run : runs) {
    const at::Tensor rows = rows_of(run.slot);
    if (!rows.defined()) continue;
    parts.push_back(x.narrow(0, next, run.tokens.begin - next));
    parts.push_back(rows.to(x.scalar_type()));
    next = run.tokens.begin + run.tokens.length;
  }
  if (parts.empty()) return x;
  parts.push_back(x.narrow(0, next, x.size(0) - next));
  return at::cat(parts);
}

// What some slots have, each once, and for each run the place of its slot's, or -1.
template <typename Value>
struct OfSlots {
  std::vector<Value> values;
  std::vector<SlotRun> runs;
};

// take(slot, values) puts behind the others what a slot has, if it has anything; absent where that is false of one.
template <typename Value, typename Take>
std::optional<OfSlots<Value>> of_slots(const std::vector<SlotRun>& runs, const Take& take) {
  OfSlots<Value> result;
  std::map<std::int32_t, std::int32_t> places;
  for (const auto& run : runs) {
    const auto [place, fresh] = places.try_emplace(run.slot, -1);
    if (fresh) {
      const std::size_t next = result.values.size();
      if (!take(run.slot, result.values)) return std::nullopt;
      if (result.values.size() > next) place->second = static_cast<std::int32_t>(next);
    }
    result.runs.push_back({run.tokens, place->second});
  }
  return result;
}

}  // namespace

Context::Context(const ParameterTable& parameters, std::vector<const SiteHooks*> slots, ForestPlan plan, KvCache* cache,
                 Activations activations)
    : parameters_(parameters),
      slots_(std::move(slots)),
      plan_(std::move(plan)),
      cache_(cache),
      activations_(activations),
      alone_(standing_alone(slots_)) {
  for (const auto& run : plan_.runs) {
    if (run.slot >= static_cast<std::int32_t>(slots_.size()))
      fail(Category::Internal, "", "segment names adapter slot {} of {}", run.slot, slots_.size());
  }
  if (alone_ == nullptr) return;
  for (const auto& run : plan_.runs) {
    if (hooks(run.slot) == alone_) continue;
    fail(Category::InvalidArgument, "adapters",
         "a method that changes the base weights or the head shares no batch with other adapters or the base model; "
         "run it alone");
  }
}

// Undefined where the base's own parameter is in use.
at::Tensor Context::replacement(std::int64_t index) const {
  return graft::replacement(alone_, index, parameters_.dtype());
}

at::Tensor Context::parameter(std::int64_t index) const {
  const at::Tensor replaced = replacement(index);
  return replaced.defined() ? replaced : parameters_.value(index);
}

at::Tensor Context::rows(std::int64_t index, const at::Tensor& ids) const {
  const at::Tensor replaced = replacement(index);
  return replaced.defined() ? at::embedding(replaced, ids) : parameters_.store(index).rows(ids);
}

bool Context::acts_on(const Site& site) const {
  return std::any_of(plan_.runs.begin(), plan_.runs.end(), [&](const SlotRun& run) {
    const SiteHooks* here = hooks(run.slot);
    return here != nullptr && here->acts_on(site);
  });
}

// The tensor scale_of(slot) gives, undefined for none, for each slot; absent where one of them does something else.
template <typename ScaleOf>
std::optional<RowScales> Context::row_scales(const ScaleOf& scale_of) const {
  const auto found = of_slots<at::Tensor>(plan_.runs, [&](std::int32_t slot, std::vector<at::Tensor>& scales) {
    const std::optional<at::Tensor> scale = scale_of(slot);
    if (scale && scale->defined()) scales.push_back(*scale);
    return scale.has_value();
  });
  if (!found) return std::nullopt;
  return RowScales{found->values.empty() ? at::Tensor() : at::stack(found->values), found->runs};
}

RowScales Context::input_scales(const Site& site) const {
  return *row_scales([&](std::int32_t slot) -> std::optional<at::Tensor> {
    const SiteHooks* here = hooks(slot);
    return here != nullptr && here->acts_on(site) ? here->input_scale(site) : at::Tensor();
  });
}

std::optional<RowScales> Context::output_scales(const Site& site) const {
  return row_scales([&](std::int32_t slot) -> std::optional<at::Tensor> {
    const SiteHooks* here = hooks(slot);
    return here != nullptr && here->acts_on(site) ? here->output_scale(site) : at::Tensor();
  });
}

at::Tensor Context::adapt_input(const Site& site, const at::Tensor& x) const {
  return acts_on(site) ? scale_rows(x, input_scales(site)) : x;
}

// Whether products of rows x and y are to have the same bits beside any other rows.
bool Context::by_invariant_tiles(const at::Tensor& x, const at::Tensor& y) const {
  return activations_ == Activations::BatchInvariant && !learns(x) && !learns(y);
}

// hook(x, y) of rows x and y [n, …], whose own products are batch-invariant where the base's are.
template <typename Hook>
at::Tensor Context::hooked(const at::Tensor& x, const at::Tensor& y, const Hook& hook) const {
  if (!by_invariant_tiles(x, y)) return hook(x, y);
  return by_tiles({x, y}, [&](const std::vector<at::Tensor>& tile) { return hook(tile[0], tile[1]); });
}

// Of the slots that scale no output; absent where one of them does something else.
std::optional<LowRankRuns> Context::low_rank_updates(const Site& site) const {
  const auto found = of_slots<LowRankUpdate>(plan_.runs, [&](std::int32_t slot, std::vector<LowRankUpdate>& updates) {
    const SiteHooks* here = hooks(slot);
    if (here == nullptr || !here->acts_on(site) || here->output_scale(site)) return true;
    const auto update = here->low_rank(site);
    if (update) updates.push_back(*update);
    return update.has_value();
  });
  return found ? std::optional(LowRankRuns{found->values, found->runs}) : std::nullopt;
}

// y of all runs where each slot has its rows scaled or adds an update of low rank to them: two passes, each of which
// leaves the others' rows as they are.
std::optional<at::Tensor> Context::updated_at_once(const Site& site, const at::Tensor& x, const at::Tensor& y) const {
  if (plan_.runs.size() < 2 || by_invariant_tiles(x, y)) return std::nullopt;
  const auto updates = low_rank_updates(site);
  if (!updates) return std::nullopt;
  const auto scales = row_scales([&](std::int32_t slot) -> std::optional<at::Tensor> {
    const SiteHooks* here = hooks(slot);
    return here != nullptr && here->acts_on(site) ? here->output_scale(site).value_or(at::Tensor()) : at::Tensor();
  });
  return low_rank_sums(scale_rows(y, *scales), x, *updates);
}

at::Tensor Context::adapt_output(const Site& site, const at::Tensor& x, const at::Tensor& y) const {
  if (!acts_on(site)) return y;
  if (const auto scales = output_scales(site)) return scale_rows(y, *scales);
  if (const auto updated = updated_at_once(site, x, y)) return *updated;
  return by_run(plan_.runs, y, [&](std::int32_t slot, const at::Tensor& rows, TokenRange range) {
    const SiteHooks* here = hooks(slot);
    if (here == nullptr || !here->acts_on(site)) return rows;
    return hooked(x.narrow(0, range.begin, range.length), rows, [&](const at::Tensor& read, const at::Tensor& written) {
      return adapted_output(*here, site, read, written);
    });
  });
}

at::Tensor Context::sublayer(const Site& last, const at::Tensor& x, const at::Tensor& y) const {
  if (!acts_on(last)) return y;
  return by_run(plan_.runs, y, [&](std::int32_t slot, const at::Tensor& rows, TokenRange range) {
    const SiteHooks* here = hooks(slot);
    if (here == nullptr || !here->acts_on(last)) return rows;
    return hooked(x.narrow(0, range.begin, range.length), rows, [&](const at::Tensor& read, const at::Tensor& written) {
      return here->sublayer(last, read, written);
    });
  });
}

at::Tensor Context::embed(Stack stack, std::int64_t index, double scale) const {
  const at::Tensor embedded =
      adapt_output(embedding_site(stack), plan_.tokens, rows(index, plan_.tokens).to(at::kFloat));
  return replaced(plan_.virtual_tokens, scale == 1 ? embedded : embedded * scale,
                  [&](std::int32_t slot) { return hooks(slot)->prompt(stack); });
}

std::pair<at::Tensor, at::Tensor> Context::with_prefixes(Stack stack, std::int64_t layer, const at::Tensor& keys,
                                                         const at::Tensor& values) const {
  if (plan_.virtual_tokens.empty()) return {keys, values};
  std::map<std::int32_t, std::pair<at::Tensor, at::Tensor>> prefixes;
  for (const auto& run : plan_.virtual_tokens) {
    if (prefixes.count(run.slot) == 0) prefixes[run.slot] = hooks(run.slot)->prefix(stack, layer);
  }
  return {replaced(plan_.virtual_tokens, keys, [&](std::int32_t slot) { return prefixes.at(slot).first; }),
          replaced(plan_.virtual_tokens, values, [&](std::int32_t slot) { return prefixes.at(slot).second; })};
}

at::Tensor Context::norm_vector(std::int32_t slot, std::int64_t index) const {
  if (index < 0) return {};
  const SiteHooks* here = hooks(slot);
  const at::Tensor replaced = here == nullptr ? at::Tensor() : here->norm(index);
  return replaced.defined() ? replaced.to(parameters_.dtype()) : parameter(index);
}

template <typename Apply>
at::Tensor Context::normalised(const Norm& norm, const at::Tensor& x, const Apply& apply) const {
  const auto replaces = [&](const SlotRun& run) {
    const SiteHooks* here = hooks(run.slot);
    return here != nullptr &&
           (here->norm(norm.weight).defined() || (norm.bias >= 0 && here->norm(norm.bias).defined()));
  };
  if (std::none_of(plan_.runs.begin(), plan_.runs.end(), replaces))
    return apply(x, norm_vector(-1, norm.weight), norm_vector(-1, norm.bias));
  return by_run(plan_.runs, x, [&](std::int32_t slot, const at::Tensor& rows, TokenRange) {
    return apply(rows, norm_vector(slot, norm.weight), norm_vector(slot, norm.bias));
  });
}

at::Tensor Context::rms_norm(const Norm& norm, const at::Tensor& x, double eps, NormWeight kind) const {
  return normalised(norm, x, [&](const at::Tensor& rows, const at::Tensor& stored, const at::Tensor&) {
    const at::Tensor weight = kind == NormWeight::Rounded ? stored : stored.to(at::kFloat);
    return graft::rms_norm(rows, kind == NormWeight::WidePlusOne ? weight + 1 : weight, eps, stored.scalar_type());
  });
}

at::Tensor Context::layer_norm(const Norm& norm, const at::Tensor& x, double eps) const {
  return normalised(norm, x, [eps](const at::Tensor& rows, const at::Tensor& weight, const at::Tensor& bias) {
    return graft::layer_norm(rows, weight, bias, eps);
  });
}

std::optional<at::Tensor> Context::bias_of(const Linear& map) const {
  return map.bias < 0 ? std::optional<at::Tensor>() : std::optional<at::Tensor>(parameter(map.bias));
}

at::Tensor Context::product(const Linear& map, const at::Tensor& x) const {
  const at::Tensor weight = replacement(map.weight);
  const auto bias = bias_of(map);
  return weight.defined() ? exact_linear(x, map.layout == Layout::OutIn ? weight : weight.t(), bias, activations_)
                          : parameters_.store(map.weight).linear(x, map.layout, bias, activations_);
}

at::Tensor Context::linear(const Linear& map, const at::Tensor& x) const {
  return adapt_output(map.site, x, product(map, adapt_input(map.site, x)));
}

at::Tensor Context::linear_of_gated(const Linear& map, Activation activate, const at::Tensor& gate,
                                    const at::Tensor& up) const {
  const auto kind = acts_on(map.site) ? one_pass_gate(activate, gate, up) : std::nullopt;
  if (kind) {
    const RowScales before = input_scales(map.site);
    // What does more than scale the map's output may read the product that is not scaled.
    const auto behind = output_scales(map.site);
    if (before.scales.defined() && behind)
      return scale_rows(product(map, scaled_gate(*kind, gate, up, before)), *behind);
  }
  return linear(map, gated(activate, gate, up));
}

std::vector<at::Tensor> Context::linear(const std::vector<Linear>& maps, const at::Tensor& x) const {
  const bool replaces = alone_ != nullptr && alone_->replaces_parameters();
  const bool together = !replaces && std::none_of(maps.begin(), maps.end(), [&](const Linear& map) {
    return !adapt_input(map.site, x).is_same(x);
  });
  std::vector<at::Tensor> results;
  if (!together) {
    for (const Linear& map : maps) results.push_back(linear(map, x));
    return results;
  }
  std::vector<StoredMap> stored;
  for (const Linear& map : maps) stored.push_back({&parameters_.store(map.weight), map.layout, bias_of(map)});
  results = graft::linear(stored, x, activations_);
  for (std::size_t m = 0; m < maps.size(); ++m) results[m] = adapt_output(maps[m].site, x, results[m]);
  return results;
}

at::Tensor adapted_output(const SiteHooks& hooks, const Site& site, const at::Tensor& x, const at::Tensor& y) {
  const auto scale = hooks.output_scale(site);
  if (!scale) return hooks.output(site, x, y);
  return scale->defined() ? scale_rows(y, *scale) : y;
}

}  // namespace graft
