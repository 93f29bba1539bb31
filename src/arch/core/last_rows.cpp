#include "arch/core/last_rows.h"

#include <ATen/ATen.h>

#include <utility>

namespace graft {

at::Tensor asked_rows(const at::Tensor& hidden, const ForestPlan& plan, const std::vector<std::int64_t>& asked) {
  if (asked.empty()) return plan.order ? hidden.index_select(0, *plan.order) : hidden;
  return hidden.index_select(0, at::tensor(planned_rows(plan, asked), at::kLong).to(hidden.device()));
}

LastRows::LastRows(const ParameterTable& parameters, const Context& all, const ForwardOptions& options,
                   std::int64_t layers)
    : all_(all), last_(layers - 1) {
  if (options.asked.empty()) return;
  const auto rows = planned_rows(all.plan(), options.asked);
  index_ = at::tensor(rows, at::kLong).to(all.plan().tokens.device());
  ForestPlan of_some;
  of_some.runs = chosen_runs(all.plan().runs, rows);
  some_.emplace(parameters, options.slots, std::move(of_some), nullptr, options.activations);
}

at::Tensor LastRows::of(std::int64_t l, const at::Tensor& x) const {
  return fewer(l) ? x.index_select(0, index_) : x;
}

}  // namespace graft
