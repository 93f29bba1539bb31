#include "nn/activation.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>
#include <map>
#include <vector>

#include "base/error.h"
#include "base/suggest.h"
#include "nn/kernels/any_row.h"
#include "nn/learns.h"

namespace graft {
namespace {

constexpr std::int64_t kRun = 512;
using Run = std::array<float, kRun>;

// Calls `rows_of(first value, count)` for runs of values of a tensor of `size`.
template <typename RowsOf>
void by_runs(std::int64_t size, const RowsOf& rows_of) {
  at::parallel_for(0, (size + kRun - 1) / kRun, rows::rows_per_thread(kRun), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t run = begin; run < end; ++run) rows_of(run * kRun, std::min(kRun, size - run * kRun));
  });
}

using RowFunction = void (*)(const float* x, float* y, std::int64_t count);
using Gradient = at::Tensor (*)(const at::Tensor& grad, const at::Tensor& x);

// LibTorch computes the last values of a thread's share by other means than the others, so that the bits of a row would
// depend on the rows beside it.
template <RowFunction kFunction>
at::Tensor by_loops(const at::Tensor& given) {
  const at::Tensor x = given.contiguous();
  at::Tensor y = at::empty(x.sizes(), x.options());
  by_runs(x.numel(), [&](std::int64_t first, std::int64_t count) {
    Run from, to;
    rows::read(x, first, from.data(), count);
    kFunction(from.data(), to.data(), count);
    rows::write(to.data(), y, first, count);
  });
  return y;
}

template <RowFunction kFunction, Gradient kGradient>
class ByLoops : public torch::autograd::Function<ByLoops<kFunction, kGradient>> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x) {
    ctx->save_for_backward({x});
    return by_loops<kFunction>(x);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const at::Tensor x = ctx->get_saved_variables()[0];
    return {kGradient(grads[0].to(x.scalar_type()), x)};
  }
};

at::Tensor silu_gradient(const at::Tensor& grad, const at::Tensor& x) {
  return at::silu_backward(grad, x);
}

at::Tensor silu(const at::Tensor& x) {
  if (!rows::readable(x)) return at::silu(x);
  return learns(x) ? ByLoops<rows::silu, silu_gradient>::apply(x) : by_loops<rows::silu>(x);
}

at::Tensor gelu_new_gradient(const at::Tensor& grad, const at::Tensor& x) {
  return at::gelu_backward(grad, x, "tanh");
}

at::Tensor gelu_new(const at::Tensor& x) {
  if (!rows::readable(x)) return at::gelu(x, "tanh");
  return learns(x) ? ByLoops<rows::gelu_tanh, gelu_new_gradient>::apply(x) : by_loops<rows::gelu_tanh>(x);
}

at::Tensor silu_gate(const at::Tensor& given_gate, const at::Tensor& given_up) {
  RECORD_USER_SCOPE("graft::silu_gate");
  const at::Tensor gate = given_gate.contiguous(), up = given_up.contiguous();
  at::Tensor y = at::empty(gate.sizes(), gate.options());
  by_runs(gate.numel(), [&](std::int64_t first, std::int64_t count) {
    Run a, b;
    rows::read(gate, first, a.data(), count);
    rows::read(up, first, b.data(), count);
    rows::silu_gate(a.data(), b.data(), a.data(), count);
    rows::write(a.data(), y, first, count);
  });
  return y;
}

// Keeps gate and up alone; plain autograd would keep silu(gate) too.
class SiluGate : public torch::autograd::Function<SiluGate> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& gate, const at::Tensor& up) {
    ctx->save_for_backward({gate, up});
    return silu_gate(gate, up);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    RECORD_USER_SCOPE("graft::silu_gate_backward");
    const auto saved = ctx->get_saved_variables();
    const at::Tensor grad = grads[0].to(saved[0].scalar_type()).contiguous(), gate = saved[0].contiguous(),
                     up = saved[1].contiguous();
    at::Tensor grad_gate = at::empty(gate.sizes(), gate.options()), grad_up = at::empty(up.sizes(), up.options());
    by_runs(gate.numel(), [&](std::int64_t first, std::int64_t count) {
      Run a, b, g;
      rows::read(gate, first, a.data(), count);
      rows::read(up, first, b.data(), count);
      rows::read(grad, first, g.data(), count);
      rows::silu_gate_backward(g.data(), a.data(), b.data(), count);
      rows::write(a.data(), grad_gate, first, count);
      rows::write(b.data(), grad_up, first, count);
    });
    return {grad_gate, grad_up};
  }
};

}  // namespace

Activation activation(const std::string& name) {
  static const std::map<std::string, Activation> known = {{"silu", silu},
                                                          {"relu", [](const at::Tensor& x) { return at::relu(x); }},
                                                          {"gelu", [](const at::Tensor& x) { return at::gelu(x); }},
                                                          {"gelu_new", gelu_new}};
  if (const auto found = known.find(name); found != known.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [each, function] : known) names.push_back(each);
  fail(Category::Unsupported, "activation", "'{}' is not supported{}", name, did_you_mean(name, names));
}

at::Tensor gated(Activation activate, const at::Tensor& gate, const at::Tensor& up) {
  const bool one_pass = activate == silu && rows::readable(gate) && up.scalar_type() == gate.scalar_type() &&
                        gate.sizes() == up.sizes() && up.is_cpu();
  if (!one_pass) return activate(gate) * up;
  return learns(gate) || learns(up) ? SiluGate::apply(gate, up) : silu_gate(gate, up);
}

at::Tensor soft_cap(const at::Tensor& x, double cap) {
  return at::tanh(x / cap) * cap;
}

}  // namespace graft
