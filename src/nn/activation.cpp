#include "nn/activation.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstddef>
#include <map>
#include <vector>

#include "base/error.h"
#include "base/suggest.h"
#include "nn/kernels/any_row.h"
#include "nn/learns.h"

namespace graft {
namespace {

constexpr std::int64_t kRun = 512, kRunsPerThread = 16;  // an exponential each: less of them are worth a thread

// Calls `rows_of(first value, count)` for runs of values of a tensor of `size`.
template <typename RowsOf>
void by_runs(std::int64_t size, const RowsOf& rows_of) {
  at::parallel_for(0, (size + kRun - 1) / kRun, kRunsPerThread, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t run = begin; run < end; ++run) rows_of(run * kRun, std::min(kRun, size - run * kRun));
  });
}

using Operation = at::Tensor (*)(const at::Tensor& x);
using Gradient = at::Tensor (*)(const at::Tensor& grad, const at::Tensor& x);

// Values that LibTorch is given at a time, a multiple of what the registers of any CPU hold.
constexpr std::int64_t kWholeRun = 1 << 13, kRegisters = 64;

// y of a run of values, computed beside zeros where it does not fill the last register.
template <Operation kOperation>
void whole_registers(const at::Tensor& x, at::Tensor& y) {
  const std::int64_t count = x.size(0), beyond = (kRegisters - count % kRegisters) % kRegisters;
  y.copy_(beyond == 0 ? kOperation(x) : kOperation(at::constant_pad_nd(x, {0, beyond})).narrow(0, 0, count));
}

// LibTorch computes the last values of a thread's share by other means than the others, so that the bits of a row would
// depend on the rows beside it. Here it is given runs without a last part.
template <Operation kOperation>
at::Tensor by_whole_runs(const at::Tensor& given) {
  const at::Tensor x = given.contiguous();
  at::Tensor y = at::empty(x.sizes(), x.options());
  const std::int64_t size = x.numel(), bytes = x.element_size();
  const auto run_of = [&](const at::Tensor& whole, std::int64_t first, std::int64_t count) {
    // Not a view: those of an inference tensor cannot be written to by other threads.
    return at::from_blob(static_cast<std::byte*>(const_cast<void*>(whole.const_data_ptr())) + first * bytes, {count},
                         whole.scalar_type());
  };
  at::parallel_for(0, (size + kWholeRun - 1) / kWholeRun, 4, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t run = begin; run < end; ++run) {
      const std::int64_t first = run * kWholeRun, count = std::min(kWholeRun, size - first);
      at::Tensor to = run_of(y, first, count);
      whole_registers<kOperation>(run_of(x, first, count), to);
    }
  });
  return y;
}

template <Operation kOperation, Gradient kGradient>
class ByWholeRuns : public torch::autograd::Function<ByWholeRuns<kOperation, kGradient>> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x) {
    ctx->save_for_backward({x});
    return by_whole_runs<kOperation>(x);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const at::Tensor x = ctx->get_saved_variables()[0];
    return {kGradient(grads[0].to(x.scalar_type()), x)};
  }
};

template <Operation kOperation, Gradient kGradient>
at::Tensor applied(const at::Tensor& x) {
  if (!rows::readable(x)) return kOperation(x);
  return learns(x) ? ByWholeRuns<kOperation, kGradient>::apply(x) : by_whole_runs<kOperation>(x);
}

at::Tensor silu_of(const at::Tensor& x) {
  return at::silu(x);
}

at::Tensor silu_gradient(const at::Tensor& grad, const at::Tensor& x) {
  return at::silu_backward(grad, x);
}

// By a name of its own: gated() asks for it.
at::Tensor silu(const at::Tensor& x) {
  return applied<silu_of, silu_gradient>(x);
}

at::Tensor gelu_of(const at::Tensor& x) {
  return at::gelu(x);
}

at::Tensor gelu_gradient(const at::Tensor& grad, const at::Tensor& x) {
  return at::gelu_backward(grad, x);
}

at::Tensor gelu_new_of(const at::Tensor& x) {
  return at::gelu(x, "tanh");
}

at::Tensor gelu_new_gradient(const at::Tensor& grad, const at::Tensor& x) {
  return at::gelu_backward(grad, x, "tanh");
}

