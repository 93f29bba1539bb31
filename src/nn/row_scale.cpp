#include "nn/row_scale.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "base/error.h"
#include "nn/kernels/any_row.h"
#include "nn/learns.h"

namespace graft {
namespace {

// The run that row n is of.
std::vector<SlotRun>::const_iterator run_of_row(const std::vector<SlotRun>& runs, std::int64_t n) {
  return std::partition_point(runs.begin(), runs.end(),
                              [n](const SlotRun& run) { return run.tokens.begin + run.tokens.length <= n; });
}

at::Tensor scaled_by_rows(const at::Tensor& given, at::TensorList scales, const std::vector<SlotRun>& runs) {
  RECORD_USER_SCOPE("graft::scale_rows");
  const at::Tensor x = given.contiguous();
  at::Tensor y = rows::empty(x.sizes(), x.scalar_type());
  const std::int64_t width = x.size(1);
  const ScaleVectors vectors(scales, width);
  at::parallel_for(0, x.size(0), rows::rows_per_thread(width), [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(width));
    for (auto run = run_of_row(runs, begin); run != runs.end() && run->tokens.begin < end; ++run) {
      if (const auto next = std::next(run); next != runs.end()) vectors.ask_for(next->slot);
      const float* scale = vectors.of(run->slot);
      const std::int64_t last = std::min(end, run->tokens.begin + run->tokens.length);
      for (std::int64_t n = std::max(begin, run->tokens.begin); n < last; ++n) {
        rows::read(x, n * width, row.data(), width);
        if (scale != nullptr) rows::multiply(row.data(), scale, width);
        rows::write(row.data(), y, n * width, width);
      }
    }
  });
  return y;
}

// For each of the scales. Columns are shared out among threads, so that a sum does not depend on their number.
std::vector<at::Tensor> sums_by_rows(const at::Tensor& x, const at::Tensor& grad, at::TensorList scales,
                                     const std::vector<SlotRun>& runs) {
  RECORD_USER_SCOPE("graft::scale_rows_backward");
  const std::int64_t width = x.size(1);
  std::vector<at::Tensor> sums;
  std::vector<float*> firsts;
  for (const auto& scale : scales) {
    sums.push_back(rows::empty(scale.sizes(), at::kFloat));
    firsts.push_back(sums.back().data_ptr<float>());
  }
  at::parallel_for(0, width, 128, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t count = end - begin;
    for (float* first : firsts) std::fill_n(first + begin, count, 0.0F);
    std::vector<float> values(static_cast<std::size_t>(count)), grads(static_cast<std::size_t>(count));
    for (const auto& run : runs) {
      if (run.slot < 0) continue;
      float* sum = firsts[static_cast<std::size_t>(run.slot)] + begin;
      for (std::int64_t n = run.tokens.begin; n < run.tokens.begin + run.tokens.length; ++n) {
        rows::read(x, n * width + begin, values.data(), count);
        rows::read(grad, n * width + begin, grads.data(), count);
        rows::add_products(sum, values.data(), grads.data(), count);
      }
    }
  });
  return sums;
}

// For each row the place of its vector; of those without one, of what is behind the last.
std::vector<std::int64_t> scale_of_row(const std::vector<SlotRun>& runs, std::int64_t behind) {
  std::vector<std::int64_t> result;
  for (const auto& run : runs)
    result.insert(result.end(), static_cast<std::size_t>(run.tokens.length), run.slot < 0 ? behind : run.slot);
  return result;
}

at::Tensor scaled(const at::Tensor& x, at::TensorList scales, const std::vector<SlotRun>& runs) {
  if (rows::readable(x)) return scaled_by_rows(x, scales, runs);
  std::vector<at::Tensor> padded = scales.vec();
  padded.push_back(at::ones({x.size(1)}, scales.front().options()));
  const at::Tensor which = at::tensor(scale_of_row(runs, static_cast<std::int64_t>(scales.size())), at::kLong);
  return at::mul(x, at::stack(padded).index_select(0, which.to(x.device()))).to(x.scalar_type());
}

