#include "objectives/lm.h"

#include <ATen/ATen.h>

#include "base/error.h"

namespace graft {

at::Tensor lm_loss(const at::Tensor& log_p, const ChoiceBatch& batch) {
  std::vector<bool> right(static_cast<std::size_t>(batch.choices()), false);
  for (std::size_t e = 0; e < batch.labels.size(); ++e) {
    const auto label = batch.labels[e], first = batch.first_choice[e], end = batch.first_choice[e + 1];
    if (label < 0 || label >= end - first)
      fail(Category::InvalidArgument, "label", "{} of an example with {} choices", label, end - first);
    right[static_cast<std::size_t>(first + label)] = true;
  }
  std::vector<std::int64_t> rows;
  for (std::size_t t = 0; t < batch.scored.size(); ++t) {
    if (right[static_cast<std::size_t>(batch.scored[t].choice)]) rows.push_back(static_cast<std::int64_t>(t));
  }
  return log_p.index_select(0, at::tensor(rows, at::kLong).to(log_p.device())).mean().neg();
}

}  // namespace graft
