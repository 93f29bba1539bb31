#include "nn/slot_rows.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"
#include "nn/learns.h"
#include "nn/sparse_change.h"

namespace graft {
namespace {

std::optional<SparseDifference> difference_of(const SiteHooks& hooks, std::int64_t index,
                                              const ParameterTable& parameters) {
  const auto change = index < 0 ? std::nullopt : hooks.change(index);
  return change ? std::optional(difference(*change, parameters.value(index))) : std::nullopt;
}

}  // namespace

SlotRows::SlotRows(const ParameterTable& parameters, std::vector<const SiteHooks*> slots, std::vector<SlotRun> runs,
                   Activations activations)
    : parameters_(parameters), slots_(std::move(slots)), runs_(std::move(runs)), activations_(activations) {
  std::map<std::int32_t, std::size_t> places;
  for (const auto& run : runs_) {
    if (run.slot >= static_cast<std::int32_t>(slots_.size()))
      fail(Category::Internal, "", "segment names adapter slot {} of {}", run.slot, slots_.size());
    const auto [place, fresh] = places.try_emplace(run.slot, distinct_.size());
    if (fresh) distinct_.push_back(run.slot);
    places_.push_back(place->second);
  }
  alone_ = the_only();
  any_changes_ = alone_ == nullptr && std::any_of(distinct_.begin(), distinct_.end(), [this](std::int32_t slot) {
                   return hooks(slot) != nullptr && hooks(slot)->changes_by_places();
                 });
}

// An adapter that could share the batch is the only one where no other slot is there: then it is no more expensive to
// put whole parameters together, and they can be made beforehand (FrozenAdapter).
const SiteHooks* SlotRows::the_only() const {
  const auto has_all = [this](const SiteHooks* one) {
    return std::all_of(distinct_.begin(), distinct_.end(), [&](std::int32_t slot) { return hooks(slot) == one; });
  };
  if (const SiteHooks* alone = standing_alone(slots_); alone != nullptr) {
    if (has_all(alone)) return alone;
    fail(Category::InvalidArgument, "adapters",
         "a method that changes all of the base's weights shares no batch with other adapters or the base model; run "
         "it alone");
  }
  const SiteHooks* one = slots_.size() == 1 ? slots_.front() : nullptr;
  return one != nullptr && one->replaces_parameters() && has_all(one) ? one : nullptr;
}

bool SlotRows::acts_on(const Site& site) const {
  return std::any_of(distinct_.begin(), distinct_.end(), [&](std::int32_t slot) {
    const SiteHooks* here = hooks(slot);
    return here != nullptr && here->acts_on(site);
  });
}

// take(slot, values) puts behind the others what a slot has, if it has anything; absent where that is false of one.
// Every map of a pass asks: a slot is asked once, however many runs it has.
template <typename Value, typename Take>
std::optional<SlotRows::OfSlots<Value>> SlotRows::of_slots(const Take& take) const {
  OfSlots<Value> result;
  std::vector<std::int32_t> place_of(distinct_.size(), -1);
  for (std::size_t i = 0; i < distinct_.size(); ++i) {
    const std::size_t next = result.values.size();
    if (!take(distinct_[i], result.values)) return std::nullopt;
    if (result.values.size() > next) place_of[i] = static_cast<std::int32_t>(next);
  }
  result.runs.reserve(runs_.size());
  for (std::size_t run = 0; run < runs_.size(); ++run)
    result.runs.push_back({runs_[run].tokens, place_of[places_[run]]});
  return result;
}

// The tensor scale_of(slot) gives, undefined for none, for each slot; absent where one of them does something else.
template <typename ScaleOf>
std::optional<RowScales> SlotRows::row_scales(const ScaleOf& scale_of) const {
  auto found = of_slots<at::Tensor>([&](std::int32_t slot, std::vector<at::Tensor>& scales) {
    std::optional<at::Tensor> scale = scale_of(slot);
    if (scale && scale->defined()) scales.push_back(std::move(*scale));
    return scale.has_value();
  });
  return found ? std::optional(RowScales{std::move(found->values), std::move(found->runs)}) : std::nullopt;
}

RowScales SlotRows::input_scales(const Site& site) const {
  return *row_scales([&](std::int32_t slot) -> std::optional<at::Tensor> {
    const SiteHooks* here = hooks(slot);
    return here != nullptr && here->acts_on(site) ? here->input_scale(site) : at::Tensor();
  });
}

std::optional<RowScales> SlotRows::output_scales(const Site& site) const {
  return row_scales([&](std::int32_t slot) -> std::optional<at::Tensor> {
    const SiteHooks* here = hooks(slot);
    return here != nullptr && here->acts_on(site) ? here->output_scale(site) : at::Tensor();
  });
}

at::Tensor SlotRows::adapt_input(const Site& site, const at::Tensor& x) const {
  return acts_on(site) ? scale_rows(x, input_scales(site)) : x;
}

// Whether products of rows x and y are to have the same bits beside any other rows.
bool SlotRows::by_invariant_tiles(const at::Tensor& x, const at::Tensor& y) const {
  return activations_ == Activations::BatchInvariant && !learns(x) && !learns(y);
}

// hook(x, y) of rows x and y [n, …], whose own products are batch-invariant where the base's are.
template <typename Hook>
at::Tensor SlotRows::hooked(const at::Tensor& x, const at::Tensor& y, const Hook& hook) const {
  if (!by_invariant_tiles(x, y)) return hook(x, y);
  return by_tiles({x, y}, [&](const std::vector<at::Tensor>& tile) { return hook(tile[0], tile[1]); });
}

// Of the slots that scale no output; absent where one of them does something else.
std::optional<LowRankRuns> SlotRows::low_rank_updates(const Site& site) const {
  auto found = of_slots<LowRankUpdate>([&](std::int32_t slot, std::vector<LowRankUpdate>& updates) {
    const SiteHooks* here = hooks(slot);
    if (here == nullptr || !here->acts_on(site) || here->output_scale(site)) return true;
    auto update = here->low_rank(site);
    if (update) updates.push_back(std::move(*update));
    return update.has_value();
  });
  return found ? std::optional(LowRankRuns{std::move(found->values), std::move(found->runs)}) : std::nullopt;
}

// y of all runs where each slot has its rows scaled or adds an update of low rank to them: two passes, each of which
// leaves the others' rows as they are.
std::optional<at::Tensor> SlotRows::updated_at_once(const Site& site, const at::Tensor& x, const at::Tensor& y) const {
  if (runs_.size() < 2 || by_invariant_tiles(x, y)) return std::nullopt;
  const auto updates = low_rank_updates(site);
  if (!updates) return std::nullopt;
  const auto scales = row_scales([&](std::int32_t slot) -> std::optional<at::Tensor> {
    const SiteHooks* here = hooks(slot);
    return here != nullptr && here->acts_on(site) ? here->output_scale(site).value_or(at::Tensor()) : at::Tensor();
  });
  return low_rank_sums(scale_rows(y, *scales), x, *updates);
}

at::Tensor SlotRows::adapt_output(const Site& site, const at::Tensor& x, const at::Tensor& y) const {
  if (!acts_on(site)) return y;
  if (const auto scales = output_scales(site)) return scale_rows(y, *scales);
  if (const auto updated = updated_at_once(site, x, y)) return *updated;
  return by_run(y, [&](std::int32_t slot, const at::Tensor& rows, TokenRange range) {
    const SiteHooks* here = hooks(slot);
    if (here == nullptr || !here->acts_on(site)) return rows;
    return hooked(x.narrow(0, range.begin, range.length), rows, [&](const at::Tensor& read, const at::Tensor& written) {
      return adapted_output(*here, site, read, written);
    });
  });
}

at::Tensor SlotRows::sublayer(const Site& last, const at::Tensor& x, const at::Tensor& y) const {
  const auto changes = [&](std::int32_t slot) { return hooks(slot) != nullptr && hooks(slot)->changes_sublayer(last); };
  if (std::none_of(distinct_.begin(), distinct_.end(), changes)) return y;
  return by_run(y, [&](std::int32_t slot, const at::Tensor& rows, TokenRange range) {
    if (!changes(slot)) return rows;
    return hooked(x.narrow(0, range.begin, range.length), rows, [&](const at::Tensor& read, const at::Tensor& written) {
      return hooks(slot)->sublayer(last, read, written);
    });
  });
}

at::Tensor SlotRows::changed_output(const Linear& map, const at::Tensor& x, const at::Tensor& y) const {
  if (!any_changes_) return y;
  return by_run(y, [&](std::int32_t slot, const at::Tensor& rows, TokenRange range) {
    const SiteHooks* here = hooks(slot);
    if (here == nullptr || !here->changes_by_places()) return rows;
    MapDifference by;
    by.weight = difference_of(*here, map.weight, parameters_);
    by.bias = difference_of(*here, map.bias, parameters_);
    by.layout = map.layout;
    if (!by.weight && !by.bias) return rows;
    return hooked(x.narrow(0, range.begin, range.length), rows, [&](const at::Tensor& read, const at::Tensor& written) {
      return with_difference(written, read, by);
    });
  });
}

at::Tensor SlotRows::changed_table_rows(std::int64_t index, const at::Tensor& ids, const at::Tensor& rows) const {
  if (!any_changes_) return rows;
  return by_run(rows, [&](std::int32_t slot, const at::Tensor& base, TokenRange range) {
    const SiteHooks* here = hooks(slot);
    const auto change = here != nullptr && here->changes_by_places() ? here->change(index) : std::nullopt;
    return change ? changed_rows(base, ids.narrow(0, range.begin, range.length), *change) : base;
  });
}

at::Tensor adapted_output(const SiteHooks& hooks, const Site& site, const at::Tensor& x, const at::Tensor& y) {
  const auto scale = hooks.output_scale(site);
  if (!scale) return hooks.output(site, x, y);
  return scale->defined() ? scale_rows(y, *scale) : y;
}

}  // namespace graft
