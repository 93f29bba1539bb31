// Rows of a batch by the adapter slots that they belong to, and what the adapters do to them.
#pragma once

#include <ATen/ATen.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "nn/exact_linear.h"
#include "nn/forest_plan.h"
#include "nn/low_rank.h"
#include "nn/parameters.h"
#include "nn/row_scale.h"
#include "nn/sites.h"

namespace graft {

/// One linear map of an architecture, by parameter index.
struct Linear {
  Site site;
  std::int64_t weight = -1;
  std::int64_t bias = -1;  ///< -1: none
  Layout layout = Layout::OutIn;
};

/// Immutable; the parameters and the adapters outlive it. x [N, in] and y [N, out] of its functions have the rows that
/// the runs cover.
class SlotRows {
 public:
  /// `slots` are adapters by slot, null where one is empty. Throws Internal where a run names a slot that is not there,
  /// InvalidArgument where an adapter that stands alone has some of the rows or none of them: nothing else shares a
  /// batch with it.
  SlotRows(const ParameterTable& parameters, std::vector<const SiteHooks*> slots, std::vector<SlotRun> runs,
           Activations activations);

  const std::vector<SlotRun>& runs() const { return runs_; }
  const SiteHooks* hooks(std::int32_t slot) const {
    return slot < 0 ? nullptr : slots_[static_cast<std::size_t>(slot)];
  }
  /// The adapter whose parameter() is in the base's place for all rows; null: none.
  const SiteHooks* alone() const { return alone_; }
  /// Whether rows of some slots have other numbers in base parameters than the base.
  bool any_changes() const { return any_changes_; }

  /// [N, …] of hook(slot, rows of x [n, …], which rows) of each run, put together; one run costs no copy.
  template <typename Hook>
  at::Tensor by_run(const at::Tensor& x, const Hook& hook) const {
    if (runs_.size() == 1) return hook(runs_[0].slot, at::Tensor(x), TokenRange{0, x.size(0)});
    std::vector<at::Tensor> parts;
    parts.reserve(runs_.size());
    for (const auto& run : runs_)
      parts.push_back(hook(run.slot, x.narrow(0, run.tokens.begin, run.tokens.length), run.tokens));
    return at::cat(parts);
  }

  bool acts_on(const Site& site) const;
  /// Of the maps' inputs.
  RowScales input_scales(const Site& site) const;
  /// Of their outputs; absent where an adapter does something else to them.
  std::optional<RowScales> output_scales(const Site& site) const;
  at::Tensor adapt_input(const Site& site, const at::Tensor& x) const;
  /// y through every adapter that acts on the site; x as in SiteHooks::output().
  at::Tensor adapt_output(const Site& site, const at::Tensor& x, const at::Tensor& y) const;
  at::Tensor sublayer(const Site& last, const at::Tensor& x, const at::Tensor& y) const;

  /// y, which the base's map made of x, with what the adapters' changes of its parameters make of their rows.
  at::Tensor changed_output(const Linear& map, const at::Tensor& x, const at::Tensor& y) const;
  /// Rows [N, C] of table `index` by ids [N], from those of the base's, with the adapters' changes of the table.
  at::Tensor changed_table_rows(std::int64_t index, const at::Tensor& ids, const at::Tensor& rows) const;

 private:
  // What some slots have, each once, and for each run the place of its slot's, or -1.
  template <typename Value>
  struct OfSlots {
    std::vector<Value> values;
    std::vector<SlotRun> runs;
  };

  const SiteHooks* the_only() const;
  template <typename Value, typename Take>
  std::optional<OfSlots<Value>> of_slots(const Take& take) const;
  template <typename ScaleOf>
  std::optional<RowScales> row_scales(const ScaleOf& scale_of) const;
  bool by_invariant_tiles(const at::Tensor& x, const at::Tensor& y) const;
  template <typename Hook>
  at::Tensor hooked(const at::Tensor& x, const at::Tensor& y, const Hook& hook) const;
  std::optional<LowRankRuns> low_rank_updates(const Site& site) const;
  std::optional<at::Tensor> updated_at_once(const Site& site, const at::Tensor& x, const at::Tensor& y) const;

  const ParameterTable& parameters_;
  std::vector<const SiteHooks*> slots_;
  std::vector<SlotRun> runs_;
  std::vector<std::int32_t> distinct_;  // slots of the runs, each once
  std::vector<std::size_t> places_;     // of each run's slot among them
  Activations activations_;
  const SiteHooks* alone_ = nullptr;
  bool any_changes_ = false;
};

/// y [n, out] of a map's site through one adapter that acts on it; x as in SiteHooks::output().
at::Tensor adapted_output(const SiteHooks& hooks, const Site& site, const at::Tensor& x, const at::Tensor& y);

}  // namespace graft
