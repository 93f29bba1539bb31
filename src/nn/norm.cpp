#include "nn/norm.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <vector>

#include "nn/kernels/any_row.h"
#include "nn/learns.h"

namespace graft {
namespace {

struct Normalised {
  at::Tensor y, scale;    // [..., 1] fp32: what each row was multiplied with
  at::Tensor normalised;  // x · scale in y's dtype; undefined where nobody asked
};

// Whether the backward pass keeps x · scale, rounded as the forward pass rounds it, and not x: half the bytes.
bool keeps_normalised(const at::Tensor& x, at::ScalarType dtype) {
  return x.scalar_type() == at::kFloat && dtype == at::kBFloat16;
}

Normalised by_tensor_operations(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType dtype) {
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor scale = wide.pow(2).mean(-1, true).add_(eps).rsqrt_();
  const at::Tensor exact = wide.mul(scale), rounded = exact.to(dtype);
  return {weight.scalar_type() == at::kFloat ? exact.mul(weight).to(dtype) : rounded.mul(weight), scale, rounded};
}

// Each row is read once.
Normalised by_rows(const at::Tensor& given, const at::Tensor& weight, double eps, at::ScalarType dtype, bool keeps) {
  RECORD_USER_SCOPE("graft::rms_norm");
  const at::Tensor x = given.contiguous(), factors = weight.contiguous();
  const std::int64_t width = x.size(-1);
  auto shape = x.sizes().vec();
  at::Tensor y = rows::empty(shape, dtype), normalised = keeps ? at::empty_like(y) : at::Tensor();
  shape.back() = 1;
  at::Tensor scales = at::empty(shape, x.options().dtype(at::kFloat));
  auto* scale = scales.data_ptr<float>();
  const bool rounds_first = weight.scalar_type() == at::kBFloat16;
  at::parallel_for(0, scales.numel(), rows::rows_per_thread(width), [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(width)), by(static_cast<std::size_t>(width));
    rows::read(factors, 0, by.data(), width);
    for (std::int64_t n = begin; n < end; ++n) {
      rows::read(x, n * width, row.data(), width);
      const double mean = rows::dot(row.data(), row.data(), width) / static_cast<double>(width);
      scale[n] = static_cast<float>(1.0 / std::sqrt(mean + eps));
      rows::scale(row.data(), scale[n], width);
      if (rounds_first) rows::round_to_bfloat16(row.data(), width);
      if (keeps) rows::write(row.data(), normalised, n * width, width);
      rows::multiply(row.data(), by.data(), width);
      rows::write(row.data(), y, n * width, width);
    }
  });
  return {y, scales, normalised};
}

Normalised normalise(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType dtype, bool keeps) {
  const bool known = dtype == at::kFloat || dtype == at::kBFloat16;
  return known && weight.numel() == x.size(-1) && rows::readable(x) && rows::readable(weight)
             ? by_rows(x, weight, eps, dtype, keeps)
             : by_tensor_operations(x, weight, eps, dtype);
}

// What the forward pass kept: x, or x · scale.
struct Kept {
  at::Tensor values;
  bool normalised = false;
};

// Of x from the gradient of the result: scale · (g - n · mean(g ⊙ n)), g = gradient ⊙ weight, n = x · scale.
at::Tensor gradient_by_rows(const at::Tensor& grad, const Kept& kept, const at::Tensor& weight,
                            const at::Tensor& scales) {
  RECORD_USER_SCOPE("graft::rms_norm_backward");
  const at::Tensor values = kept.values.contiguous(), grads = grad.contiguous(), factors = weight.contiguous();
  const std::int64_t width = values.size(-1);
  at::Tensor result = at::empty(values.sizes(), kept.normalised ? scales.options() : values.options());
  const auto* scale = scales.const_data_ptr<float>();
  at::parallel_for(0, scales.numel(), rows::rows_per_thread(width), [&](std::int64_t begin, std::int64_t end) {
    const auto size = static_cast<std::size_t>(width);
    std::vector<float> row(size), inner(size), by(size);
    rows::read(factors, 0, by.data(), width);
    for (std::int64_t n = begin; n < end; ++n) {
      rows::read(values, n * width, row.data(), width);
      rows::read(grads, n * width, inner.data(), width);
      if (!kept.normalised) rows::scale(row.data(), scale[n], width);
      rows::multiply(inner.data(), by.data(), width);
      const float mean = rows::dot(inner.data(), row.data(), width) / static_cast<float>(width);
      rows::add_scaled(inner.data(), -mean, row.data(), width);
      rows::scale(inner.data(), scale[n], width);
      rows::write(inner.data(), result, n * width, width);
    }
  });
  return result;
}

at::Tensor normalised(const Kept& kept, const at::Tensor& scale) {
  const at::Tensor wide = kept.values.to(at::kFloat);
  return kept.normalised ? wide : wide.mul(scale);  // not in place: it may be x itself
}

at::Tensor gradient(const at::Tensor& grad, const Kept& kept, const at::Tensor& weight, const at::Tensor& scale) {
  if (weight.numel() == kept.values.size(-1) && rows::readable(kept.values) && rows::readable(grad) &&
      rows::readable(weight))
    return gradient_by_rows(grad, kept, weight, scale);
  const at::Tensor n = normalised(kept, scale), inner = grad.to(at::kFloat) * weight.to(at::kFloat);
  const at::Tensor mean = (inner * n).mean(-1, true);
  return inner.sub(n * mean).mul_(scale).to(kept.normalised ? at::kFloat : kept.values.scalar_type());
}

// Keeps x, or half of its bytes, and one number a row; plain autograd would keep three more [N, C] tensors in fp32.
class RmsNorm : public torch::autograd::Function<RmsNorm> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            double eps, at::ScalarType dtype) {
    const bool keeps = keeps_normalised(x, dtype);
    const Normalised made = normalise(x, weight, eps, dtype, keeps);
    ctx->save_for_backward({keeps ? made.normalised : x, weight, made.scale});
    ctx->saved_data["normalised"] = keeps;
    return made.y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const Kept kept{saved[0], ctx->saved_data["normalised"].toBool()};
    const at::Tensor &weight = saved[1], &scale = saved[2];
    at::Tensor grad_weight;
    if (ctx->needs_input_grad(1)) {
      const at::Tensor products = grads[0].to(at::kFloat) * normalised(kept, scale);
      grad_weight = products.flatten(0, -2).sum(0).to(weight.scalar_type());
    }
    const at::Tensor grad_x = ctx->needs_input_grad(0) ? gradient(grads[0], kept, weight, scale) : at::Tensor();
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