// For each of the scales.
std::vector<at::Tensor> sums_of_products(const at::Tensor& x, const at::Tensor& grad, at::TensorList scales,
                                         const std::vector<SlotRun>& runs) {
  if (rows::readable(x) && rows::readable(grad)) return sums_by_rows(x.contiguous(), grad.contiguous(), scales, runs);
  std::vector<at::Tensor> sums;
  for (const auto& scale : scales) sums.push_back(at::zeros(scale.sizes(), scale.options()));
  for (const auto& run : runs) {
    if (run.slot < 0) continue;
    const auto values = [&](const at::Tensor& of) {
      return of.narrow(0, run.tokens.begin, run.tokens.length).to(at::kFloat);
    };
    sums[static_cast<std::size_t>(run.slot)] += (values(grad) * values(x)).sum(0);
  }
  return sums;
}

class ScaleRows : public torch::autograd::Function<ScaleRows> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, at::TensorList scales,
                            const std::vector<SlotRun>& runs) {
    torch::autograd::variable_list kept = {x};
    kept.insert(kept.end(), scales.begin(), scales.end());
    ctx->save_for_backward(kept);
    ctx->saved_data["runs"] = as_numbers(runs);
    return scaled(x, scales, runs);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::TensorList scales = at::TensorList(saved).slice(1);
    const auto runs = as_runs(ctx->saved_data["runs"].toIntVector());
    torch::autograd::variable_list result(saved.size() + 1);  // the last: of the runs
    if (ctx->needs_input_grad(0)) result[0] = scaled(grads[0], scales, runs);
    bool any = false;
    for (std::size_t input = 1; input < saved.size(); ++input) any = any || ctx->needs_input_grad(input);
    if (!any) return result;
    auto sums = sums_of_products(saved[0], grads[0], scales, runs);
    std::move(sums.begin(), sums.end(), result.begin() + 1);
    return result;
  }
};

}  // namespace

std::vector<std::int64_t> as_numbers(const std::vector<SlotRun>& runs) {
  std::vector<std::int64_t> numbers;
  numbers.reserve(3 * runs.size());
  for (const auto& run : runs) numbers.insert(numbers.end(), {run.tokens.begin, run.tokens.length, run.slot});
  return numbers;
}

std::vector<SlotRun> as_runs(const std::vector<std::int64_t>& numbers) {
  std::vector<SlotRun> runs;
  for (std::size_t i = 0; i < numbers.size(); i += 3)
    runs.push_back({{numbers[i], numbers[i + 1]}, static_cast<std::int32_t>(numbers[i + 2])});
  return runs;
}

std::vector<SlotRun> parts_of(const std::vector<SlotRun>& runs) {
  constexpr std::int64_t kPartRows = 64;
  std::vector<SlotRun> parts;
  for (const auto& run : runs) {
    for (std::int64_t first = 0; first < run.tokens.length; first += kPartRows)
      parts.push_back({{run.tokens.begin + first, std::min(kPartRows, run.tokens.length - first)}, run.slot});
  }
  return parts;
}

at::Tensor scale_rows(const at::Tensor& x, const RowScales& by) {
  if (by.scales.empty()) return x;
  const bool goes_backward = learns(x) || std::any_of(by.scales.begin(), by.scales.end(), learns);
  return goes_backward ? ScaleRows::apply(x, at::TensorList(by.scales), by.runs) : scaled(x, by.scales, by.runs);
}

at::Tensor scale_rows(const at::Tensor& x, const at::Tensor& scale) {
  return scale_rows(x, RowScales{{scale}, {{{0, x.size(0)}, 0}}});
}

ScaleVectors::ScaleVectors(at::TensorList scales, std::int64_t width) : width_(width) {
  firsts_.reserve(scales.size());
  for (const auto& scale : scales) {
    if (scale.numel() != width)
      fail(Category::Internal, "scale", "an adapter has {} values for rows of {}", scale.numel(), width);
    // Not held otherwise: to count one owner more is to wait for memory, for each of many adapters in turn.
    if (!scale.is_contiguous()) held_.push_back(scale.contiguous());
    firsts_.push_back((scale.is_contiguous() ? scale : held_.back()).const_data_ptr<float>());
  }
}

void ScaleVectors::ask_for(std::int32_t slot) const {
  constexpr std::int64_t kLine = 64 / sizeof(float);
  const float* vector = of(slot);
  if (vector == nullptr) return;
  for (std::int64_t i = 0; i < width_; i += kLine) __builtin_prefetch(vector + i);
}

}  // namespace graft
