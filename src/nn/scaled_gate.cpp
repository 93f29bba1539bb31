#include "nn/scaled_gate.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "nn/kernels/any_row.h"
#include "nn/learns.h"
#include "nn/row_scale.h"

namespace graft {
namespace {

at::Tensor scaled_product(rows::Gate kind, const at::Tensor& given_gate, const at::Tensor& given_up,
                          const RowScales& by) {
  RECORD_USER_SCOPE("graft::scaled_gate");
  const at::Tensor gate = given_gate.contiguous(), up = given_up.contiguous();
  at::Tensor y = rows::empty(gate.sizes(), gate.scalar_type());
  const std::int64_t width = gate.size(1);
  const ScaleVectors scales(by.scales, width);
  const auto parts = parts_of(by.runs);
  rows::by_type(gate, [&]<typename T>(T*) {
    const auto *a = static_cast<const T*>(gate.const_data_ptr()), *b = static_cast<const T*>(up.const_data_ptr());
    auto* out = static_cast<T*>(y.data_ptr());
    at::parallel_for(0, static_cast<std::int64_t>(parts.size()), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t part = begin; part < end; ++part) {
        const auto& [tokens, slot] = parts[static_cast<std::size_t>(part)];
        if (part + 1 < end) scales.ask_for(parts[static_cast<std::size_t>(part) + 1].slot);
        const float* scale = scales.of(slot);
        for (std::int64_t n = tokens.begin; n < tokens.begin + tokens.length; ++n)
          rows::gated(kind, a + n * width, b + n * width, scale, out + n * width, width);
      }
    });
  });
  return y;
}

// The gradients of gate, up and scales, row by row.
class Gradients {
 public:
  Gradients(rows::Gate kind, const at::Tensor& gate, const at::Tensor& up, const RowScales& by, const at::Tensor& grad)
      : kind_(kind),
        gate_(gate.contiguous()),
        up_(up.contiguous()),
        count_(by.scales.size()),
        scales_(by.scales, gate.size(1)),
        grad_(grad.to(gate.scalar_type()).contiguous()),
        parts_(parts_of(by.runs)),
        width_(gate.size(1)),
        of_gate_(rows::empty(gate.sizes(), gate.scalar_type())),
        of_up_(rows::empty(up.sizes(), up.scalar_type())),
        of_parts_(rows::empty({static_cast<std::int64_t>(parts_.size()), width_}, at::kFloat)) {
    rows::by_type(gate_, [&]<typename T>(T*) {
      at::parallel_for(0, static_cast<std::int64_t>(parts_.size()), 1, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t part = begin; part < end; ++part) compute<T>(part);
      });
    });
  }

  const at::Tensor& gate() const { return of_gate_; }
  const at::Tensor& up() const { return of_up_; }
  std::vector<at::Tensor> scales() const {
    std::vector<at::Tensor> sums;
    for (std::size_t slot = 0; slot < count_; ++slot) {
      sums.push_back(rows::empty({width_}, at::kFloat));
      std::fill_n(sums.back().data_ptr<float>(), width_, 0.0F);
    }
    for (std::size_t part = 0; part < parts_.size(); ++part) {
      if (parts_[part].slot < 0) continue;
      const at::Tensor& sum = sums[static_cast<std::size_t>(parts_[part].slot)];
      const auto from = static_cast<std::int64_t>(part) * width_;
      rows::add_scaled(sum.data_ptr<float>(), 1.0F, of_parts_.const_data_ptr<float>() + from, width_);
    }
    return sums;
  }

 private:
  template <typename T>
  void compute(std::int64_t part) {
    const auto& [tokens, slot] = parts_[static_cast<std::size_t>(part)];
    const float* scale = scales_.of(slot);
    float* of_scale = of_parts_.data_ptr<float>() + part * width_;
    std::fill_n(of_scale, width_, 0.0F);
    const auto values = [](const at::Tensor& x) { return static_cast<const T*>(x.const_data_ptr()); };
    for (std::int64_t n = tokens.begin; n < tokens.begin + tokens.length; ++n) {
      const std::int64_t at = n * width_;
      const rows::GateGradients<T> out{static_cast<T*>(of_gate_.data_ptr()) + at,
                                       static_cast<T*>(of_up_.data_ptr()) + at, of_scale};
      rows::gated_backward(kind_, values(grad_) + at, values(gate_) + at, values(up_) + at, scale, out, width_);
    }
  }

  rows::Gate kind_;
  at::Tensor gate_, up_;
  std::size_t count_;  // of the scales
  ScaleVectors scales_;
  at::Tensor grad_;
  std::vector<SlotRun> parts_;
  std::int64_t width_;
  at::Tensor of_gate_, of_up_, of_parts_;
};

class ScaledGate : public torch::autograd::Function<ScaledGate> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& gate, const at::Tensor& up,
                            at::TensorList scales, const std::vector<SlotRun>& runs, rows::Gate kind) {
    torch::autograd::variable_list kept = {gate, up};
    kept.insert(kept.end(), scales.begin(), scales.end());
    ctx->save_for_backward(kept);
    ctx->saved_data["runs"] = as_numbers(runs);
    ctx->saved_data["kind"] = static_cast<std::int64_t>(kind);
    return scaled_product(kind, gate, up, {scales.vec(), runs});
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    RECORD_USER_SCOPE("graft::scaled_gate_backward");
    const auto saved = ctx->get_saved_variables();
    const RowScales by{at::TensorList(saved).slice(2).vec(), as_runs(ctx->saved_data["runs"].toIntVector())};
    const Gradients gradients(static_cast<rows::Gate>(ctx->saved_data["kind"].toInt()), saved[0], saved[1], by,
                              grads[0]);
    torch::autograd::variable_list result = {gradients.gate(), gradients.up()};
    for (auto& sum : gradients.scales()) result.push_back(std::move(sum));
    result.resize(result.size() + 2);  // of the runs and the kind
    return result;
  }
};

}  // namespace

at::Tensor scaled_gate(rows::Gate kind, const at::Tensor& gate, const at::Tensor& up, const RowScales& by) {
  const bool goes_backward = learns(gate) || learns(up) || std::any_of(by.scales.begin(), by.scales.end(), learns);
  return goes_backward ? ScaledGate::apply(gate, up, at::TensorList(by.scales), by.runs, kind)
                       : scaled_product(kind, gate, up, by);
}

}  // namespace graft
