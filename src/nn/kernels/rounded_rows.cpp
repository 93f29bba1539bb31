#include "nn/kernels/rounded_rows.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include "nn/kernels/any_row.h"

namespace graft {
namespace {

// Room for so many: tiles take them by sixteens.
std::size_t with_room(std::int64_t rows, std::int64_t group) {
  const std::int64_t whole = (rows + kAmxRows - 1) / kAmxRows * kAmxRows;
  return static_cast<std::size_t>(amx_pays(rows, group) ? whole : rows);
}

}  // namespace

RoundedRows::RoundedRows(const at::Tensor& x, std::int64_t group, std::int32_t offset)
    : group_(group), offset_(offset), columns_(x.size(1)), groups_(x.size(1) / group) {
  RECORD_USER_SCOPE("graft::round_rows");
  const std::size_t rows = with_room(x.size(0), group);
  codes_.resize(rows * static_cast<std::size_t>(columns_));
  starts_.resize(rows * static_cast<std::size_t>(groups_));
  scales_.resize(starts_.size());
  sums_.resize(starts_.size());
  at::parallel_for(0, x.size(0), rows::rows_per_thread(columns_), [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(columns_));
    for (std::int64_t n = begin; n < end; ++n) {
      rows::read(x, n * columns_, row.data(), columns_);
      round_row(row.data(), n);
    }
  });
}

TileInput RoundedRows::row(std::int64_t n) const {
  return {codes_.data() + n * columns_, starts_.data() + n * groups_, scales_.data() + n * groups_,
          sums_.data() + n * groups_};
}

void RoundedRows::round_row(const float* row, std::int64_t n) {
  const std::int64_t first = n * groups_;
  rows::quantise_groups(row, groups_, group_, codes_.data() + n * columns_, scales_.data() + first,
                        starts_.data() + first);
  for (std::int64_t g = first; g < first + groups_; ++g) {
    const auto at = static_cast<std::size_t>(g);
    // Where a scale is NaN, so is this: the scale carries it into every output of the row.
    sums_[at] = scales_[at] * static_cast<float>(starts_[at]);
    starts_[at] *= -offset_;
  }
}

}  // namespace graft
