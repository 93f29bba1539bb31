#include "train/optim.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "base/suggest.h"
#include "nn/kernels/rows.h"

namespace graft {
namespace {

constexpr std::int64_t kLargeTensor = 1 << 15;  // values from which on the threads share one
constexpr std::int64_t kSmallPerThread = 8;     // tensors

// Place by place.
struct SteppedTensors {
  std::vector<at::Tensor> values, gradients, means, squares;

  std::int64_t count() const { return static_cast<std::int64_t>(values.size()); }
  void add(const at::Tensor& value, const at::Tensor& gradient, const at::Tensor& mean, const at::Tensor& square) {
    values.push_back(value);
    gradients.push_back(gradient);
    means.push_back(mean);
    squares.push_back(square);
  }
};

// LibTorch's fused step: one reading of each value instead of eight.
class AdamW : public Optimizer {
 public:
  AdamW(const OptimizerSettings& settings, std::vector<at::Tensor> parameters, const std::vector<double>& lr_ratios)
      : settings_(settings), parameters_(std::move(parameters)) {
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      mean_.push_back(at::zeros_like(parameters_[i].detach()));
      square_.push_back(at::zeros_like(parameters_[i].detach()));
      of_ratio_[lr_ratios[i]].push_back(i);
    }
  }

  void step(double run_lr) override {
    const at::NoGradGuard no_grad;
    ++steps_;
    for (const auto& [ratio, members] : of_ratio_) step(members, run_lr * ratio);
  }

  std::map<std::string, at::Tensor> state() const override {
    std::map<std::string, at::Tensor> state;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      state[fmt::format("mean.{}", i)] = mean_[i];
      state[fmt::format("square.{}", i)] = square_[i];
    }
    return state;
  }

  void set_steps(std::int64_t steps) override { steps_ = steps; }

 private:
  void step(const std::vector<std::size_t>& members, double lr) {
    SteppedTensors small, large;
    for (const std::size_t i : members) {
      const at::Tensor& value = parameters_[i];
      if (!value.grad().defined()) continue;
      const bool is_small = value.is_cpu() && value.numel() < kLargeTensor;
      (is_small ? small : large).add(value, laid_out_like(value, value.grad()), mean_[i], square_[i]);
      value.mutable_grad().reset();
    }
    step_small(small, lr);
    step(large, 0, large.count(), lr);
  }

  // LibTorch has the threads meet at every tensor, which takes longer than to step a small one: each of these is one
  // thread's. Their bits are the same.
  void step_small(const SteppedTensors& of, double lr) const {
    RECORD_USER_SCOPE("graft::adamw");
    at::parallel_for(0, of.count(), kSmallPerThread, [&](std::int64_t begin, std::int64_t end) {
      const at::DisableRecordFunctionGuard unrecorded;  // the profile tells of all of it as a whole
      const at::NoGradGuard none_there;                 // each thread has modes of its own
      step(of, begin, end, lr);
    });
  }

  // Those at the places [begin, end).
  void step(const SteppedTensors& of, std::int64_t begin, std::int64_t end, double lr) const {
    if (begin == end) return;
    const auto count = static_cast<std::size_t>(end - begin);
    const auto some = [&](const std::vector<at::Tensor>& all) {
      return at::TensorList(all).slice(static_cast<std::size_t>(begin), count);
    };
    const at::TensorList values = some(of.values), means = some(of.means);
    // One for all: it is only read.
    const at::Tensor number = at::full({}, steps_, means.front().options().dtype(at::kFloat));
    const std::vector<at::Tensor> steps(count, number);
    at::_fused_adamw_(values, some(of.gradients), means, some(of.squares), {}, steps, lr, settings_.beta1,
                      settings_.beta2, settings_.weight_decay, settings_.eps, false, false);
    // LibTorch does not count what this step changes.
    for (const auto& value : values) torch::autograd::impl::bump_version(value);
  }

  // The fused step goes through memory in one order for all four tensors.
  static at::Tensor laid_out_like(const at::Tensor& value, const at::Tensor& gradient) {
    return gradient.strides() == value.strides() ? gradient : at::empty_like(value).copy_(gradient);
  }

  OptimizerSettings settings_;
  std::vector<at::Tensor> parameters_, mean_, square_;
  std::map<double, std::vector<std::size_t>> of_ratio_;  // places in parameters_
  std::int64_t steps_ = 0;
};

// No number of a tensor without values: std::max keeps what stands before it.
double root_mean_square(const at::Tensor& values) {
  return values.norm().item<double>() / std::sqrt(static_cast<double>(values.numel()));
}

// Matrices keep row and column means of the squared gradient; vectors keep it whole.
class Adafactor : public Optimizer {
 public:
  Adafactor(const OptimizerSettings& settings, std::vector<at::Tensor> parameters, std::vector<double> lr_ratios)
      : settings_(settings), parameters_(std::move(parameters)), lr_ratios_(std::move(lr_ratios)) {
    for (const auto& parameter : parameters_) {
      const bool matrix = parameter.dim() >= 2;
      auto reduced = parameter.sizes().vec();
      auto columns = reduced;
      if (matrix) {
        reduced.pop_back();
        columns.erase(columns.end() - 2);
      }
      first_.push_back(at::zeros(reduced, parameter.options().requires_grad(false)));
      second_.push_back(matrix ? at::zeros(columns, parameter.options().requires_grad(false)) : at::Tensor());
    }
  }

