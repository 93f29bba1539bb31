#include "nn/row_scale.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <vector>

#include "nn/kernels/any_row.h"

namespace graft {
namespace {

// For each row the row of `scales`, or -1.
std::vector<std::int64_t> scale_of_row(const std::vector<SlotRun>& runs) {
  std::vector<std::int64_t> result;
  for (const auto& run : runs) result.insert(result.end(), static_cast<std::size_t>(run.tokens.length), run.slot);
  return result;
}

at::Tensor scaled_by_rows(const at::Tensor& given, const at::Tensor& scales, const std::vector<SlotRun>& runs) {
  RECORD_USER_SCOPE("graft::scale_rows");
  const at::Tensor x = given.contiguous();
  at::Tensor y = rows::empty(x.sizes(), x.scalar_type());
  const auto scale_of = scale_of_row(runs);
  const std::int64_t width = x.size(1);
  const float* scale = scales.const_data_ptr<float>();
  at::parallel_for(0, x.size(0), rows::rows_per_thread(width), [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(width));
    for (std::int64_t n = begin; n < end; ++n) {
      const std::int64_t by = scale_of[static_cast<std::size_t>(n)];
      rows::read(x, n * width, row.data(), width);
      if (by >= 0) rows::multiply(row.data(), scale + by * width, width);
      rows::write(row.data(), y, n * width, width);
    }
  });
  return y;
}

// Columns are shared out among threads, so that a sum does not depend on their number.
void add_products_by_rows(const at::Tensor& x, const at::Tensor& grad, const std::vector<SlotRun>& runs,
                          at::Tensor& sums) {
  RECORD_USER_SCOPE("graft::scale_rows_backward");
  const std::int64_t width = x.size(1);
  auto* sum = sums.data_ptr<float>();
  at::parallel_for(0, width, 128, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t count = end - begin;
    std::vector<float> values(static_cast<std::size_t>(count)), grads(static_cast<std::size_t>(count));
    for (const auto& run : runs) {
      if (run.slot < 0) continue;
      for (std::int64_t n = run.tokens.begin; n < run.tokens.begin + run.tokens.length; ++n) {
        rows::read(x, n * width + begin, values.data(), count);
        rows::read(grad, n * width + begin, grads.data(), count);
        rows::add_products(sum + run.slot * width + begin, values.data(), grads.data(), count);
      }
    }
  });
}

at::Tensor scaled(const at::Tensor& x, const at::Tensor& scales, const std::vector<SlotRun>& runs) {
  if (rows::readable(x)) return scaled_by_rows(x, scales, runs);
  // Ones behind the last row: where -1 points to.
  const at::Tensor padded = at::cat({scales, at::ones({1, scales.size(1)}, scales.options())});
  at::Tensor which = at::tensor(scale_of_row(runs), at::kLong);
  which = at::where(which < 0, scales.size(0), which).to(x.device());
  return at::mul(x, padded.index_select(0, which)).to(x.scalar_type());
}

at::Tensor sums_of_products(const at::Tensor& x, const at::Tensor& grad, const std::vector<SlotRun>& runs,
                            const at::Tensor& like) {
  at::Tensor sums = at::zeros_like(like);
  if (rows::readable(x) && rows::readable(grad)) {
    add_products_by_rows(x.contiguous(), grad.contiguous(), runs, sums);
    return sums;
  }
  for (const auto& run : runs) {
    if (run.slot < 0) continue;
    const auto values = [&](const at::Tensor& of) {
      return of.narrow(0, run.tokens.begin, run.tokens.length).to(at::kFloat);
    };
    sums[run.slot] += (values(grad) * values(x)).sum(0);
  }
  return sums;
}

class ScaleRows : public torch::autograd::Function<ScaleRows> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& scales,
                            const std::vector<SlotRun>& runs) {
    ctx->save_for_backward({x, scales});
    ctx->saved_data["runs"] = as_numbers(runs);
    return scaled(x, scales, runs);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto runs = as_runs(ctx->saved_data["runs"].toIntVector());
    at::Tensor grad_x, grad_scales;
    if (ctx->needs_input_grad(0)) grad_x = scaled(grads[0], saved[1], runs);
    if (ctx->needs_input_grad(1)) grad_scales = sums_of_products(saved[0], grads[0], runs, saved[1]);
    return {grad_x, grad_scales, at::Tensor()};
  }
};

}  // namespace

std::vector<std::int64_t> as_numbers(const std::vector<SlotRun>& runs) {
  std::vector<std::int64_t> numbers;
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
  return by.scales.defined() ? scale_rows(x, by.scales, by.runs) : x;
}

at::Tensor scale_rows(const at::Tensor& x, const at::Tensor& scales, const std::vector<SlotRun>& runs) {
  return ScaleRows::apply(x, scales, runs);
}

at::Tensor scale_rows(const at::Tensor& x, const at::Tensor& scale) {
  return scale_rows(x, scale.unsqueeze(0), {{{0, x.size(0)}, 0}});
}

}  // namespace graft
