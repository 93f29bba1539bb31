#include "nn/chosen_log_probability.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <limits>
#include <vector>

#include "nn/kernels/any_row.h"
#include "nn/learns.h"

namespace graft {
namespace {

// log Σ exp of each row [K] fp32; NaN of a row that is not finite.
at::Tensor log_totals(const at::Tensor& logits) {
  RECORD_USER_SCOPE("graft::log_totals");
  const std::int64_t width = logits.size(1);
  const at::Tensor totals = at::empty({logits.size(0)}, logits.options().dtype(at::kFloat));
  auto* total = totals.data_ptr<float>();
  at::parallel_for(0, logits.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(width));
    for (std::int64_t n = begin; n < end; ++n) {
      rows::read(logits, n * width, row.data(), width);
      if (!rows::finite(row.data(), width)) {
        total[n] = std::numeric_limits<float>::quiet_NaN();
        continue;
      }
      const float largest = rows::largest(row.data(), width);
      total[n] = largest + std::log(rows::exponentials(row.data(), largest, width));
    }
  });
  return totals;
}

at::Tensor chosen(const at::Tensor& logits, const at::Tensor& places, const at::Tensor& targets,
                  const at::Tensor& totals) {
  return logits.index({places, targets}).to(at::kFloat) - totals.index_select(0, places);
}

class ChosenLogProbability : public torch::autograd::Function<ChosenLogProbability> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& logits, const at::Tensor& places,
                            const at::Tensor& targets) {
    const at::Tensor totals = log_totals(logits);
    ctx->save_for_backward({logits, places, targets, totals});
    return chosen(logits, places, targets, totals);
  }

  // Of a logit: what its own tokens ask for, less its probability of what all tokens of the row ask for.
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    RECORD_USER_SCOPE("graft::chosen_log_probability_backward");
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &logits = saved[0], &totals = saved[3];
    const at::Tensor places = saved[1].contiguous(), targets = saved[2].contiguous(),
                     grad = grads[0].to(at::kFloat).contiguous();
    const std::int64_t width = logits.size(1);
    std::vector<std::vector<std::int64_t>> tokens(static_cast<std::size_t>(logits.size(0)));  // of each row
    for (std::int64_t t = 0; t < places.numel(); ++t)
      tokens[static_cast<std::size_t>(places.const_data_ptr<std::int64_t>()[t])].push_back(t);
    at::Tensor result = at::empty(logits.sizes(), logits.options());
    const auto* total = totals.const_data_ptr<float>();
    const auto* above = grad.const_data_ptr<float>();
    const auto* target = targets.const_data_ptr<std::int64_t>();
    at::parallel_for(0, logits.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
      std::vector<float> row(static_cast<std::size_t>(width));
      for (std::int64_t n = begin; n < end; ++n) {
        rows::read(logits, n * width, row.data(), width);
        rows::exponentials(row.data(), total[n], width);
        float sum = 0;
        for (const auto t : tokens[static_cast<std::size_t>(n)]) sum += above[t];
        rows::scale(row.data(), -sum, width);
        for (const auto t : tokens[static_cast<std::size_t>(n)]) row[static_cast<std::size_t>(target[t])] += above[t];
        rows::write(row.data(), result, n * width, width);
      }
    });
    return {result, at::Tensor(), at::Tensor()};
  }
};

// The log-probability of each row's target, [K]; a row of logits becomes what it asks of them: one at the target, less
// the probabilities.
at::Tensor asked_of(at::Tensor& logits, const at::Tensor& targets) {
  RECORD_USER_SCOPE("graft::target_log_probability");
  const std::int64_t width = logits.size(1);
  const at::Tensor result = at::empty({logits.size(0)}, logits.options().dtype(at::kFloat));
  auto* log_p = result.data_ptr<float>();
  const auto* target = targets.const_data_ptr<std::int64_t>();
  at::parallel_for(0, logits.size(0), 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(width));
    for (std::int64_t n = begin; n < end; ++n) {
      rows::read(logits, n * width, row.data(), width);
      float& chosen = row[static_cast<std::size_t>(target[n])];
      const float logit = chosen, largest = rows::finite(row.data(), width) ? rows::largest(row.data(), width)
                                                                            : std::numeric_limits<float>::quiet_NaN();
      const float total = rows::exponentials(row.data(), largest, width);
      log_p[n] = logit - (largest + std::log(total));
      rows::scale(row.data(), -1.0F / total, width);
      chosen += 1.0F;
      rows::write(row.data(), logits, n * width, width);
    }
  });
  return result;
}

class TargetLogProbability : public torch::autograd::Function<TargetLogProbability> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& hidden, const at::Tensor& targets,
                            const LogitFunction* logits) {
    const at::Tensor leaf = hidden.detach().requires_grad_(true);
    at::Tensor made;
    {
      const at::AutoGradMode enabled(true);
      made = (*logits)(leaf);
    }
    at::Tensor asked = made.detach().contiguous();
    at::Tensor log_p = asked_of(asked, targets);
    torch::autograd::impl::bump_version(made);  // were it needed to go backward, that would not go unnoticed
    ctx->save_for_backward({torch::autograd::grad({made}, {leaf}, {asked}).front()});
    return log_p;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const at::Tensor asked = ctx->get_saved_variables()[0];
    return {at::mul(asked, grads[0].unsqueeze(1)).to(asked.scalar_type()), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor target_log_probability(const LogitFunction& logits, const at::Tensor& hidden, const at::Tensor& targets) {
  return TargetLogProbability::apply(hidden, targets.contiguous(), &logits);
}

at::Tensor chosen_log_probability(const at::Tensor& given, const at::Tensor& places, const at::Tensor& targets) {
  if (!rows::readable(given)) return at::log_softmax(given, -1, at::kFloat).index({places, targets});
  const at::Tensor logits = given.contiguous();
  return learns(logits) ? ChosenLogProbability::apply(logits, places, targets)
                        : chosen(logits, places, targets, log_totals(logits));
}

}  // namespace graft
