#include "convert/passage.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace graft {
namespace {

// Sums of squares over some rows.
struct SquaredSums {
  double values = 0, rounding = 0;
};

bool holds_all(DType wide, DType narrow) {
  return wide == narrow || wide == DType::F64 ||
         (wide == DType::F32 && (narrow == DType::F16 || narrow == DType::BF16));
}

// A tensor as rows of values.
class TensorRows {
 public:
  TensorRows(const TensorSource& source, const Passage& passage) : source_(source), passage_(passage) {
    const auto& shape = passage.to.shape;
    // A vector whose entries change places has rows of one value.
    columns_ = shape.empty() || (shape.size() == 1 && !passage.rows.empty()) ? 1 : shape.back();
    count_ = columns_ == 0 ? 0 : passage.from->elements() / columns_;
    stored_ = source.bytes(*passage.from);
    if (!passage.turned) return;
    whole_.resize(static_cast<std::size_t>(count_ * columns_));
    to_float(passage.from->dtype, stored_, whole_);
  }

  std::int64_t count() const { return count_; }
  std::int64_t columns() const { return columns_; }

  void read(std::int64_t row, std::span<float> values) const {
    if (passage_.turned) {
      for (std::int64_t column = 0; column < columns_; ++column)
        values[static_cast<std::size_t>(column)] = whole_[static_cast<std::size_t>(column * count_ + row)];
    } else {
      const auto from =
          static_cast<std::size_t>(passage_.rows.empty() ? row : passage_.rows[static_cast<std::size_t>(row)]);
      const std::size_t bytes = stored_.size() / static_cast<std::size_t>(count_);
      to_float(passage_.from->dtype, stored_.subspan(from * bytes, bytes), values);
    }
    const bool finite = std::ranges::all_of(values, [](float value) { return std::isfinite(value); });
    if (!finite)
      fail(Category::Corruption, source_.files()[passage_.from->file].string(),
           "tensor {} holds NaN or infinity; fetch the model again", passage_.from->name);
    if (!passage_.plus_one) return;
    for (float& value : values) value += 1;
  }

 private:
  const TensorSource& source_;
  const Passage& passage_;
  std::int64_t columns_ = 0, count_ = 0;
  std::span<const std::byte> stored_;
  std::vector<float> whole_;  // of a turned matrix
};

SquaredSums compared(const Passage& passage, std::span<const float> values, std::span<const float> written) {
  SquaredSums sums;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(written[i]))
      fail(Category::Unsupported, passage.from->name, "its values do not fit {}; choose --dtype bfloat16 or float32",
           name(passage.to.dtype));
    const double value = values[i], off = static_cast<double>(written[i]) - value;
    sums.values += value * value;
    sums.rounding += off * off;
  }
  return sums;
}

void add_error(RoundingError& error, const Passage& passage, const std::vector<SquaredSums>& parts) {
  SquaredSums all;
  for (const SquaredSums& part : parts) {
    all.values += part.values;
    all.rounding += part.rounding;
  }
  const double relative = all.values > 0 ? std::sqrt(all.rounding / all.values) : 0;
  if (error.tensors == 0 || relative > error.worst) {
    error.worst = relative;
    error.worst_tensor = passage.to.name;
  }
  error.summed += relative;
  ++error.tensors;
}

}  // namespace

std::vector<std::byte> passed(const TensorSource& source, const Passage& passage, RoundingError& error) {
  constexpr std::int64_t kValuesAtATime = 1 << 16;
  const TensorRows rows(source, passage);
  if (rows.count() == 0) return {};
  const DType type = passage.to.dtype;
  const std::int64_t columns = rows.columns(), step = std::max<std::int64_t>(1, kValuesAtATime / columns);
  const auto width = static_cast<std::size_t>(columns),
             row_bytes = static_cast<std::size_t>(columns / block_elements(type) * block_bytes(type));
  const std::int64_t parts = (rows.count() + step - 1) / step;
  std::vector<std::byte> bytes(static_cast<std::size_t>(rows.count()) * row_bytes);
  std::vector<SquaredSums> sums(static_cast<std::size_t>(parts));
  at::parallel_for(0, parts, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> values, written;
    for (std::int64_t part = begin; part < end; ++part) {
      const std::int64_t first = part * step, count = std::min(step, rows.count() - first);
      values.resize(static_cast<std::size_t>(count) * width);
      written.resize(values.size());
      for (std::int64_t row = 0; row < count; ++row)
        rows.read(first + row, std::span(values).subspan(static_cast<std::size_t>(row) * width, width));
      const auto out = std::span(bytes).subspan(static_cast<std::size_t>(first) * row_bytes,
                                                static_cast<std::size_t>(count) * row_bytes);
      from_float(type, values, out);
      to_float(type, out, written);
      sums[static_cast<std::size_t>(part)] = compared(passage, values, written);
    }
  });
  if (!holds_all(type, passage.from->dtype)) add_error(error, passage, sums);
  return bytes;
}

}  // namespace graft