  void step(double run_lr) override {
    const at::NoGradGuard no_grad;
    ++steps_;
    const double decay = 1 - std::pow(static_cast<double>(steps_), -0.8);
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      at::Tensor& parameter = parameters_[i];
      const at::Tensor grad = parameter.grad();
      if (!grad.defined()) continue;
      const double lr = run_lr * lr_ratios_[i] * scale_of(parameter);
      at::Tensor update = preconditioned(i, grad, decay);
      update.div_(std::max(1.0, root_mean_square(update))).mul_(lr);
      if (settings_.weight_decay != 0) parameter.add_(parameter, -settings_.weight_decay * lr);
      parameter.sub_(update);
      parameter.mutable_grad().reset();
    }
  }

  std::map<std::string, at::Tensor> state() const override {
    std::map<std::string, at::Tensor> state;
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
      state[fmt::format("first.{}", i)] = first_[i];
      if (second_[i].defined()) state[fmt::format("second.{}", i)] = second_[i];
    }
    return state;
  }

  void set_steps(std::int64_t steps) override { steps_ = steps; }

 private:
  double scale_of(const at::Tensor& parameter) const {
    constexpr double kLeast = 1e-3;
    return settings_.scale_parameter ? std::max(kLeast, root_mean_square(parameter)) : 1;
  }

  at::Tensor preconditioned(std::size_t i, const at::Tensor& grad, double decay) {
    constexpr double kEps = 1e-30;
    const at::Tensor square = grad * grad + kEps;
    if (!second_[i].defined()) {
      first_[i].mul_(decay).add_(square, 1 - decay);
      return first_[i].rsqrt() * grad;
    }
    first_[i].mul_(decay).add_(square.mean(-1), 1 - decay);
    second_[i].mul_(decay).add_(square.mean(-2), 1 - decay);
    const at::Tensor rows = (first_[i] / first_[i].mean(-1, true)).rsqrt_().unsqueeze(-1);
    return rows * second_[i].rsqrt().unsqueeze(-2) * grad;
  }

  OptimizerSettings settings_;
  std::vector<at::Tensor> parameters_, first_, second_;
  std::vector<double> lr_ratios_;
  std::int64_t steps_ = 0;
};

// Whether all that lies from the first value to the last is the tensor's, in whatever order, and rows::dot() reads it.
bool is_one_run(const at::Tensor& values) {
  return values.is_cpu() && values.scalar_type() == at::kFloat && values.layout() == at::kStrided &&
         values.is_non_overlapping_and_dense();
}

// Of all values together. LibTorch has a call for each tensor, which for an adapter's is more work than its values are.
double norm_of_runs(const std::vector<at::Tensor>& tensors) {
  constexpr std::int64_t kPartValues = 1 << 12;  // the sums of more, which are fp32, would lose digits
  constexpr std::int64_t kPartsPerThread = 128;
  std::vector<std::pair<const float*, std::int64_t>> parts;
  for (const auto& tensor : tensors) {
    const auto* values = tensor.const_data_ptr<float>();
    for (std::int64_t first = 0; first < tensor.numel(); first += kPartValues)
      parts.emplace_back(values + first, std::min(kPartValues, tensor.numel() - first));
  }
  std::vector<double> squares(parts.size());
  at::parallel_for(0, static_cast<std::int64_t>(parts.size()), kPartsPerThread,
                   [&](std::int64_t begin, std::int64_t end) {
                     for (auto part = static_cast<std::size_t>(begin); part < static_cast<std::size_t>(end); ++part) {
                       const auto& [values, count] = parts[part];
                       squares[part] = rows::dot(values, values, count);
                     }
                   });
  return std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0));
}

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(const OptimizerSettings& settings, std::vector<at::Tensor> parameters,
                                          std::vector<double> lr_ratios) {
  lr_ratios.resize(parameters.size(), 1);
  if (settings.name == "adamw") return std::make_unique<AdamW>(settings, std::move(parameters), lr_ratios);
  if (settings.name == "adafactor")
    return std::make_unique<Adafactor>(settings, std::move(parameters), std::move(lr_ratios));
  fail(Category::InvalidArgument, "optimizer.name", "unknown optimiser '{}'{}", settings.name,
       did_you_mean(settings.name, {"adafactor", "adamw"}));
}

double clip_gradients(const std::vector<at::Tensor>& parameters, double limit) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> gradients;
  for (const auto& parameter : parameters) {
    if (parameter.grad().defined()) gradients.push_back(parameter.grad());
  }
  if (gradients.empty()) return 0;
  // Elsewhere one value leaves the device, however many tensors there are.
  const double norm = std::all_of(gradients.begin(), gradients.end(), is_one_run)
                          ? norm_of_runs(gradients)
                          : at::stack(at::_foreach_norm(gradients)).norm(2, at::kDouble).item<double>();
  if (limit > 0 && norm > limit && std::isfinite(norm)) at::_foreach_mul_(gradients, limit / norm);
  return norm;
}

double learning_rate(const std::string& schedule, double peak, std::int64_t step, std::int64_t steps,
                     std::int64_t warmup) {
  if (step < warmup) return peak * static_cast<double>(step + 1) / static_cast<double>(warmup);
  if (schedule == "constant") return peak;
  const double done =
      static_cast<double>(step - warmup) / static_cast<double>(std::max<std::int64_t>(1, steps - warmup));
  if (schedule == "linear") return peak * (1 - done);
  if (schedule == "cosine") return peak * 0.5 * (1 + std::cos(std::numbers::pi * done));
  fail(Category::InvalidArgument, "schedule", "unknown schedule '{}'{}", schedule,
       did_you_mean(schedule, {"linear", "constant", "cosine"}));
}

}  // namespace graft
