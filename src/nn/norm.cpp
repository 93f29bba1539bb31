#include "nn/norm.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

namespace graft {
namespace {

// Keeps x and one number a row; plain autograd would keep three more [N, C] tensors in fp32.
class RmsNorm : public torch::autograd::Function<RmsNorm> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            double eps, at::ScalarType dtype) {
    const at::Tensor wide = x.to(at::kFloat);
    const at::Tensor scale = wide.pow(2).mean(-1, true).add_(eps).rsqrt_();
    ctx->save_for_backward({x, weight, scale});
    const at::Tensor normalised = wide.mul(scale);
    if (weight.scalar_type() == at::kFloat) return normalised.mul(weight).to(dtype);
    return normalised.to(dtype).mul_(weight);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor& weight = saved[1];
    const at::Tensor& scale = saved[2];
    const at::Tensor normalised = saved[0].to(at::kFloat).mul(scale);  // not in place: it may be x itself
    const at::Tensor grad = grads[0].to(at::kFloat);
    at::Tensor grad_weight;
    if (ctx->needs_input_grad(1)) grad_weight = (grad * normalised).flatten(0, -2).sum(0).to(weight.scalar_type());
    at::Tensor grad_x;
    if (ctx->needs_input_grad(0)) {
      const at::Tensor inner = grad * weight.to(at::kFloat);
      const at::Tensor mean = (inner * normalised).mean(-1, true);
      grad_x = inner.sub_(normalised * mean).mul_(scale).to(saved[0].scalar_type());
    }
    return {grad_x, grad_weight, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps, at::ScalarType dtype) {
  return RmsNorm::apply(x, weight, eps, dtype);
}

at::Tensor layer_norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double eps) {
  if (x.scalar_type() == weight.scalar_type()) return at::layer_norm(x, {x.size(-1)}, weight, bias, eps);
  return at::layer_norm(x, {x.size(-1)}, weight.to(x.scalar_type()), bias.to(x.scalar_type()), eps)
      .to(weight.scalar_type());
}

}  // namespace graft
