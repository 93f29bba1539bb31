#include "nn/row_scale.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <bit>

#include "base/for_each_cpu.h"

namespace graft {
namespace {

using Bits = std::uint16_t;  // of a bfloat16

inline float wide(float value) {
  return value;
}
inline float wide(Bits value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
}

inline void put(float& place, float value) {
  place = value;
}
// To the nearest, ties to even.
inline void put(Bits& place, float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  place = static_cast<Bits>((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

GRAFT_FOR_EACH_CPU void scale_row(const float* x, const float* scale, float* y, std::int64_t width) {
  for (std::int64_t c = 0; c < width; ++c) put(y[c], wide(x[c]) * scale[c]);
}
GRAFT_FOR_EACH_CPU void scale_row(const Bits* x, const float* scale, Bits* y, std::int64_t width) {
  for (std::int64_t c = 0; c < width; ++c) put(y[c], wide(x[c]) * scale[c]);
}
GRAFT_FOR_EACH_CPU void add_products(const float* x, const float* grad, float* sum, std::int64_t width) {
  for (std::int64_t c = 0; c < width; ++c) sum[c] += wide(x[c]) * wide(grad[c]);
}
GRAFT_FOR_EACH_CPU void add_products(const Bits* x, const Bits* grad, float* sum, std::int64_t width) {
  for (std::int64_t c = 0; c < width; ++c) sum[c] += wide(x[c]) * wide(grad[c]);
}

// For each row the row of `scales`, or -1.
std::vector<std::int64_t> scale_of_row(const std::vector<SlotRun>& runs) {
  std::vector<std::int64_t> rows;
  for (const auto& run : runs) rows.insert(rows.end(), static_cast<std::size_t>(run.tokens.length), run.slot);
  return rows;
}

template <typename T>
void scale_on_cpu(const at::Tensor& x, const at::Tensor& scales, const std::vector<SlotRun>& runs, at::Tensor& y) {
  const auto scale_of = scale_of_row(runs);
  const std::int64_t width = x.size(1);
  const auto* from = static_cast<const T*>(x.const_data_ptr());
  auto* to = static_cast<T*>(y.data_ptr());
  const float* scale = scales.const_data_ptr<float>();
  at::parallel_for(0, x.size(0), std::max<std::int64_t>(1, 32768 / width), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      const std::int64_t row = scale_of[static_cast<std::size_t>(n)];
      if (row < 0) {
        std::copy_n(from + n * width, width, to + n * width);
      } else {
        scale_row(from + n * width, scale + row * width, to + n * width, width);
      }
    }
  });
}

// Columns are shared out among threads, so that a sum does not depend on their number.
template <typename T>
void sum_products_on_cpu(const at::Tensor& x, const at::Tensor& grad, const std::vector<SlotRun>& runs,
                         at::Tensor& sums) {
  const std::int64_t width = x.size(1);
  const auto* values = static_cast<const T*>(x.const_data_ptr());
  const auto* grads = static_cast<const T*>(grad.const_data_ptr());
  auto* sum = sums.data_ptr<float>();
  at::parallel_for(0, width, 128, [&](std::int64_t begin, std::int64_t end) {
    for (const auto& run : runs) {
      if (run.slot < 0) continue;
      for (std::int64_t n = run.tokens.begin; n < run.tokens.begin + run.tokens.length; ++n)
        add_products(values + n * width + begin, grads + n * width + begin, sum + run.slot * width + begin,
                     end - begin);
    }
  });
}

bool has_kernel(const at::Tensor& x) {
  return x.is_cpu() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

at::Tensor scaled(const at::Tensor& x, const at::Tensor& scales, const std::vector<SlotRun>& runs) {
  if (has_kernel(x)) {
    const at::Tensor rows = x.contiguous();
    at::Tensor y = at::empty_like(rows);
    x.scalar_type() == at::kFloat ? scale_on_cpu<float>(rows, scales, runs, y)
                                  : scale_on_cpu<Bits>(rows, scales, runs, y);
    return y;
  }
  // Ones behind the last row: where -1 points to.
  const at::Tensor padded = at::cat({scales, at::ones({1, scales.size(1)}, scales.options())});
  at::Tensor which = at::tensor(scale_of_row(runs), at::kLong);
  which = at::where(which < 0, scales.size(0), which).to(x.device());
  return at::mul(x, padded.index_select(0, which)).to(x.scalar_type());
}

at::Tensor sums_of_products(const at::Tensor& x, const at::Tensor& grad, const std::vector<SlotRun>& runs,
                            const at::Tensor& like) {
  at::Tensor sums = at::zeros_like(like);
  if (has_kernel(x)) {
    const at::Tensor values = x.contiguous(), grads = grad.to(x.scalar_type()).contiguous();
    x.scalar_type() == at::kFloat ? sum_products_on_cpu<float>(values, grads, runs, sums)
                                  : sum_products_on_cpu<Bits>(values, grads, runs, sums);
    return sums;
  }
  for (const auto& run : runs) {
    if (run.slot < 0) continue;
    const auto rows = [&](const at::Tensor& of) {
      return of.narrow(0, run.tokens.begin, run.tokens.length).to(at::kFloat);
    };
    sums[run.slot] += (rows(grad) * rows(x)).sum(0);
  }
  return sums;
}

class ScaleRows : public torch::autograd::Function<ScaleRows> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& scales,
                            const std::vector<SlotRun>& runs) {
    std::vector<std::int64_t> flat;
    for (const auto& run : runs) flat.insert(flat.end(), {run.tokens.begin, run.tokens.length, run.slot});
    ctx->save_for_backward({x, scales});
    ctx->saved_data["runs"] = flat;
    return scaled(x, scales, runs);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto flat = ctx->saved_data["runs"].toIntVector();
    std::vector<SlotRun> runs;
    for (std::size_t i = 0; i < flat.size(); i += 3)
      runs.push_back({{flat[i], flat[i + 1]}, static_cast<std::int32_t>(flat[i + 2])});
    at::Tensor grad_x, grad_scales;
    if (ctx->needs_input_grad(0)) grad_x = scaled(grads[0], saved[1], runs);
    if (ctx->needs_input_grad(1)) grad_scales = sums_of_products(saved[0], grads[0], runs, saved[1]);
    return {grad_x, grad_scales, at::Tensor()};
  }
};

}  // namespace

at::Tensor scale_rows(const at::Tensor& x, const at::Tensor& scales, const std::vector<SlotRun>& runs) {
  return ScaleRows::apply(x, scales, runs);
}

at::Tensor scale_rows(const at::Tensor& x, const at::Tensor& scale) {
  return scale_rows(x, scale.unsqueeze(0), {{{0, x.size(0)}, 0}});
}

}  // namespace graft
