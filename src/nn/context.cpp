#include "nn/context.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "nn/norm.h"
#include "nn/scaled_gate.h"

namespace graft {
namespace {

// x [N, …] with `rows_of(slot)` in each run's place, where that is defined.
template <typename RowsOf>
at::Tensor replaced(const std::vector<SlotRun>& runs, const at::Tensor& x, const RowsOf& rows_of) {
  std::vector<at::Tensor> parts;
  std::int64_t next = 0;
  // Each part costs a tensor of x's size in the backward pass, an empty one too.
  const auto keep_up_to = [&](std::int64_t end) {
    if (end > next) parts.push_back(x.narrow(0, next, end - next));
  };
  for (const auto& run : runs) {
    const at::Tensor rows = rows_of(run.slot);
    if (!rows.defined()) continue;
    keep_up_to(run.tokens.begin);
    parts.push_back(rows.to(x.scalar_type()));
    next = run.tokens.begin + run.tokens.length;
  }
  if (parts.empty()) return x;
  keep_up_to(x.size(0));
  return at::cat(parts);
}

}  // namespace

Context::Context(const ParameterTable& parameters, std::vector<const SiteHooks*> slots, ForestPlan plan, KvCache* cache,
                 Activations activations)
    : parameters_(parameters),
      plan_(std::move(plan)),
      rows_(parameters, std::move(slots), plan_.runs, activations),
      cache_(cache),
      activations_(activations) {}

// Undefined where the base's own parameter is in use.
at::Tensor Context::replacement(std::int64_t index) const {
  return graft::replacement(rows_.alone(), index, parameters_.dtype());
}

// For all rows alike: the base's, or what the only adapter has (in the compute dtype).
at::Tensor Context::parameter(std::int64_t index) const {
  const at::Tensor replaced = replacement(index);
  return replaced.defined() ? replaced : parameters_.value(index);
}

at::Tensor Context::rows(std::int64_t index, const at::Tensor& ids) const {
  const at::Tensor replaced = replacement(index);
  if (replaced.defined()) return at::embedding(replaced, ids);
  return rows_.changed_table_rows(index, ids, parameters_.store(index).rows(ids));
}

std::vector<at::Tensor> Context::relative_biases(std::int64_t index, const RelativeBuckets& buckets) const {
  std::vector<at::Tensor> biases;
  const at::Tensor table = parameter(index);
  for (const AttentionCall& call : plan_.calls) {
    biases.push_back(rows_.any_changes() ? bias_of_runs(index, call, buckets) : relative_bias(table, call, buckets));
  }
  return biases;
}

// Of each query by the table that its slot has.
at::Tensor Context::bias_of_runs(std::int64_t index, const AttentionCall& call, const RelativeBuckets& buckets) const {
  const std::int64_t begin = call.queries.begin, end = begin + call.queries.length;
  std::vector<at::Tensor> parts;
  for (const SlotRun& run : plan_.runs) {
    const std::int64_t first = std::max(begin, run.tokens.begin),
                       behind = std::min(end, run.tokens.begin + run.tokens.length);
    if (first >= behind) continue;
    AttentionCall part;
    part.query_positions = call.query_positions.narrow(0, first - begin, behind - first);
    part.key_positions = call.key_positions;
    const SiteHooks* here = rows_.hooks(run.slot);
    const at::Tensor changed = here != nullptr && here->changes_by_places()
                                   ? graft::replacement(here, index, parameters_.dtype())
                                   : at::Tensor();
    parts.push_back(relative_bias(changed.defined() ? changed : parameters_.value(index), part, buckets));
  }
  return parts.size() == 1 ? parts.front() : at::cat(parts, 1);
}

at::Tensor Context::embed(Stack stack, std::int64_t index, double scale) const {
  const at::Tensor embedded =
      adapt_output(embedding_site(stack), plan_.tokens, rows(index, plan_.tokens).to(at::kFloat));
  return replaced(plan_.virtual_tokens, scale == 1 ? embedded : embedded * scale,
                  [&](std::int32_t slot) { return rows_.hooks(slot)->prompt(stack); });
}

std::pair<at::Tensor, at::Tensor> Context::with_prefixes(Stack stack, std::int64_t layer, const at::Tensor& keys,
                                                         const at::Tensor& values) const {
  if (plan_.virtual_tokens.empty()) return {keys, values};
  std::map<std::int32_t, std::pair<at::Tensor, at::Tensor>> prefixes;
  for (const auto& run : plan_.virtual_tokens) {
    if (prefixes.count(run.slot) == 0) prefixes[run.slot] = rows_.hooks(run.slot)->prefix(stack, layer);
  }
  return {replaced(plan_.virtual_tokens, keys, [&](std::int32_t slot) { return prefixes.at(slot).first; }),
          replaced(plan_.virtual_tokens, values, [&](std::int32_t slot) { return prefixes.at(slot).second; })};
}

at::Tensor Context::norm_vector(std::int32_t slot, std::int64_t index) const {
  if (index < 0) return {};
  const SiteHooks* here = rows_.hooks(slot);
  const at::Tensor replaced = here == nullptr ? at::Tensor() : here->norm(index);
  return replaced.defined() ? replaced.to(parameters_.dtype()) : parameter(index);
}

template <typename Apply>
at::Tensor Context::normalised(const Norm& norm, const at::Tensor& x, const Apply& apply) const {
  const auto replaces = [&](const SlotRun& run) {
    const SiteHooks* here = rows_.hooks(run.slot);
    return here != nullptr &&
           (here->norm(norm.weight).defined() || (norm.bias >= 0 && here->norm(norm.bias).defined()));
  };
  if (std::none_of(plan_.runs.begin(), plan_.runs.end(), replaces))
    return apply(x, norm_vector(-1, norm.weight), norm_vector(-1, norm.bias));
  return rows_.by_run(x, [&](std::int32_t slot, const at::Tensor& rows, TokenRange) {
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

// Without what adapters do beside the maps.
std::vector<at::Tensor> Context::products(const std::vector<Linear>& maps, const at::Tensor& x) const {
  std::vector<StoredMap> stored;
  for (const Linear& map : maps)
    stored.push_back({&parameters_.store(map.weight), map.layout, bias_of(map), replacement(map.weight)});
  std::vector<at::Tensor> results = graft::linear(stored, x, activations_);
  for (std::size_t m = 0; m < maps.size(); ++m) results[m] = rows_.changed_output(maps[m], x, results[m]);
  return results;
}

at::Tensor Context::linear(const Linear& map, const at::Tensor& x) const {
  return adapt_output(map.site, x, products({map}, adapt_input(map.site, x)).front());
}

at::Tensor Context::linear_of_gated(const Linear& map, Activation activate, const at::Tensor& gate,
                                    const at::Tensor& up) const {
  const auto kind = rows_.acts_on(map.site) ? one_pass_gate(activate, gate, up) : std::nullopt;
  if (kind) {
    const RowScales before = rows_.input_scales(map.site);
    // What does more than scale the map's output may read the product that is not scaled.
    const auto behind = rows_.output_scales(map.site);
    if (!before.scales.empty() && behind)
      return scale_rows(products({map}, scaled_gate(*kind, gate, up, before)).front(), *behind);
  }
  return linear(map, gated(activate, gate, up));
}

std::vector<at::Tensor> Context::linear(const std::vector<Linear>& maps, const at::Tensor& x) const {
  const bool together =
      std::all_of(maps.begin(), maps.end(), [&](const Linear& map) { return adapt_input(map.site, x).is_same(x); });
  std::vector<at::Tensor> results;
  if (!together) {
    for (const Linear& map : maps) results.push_back(linear(map, x));
    return results;
  }
  results = products(maps, x);
  for (std::size_t m = 0; m < maps.size(); ++m) results[m] = adapt_output(maps[m].site, x, results[m]);
  return results;
}

}  // namespace graft
