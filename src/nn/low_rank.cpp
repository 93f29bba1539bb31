#include "nn/low_rank.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include "nn/learns.h"

namespace graft {
namespace {

struct Sum {
  at::Tensor result;
  at::Tensor inner;  // x aᵀ
};

Sum sum_of(const at::Tensor& y, const at::Tensor& x, const at::Tensor& a, const at::Tensor& b, double scale) {
  const at::Tensor inner = at::mm(x.to(at::kFloat), a.t());
  at::Tensor sum = y.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true);
  sum.addmm_(inner, b.t(), 1, scale);
  return {sum.to(y.scalar_type()), inner};
}

class LowRankSum : public torch::autograd::Function<LowRankSum> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& y, const at::Tensor& x,
                            const at::Tensor& a, const at::Tensor& b, double scale) {
    const Sum sum = sum_of(y, x, a, b, scale);
    ctx->save_for_backward({x, a, b, sum.inner});
    ctx->saved_data["scale"] = scale;
    return sum.result;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    RECORD_USER_SCOPE("graft::low_rank_backward");
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &a = saved[1], &b = saved[2], &inner = saved[3];
    const double scale = ctx->saved_data["scale"].toDouble();
    const at::Tensor above = grads[0].to(at::kFloat), of_inner = at::mm(above, b).mul_(scale);
    at::Tensor grad_x, grad_a, grad_b;
    if (ctx->needs_input_grad(1)) grad_x = at::mm(of_inner, a).to(x.scalar_type());
    if (ctx->needs_input_grad(2)) grad_a = at::mm(of_inner.t(), x.to(at::kFloat));
    if (ctx->needs_input_grad(3)) grad_b = at::mm(above.t(), inner).mul_(scale);
    return {grads[0], grad_x, grad_a, grad_b, at::Tensor()};
  }
};

}  // namespace

at::Tensor low_rank_sum(const at::Tensor& y, const at::Tensor& x, const at::Tensor& a, const at::Tensor& b,
                        double scale) {
  const bool goes_backward = learns(y) || learns(x) || learns(a) || learns(b);
  return goes_backward ? LowRankSum::apply(y, x, a, b, scale) : sum_of(y, x, a, b, scale).result;
}

}  // namespace graft
