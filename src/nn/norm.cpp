#include "nn/norm.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "nn/kernels/any_row.h"
#include "nn/learns.h"

namespace graft {
namespace {

struct Normalised {
  at::Tensor y, scale;  // [..., 1] fp32: what each row was multiplied with; undefined where nobody goes backward
};

Normalised by_tensor_operations(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType dtype) {
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor scale = wide.pow(2).mean(-1, true).add_(eps).rsqrt_();
  const at::Tensor normalised = wide.mul(scale);
  if (weight.scalar_type() == at::kFloat) return {normalised.mul(weight).to(dtype), scale};
  return {normalised.to(dtype).mul_(weight), scale};
}

// Each row is read once.
Normalised by_rows(const at::Tensor& given, const at::Tensor& weight, double eps, at::ScalarType dtype,
                   bool keeps_scale) {
  RECORD_USER_SCOPE("graft::rms_norm");
  const at::Tensor x = given.contiguous(), factors = weight.contiguous();
  const std::int64_t width = x.size(-1), count = x.numel() / std::max<std::int64_t>(1, width);
  at::Tensor y = rows::empty(x.sizes(), dtype), scales;
  if (keeps_scale) {
    auto shape = x.sizes().vec();
    shape.back() = 1;
    scales = rows::empty(shape, at::kFloat);
  }
  float* kept = keeps_scale ? scales.data_ptr<float>() : nullptr;
  const bool rounds_first = weight.scalar_type() == at::kBFloat16;
  at::parallel_for(0, count, rows::rows_per_thread(width), [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(width)), by(static_cast<std::size_t>(width));
    rows::read(factors, 0, by.data(), width);
    for (std::int64_t n = begin; n < end; ++n) {
      rows::read(x, n * width, row.data(), width);
      const double mean = rows::dot(row.data(), row.data(), width) / static_cast<double>(width);
      const auto scale = static_cast<float>(1.0 / std::sqrt(mean + eps));
      if (kept != nullptr) kept[n] = scale;
      rows::scale(row.data(), scale, width);
      if (rounds_first) rows::round_to_bfloat16(row.data(), width);
      rows::multiply(row.data(), by.data(), width);
      rows::write(row.data(), y, n * width, width);
    }
  });
  return {y, scales};
}

Normalised normalise(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType dtype,
                     bool keeps_scale) {
  const bool known = dtype == at::kFloat || dtype == at::kBFloat16;
  return known && weight.numel() == x.size(-1) && rows::readable(x) && rows::readable(weight)
             ? by_rows(x, weight, eps, dtype, keeps_scale)
             : by_tensor_operations(x, weight, eps, dtype);
}

// Of x from the gradient of the result: scale · (g - n · mean(g ⊙ n)), g = gradient ⊙ weight, n = x · scale.
at::Tensor gradient_by_rows(const at::Tensor& grad, const at::Tensor& given, const at::Tensor& weight,
                            const at::Tensor& scales) {
  RECORD_USER_SCOPE("graft::rms_norm_backward");
  const at::Tensor x = given.contiguous(), grads = grad.contiguous(), factors = weight.contiguous();
  const std::int64_t width = x.size(-1);
  at::Tensor result = at::empty(x.sizes(), x.options());
  const auto* scale = scales.const_data_ptr<float>();
  at::parallel_for(0, scales.numel(), rows::rows_per_thread(width), [&](std::int64_t begin, std::int64_t end) {
    const auto size = static_cast<std::size_t>(width);
    std::vector<float> row(size), inner(size), by(size);
    rows::read(factors, 0, by.data(), width);
    for (std::int64_t n = begin; n < end; ++n) {
      rows::read(x, n * width, row.data(), width);
      rows::read(grads, n * width, inner.data(), width);
      rows::scale(row.data(), scale[n], width);
      rows::multiply(inner.data(), by.data(), width);
      const float mean = rows::dot(inner.data(), row.data(), width) / static_cast<float>(width);
      rows::add_scaled(inner.data(), -mean, row.data(), width);
      rows::scale(inner.data(), scale[n], width);
      rows::write(inner.data(), result, n * width, width);
    }
  });
  return result;
}

at::Tensor gradient(const at::Tensor& grad, const at::Tensor& x, const at::Tensor& weight, const at::Tensor& scale) {
  if (weight.numel() == x.size(-1) && rows::readable(x) && rows::readable(grad) && rows::readable(weight))
    return gradient_by_rows(grad, x, weight, scale);
  const at::Tensor normalised = x.to(at::kFloat).mul(scale);  // not in place: it may be x itself
  const at::Tensor inner = grad.to(at::kFloat) * weight.to(at::kFloat);
  const at::Tensor mean = (inner * normalised).mean(-1, true);
  return inner.sub(normalised * mean).mul_(scale).to(x.scalar_type());
}

// Keeps x and one number a row; plain autograd would keep three more [N, C] tensors in fp32.
class RmsNorm : public torch::autograd::Function<RmsNorm> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            double eps, at::ScalarType dtype) {
    const Normalised normalised = normalise(x, weight, eps, dtype, true);
    ctx->save_for_backward({x, weight, normalised.scale});
    return normalised.y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &scale = saved[2];
    at::Tensor grad_weight;
    if (ctx->needs_input_grad(1)) {
      const at::Tensor products = grads[0].to(at::kFloat) * x.to(at::kFloat) * scale;
      grad_weight = products.flatten(0, -2).sum(0).to(weight.scalar_type());
    }
    const at::Tensor grad_x = ctx->needs_input_grad(0) ? gradient(grads[0], x, weight, scale) : at::Tensor();
    return {grad_x, grad_weight, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType dtype) {
  return learns(x) || learns(weight) ? RmsNorm::apply(x, weight, eps, dtype)
                                     : normalise(x, weight, eps, dtype, false).y;
}

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps) {
  if (x.scalar_type() == weight.scalar_type()) return at::layer_norm(x, {x.size(-1)}, weight, bias, eps);
  return at::layer_norm(x, {x.size(-1)}, weight.to(x.scalar_type()), bias.to(x.scalar_type()), eps)
      .to(weight.scalar_type());
}

}  // namespace graft