// By a name of its own, too.
at::Tensor gelu_new(const at::Tensor& x) {
  return applied<gelu_new_of, gelu_new_gradient>(x);
}

at::Tensor gated_at_once(rows::Gate kind, const at::Tensor& given_gate, const at::Tensor& given_up) {
  RECORD_USER_SCOPE("graft::gated");
  const at::Tensor gate = given_gate.contiguous(), up = given_up.contiguous();
  at::Tensor y = rows::empty(gate.sizes(), gate.scalar_type());
  rows::by_type(gate, [&]<typename T>(T*) {
    const auto *a = static_cast<const T*>(gate.const_data_ptr()), *b = static_cast<const T*>(up.const_data_ptr());
    auto* out = static_cast<T*>(y.data_ptr());
    by_runs(gate.numel(), [&](std::int64_t first, std::int64_t count) {
      rows::gated(kind, a + first, b + first, nullptr, out + first, count);
    });
  });
  return y;
}

// Keeps gate and up alone; plain autograd would keep activation(gate) too.
class GatedAtOnce : public torch::autograd::Function<GatedAtOnce> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& gate, const at::Tensor& up,
                            rows::Gate kind) {
    ctx->save_for_backward({gate, up});
    ctx->saved_data["kind"] = static_cast<std::int64_t>(kind);
    return gated_at_once(kind, gate, up);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    RECORD_USER_SCOPE("graft::gated_backward");
    const auto saved = ctx->get_saved_variables();
    const auto kind = static_cast<rows::Gate>(ctx->saved_data["kind"].toInt());
    const at::Tensor grad = grads[0].to(saved[0].scalar_type()).contiguous(), gate = saved[0].contiguous(),
                     up = saved[1].contiguous();
    at::Tensor grad_gate = rows::empty(gate.sizes(), gate.scalar_type()),
               grad_up = rows::empty(up.sizes(), up.scalar_type());
    rows::by_type(gate, [&]<typename T>(T*) {
      const auto *a = static_cast<const T*>(gate.const_data_ptr()), *b = static_cast<const T*>(up.const_data_ptr()),
                 *above = static_cast<const T*>(grad.const_data_ptr());
      auto *of_a = static_cast<T*>(grad_gate.data_ptr()), *of_b = static_cast<T*>(grad_up.data_ptr());
      by_runs(gate.numel(), [&](std::int64_t first, std::int64_t count) {
        rows::gated_backward(kind, above + first, a + first, b + first, nullptr,
                             rows::GateGradients<T>{of_a + first, of_b + first, nullptr}, count);
      });
    });
    return {grad_gate, grad_up, at::Tensor()};
  }
};

}  // namespace

Activation activation(const std::string& name) {
  static const std::map<std::string, Activation> known = {{"silu", silu},
                                                          {"relu", [](const at::Tensor& x) { return at::relu(x); }},
                                                          {"gelu", applied<gelu_of, gelu_gradient>},
                                                          {"gelu_new", gelu_new}};
  if (const auto found = known.find(name); found != known.end()) return found->second;
  std::vector<std::string> names;
  for (const auto& [each, function] : known) names.push_back(each);
  fail(Category::Unsupported, "activation", "'{}' is not supported{}", name, did_you_mean(name, names));
}

std::optional<rows::Gate> one_pass_gate(Activation activate, const at::Tensor& gate, const at::Tensor& up) {
  const bool readable =
      rows::readable(gate) && up.scalar_type() == gate.scalar_type() && gate.sizes() == up.sizes() && up.is_cpu();
  if (!readable || (activate != silu && activate != gelu_new)) return std::nullopt;
  return activate == silu ? rows::Gate::Silu : rows::Gate::GeluTanh;
}

at::Tensor gated(Activation activate, const at::Tensor& gate, const at::Tensor& up) {
  const auto kind = one_pass_gate(activate, gate, up);
  if (!kind) return activate(gate) * up;
  return learns(gate) || learns(up) ? GatedAtOnce::apply(gate, up, *kind) : gated_at_once(*kind, gate, up);
}

at::Tensor soft_cap(const at::Tensor& x, double cap) {
  return at::tanh(x / cap) * cap;
}

}  // namespace graft
