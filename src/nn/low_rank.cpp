#include "nn/low_rank.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <iterator>

#include "nn/attention_block.h"
#include "nn/learns.h"
#include "nn/low_rank_rows.h"
#include "nn/row_scale.h"

namespace graft {
namespace {

// Rows that are multiplied at a time where there are several runs: the threads are not to wait for a long one.
constexpr std::int64_t kPieceRows = 128;

std::vector<SlotRun> runs_with_update(const LowRankRuns& by) {
  std::vector<SlotRun> runs;
  std::copy_if(by.runs.begin(), by.runs.end(), std::back_inserter(runs),
               [](const SlotRun& run) { return run.slot >= 0; });
  return runs;
}

// A run that is the only one with an update stays whole.
std::vector<SlotRun> pieces_of(const LowRankRuns& by) {
  std::vector<SlotRun> runs = runs_with_update(by), pieces;
  if (runs.size() < 2) return runs;
  for (const auto& run : runs) {
    for (std::int64_t done = 0; done < run.tokens.length; done += kPieceRows)
      pieces.push_back({{run.tokens.begin + done, std::min(kPieceRows, run.tokens.length - done)}, run.slot});
  }
  return pieces;
}

// work(unit) for each of the units, which write to what was made as `made` was. Where there are several runs each is
// done by one thread of the CPU; of a single run LibTorch shares out every product.
void share_out(const LowRankRuns& by, const at::Tensor& made, std::size_t units,
               const std::function<void(std::size_t unit)>& work) {
  const at::NoGradGuard no_grad;
  if (!made.is_cpu() || runs_with_update(by).size() < 2) {
    for (std::size_t unit = 0; unit < units; ++unit) work(unit);
    return;
  }
  const bool inference = made.is_inference();
  by_free_threads(units, [&](std::int64_t, std::size_t unit) {
    const c10::InferenceMode as_here(inference);  // each thread has modes of its own
    const at::NoGradGuard none_there;
    work(unit);
  });
}

const LowRankUpdate& update_of(const LowRankRuns& by, const SlotRun& run) {
  return by.updates[static_cast<std::size_t>(run.slot)];
}

at::Tensor rows_of(const at::Tensor& x, const SlotRun& run) {
  return run.tokens.length == x.size(0) ? x : x.narrow(0, run.tokens.begin, run.tokens.length);
}

// x aᵀ of a run, or its gradient, in a tensor of all rows [N, the largest R].
at::Tensor inner_of(const at::Tensor& inner, const SlotRun& run, const LowRankUpdate& update) {
  const at::Tensor rows = rows_of(inner, run);
  const std::int64_t rank = update.a.size(0);
  return rank == rows.size(1) ? rows : rows.narrow(1, 0, rank);
}

// Unwritten; rows without an update stay so.
at::Tensor room_for_inner(const LowRankRuns& by, const at::Tensor& beside) {
  std::int64_t rank = 0;
  for (const auto& update : by.updates) rank = std::max(rank, update.a.size(0));
  return at::empty({beside.size(0), rank}, beside.options());
}

LowRankResult with_updates(const at::Tensor& y, const at::Tensor& x, const LowRankRuns& by) {
  RECORD_USER_SCOPE("graft::low_rank");
  if (goes_row_by_row(y, x, by)) return sums_row_by_row(y, x, by);
  const at::Tensor read = x.to(at::kFloat), sum = y.to(at::kFloat, /*non_blocking=*/false, /*copy=*/true),
                   inner = room_for_inner(by, sum);
  const auto pieces = pieces_of(by);
  share_out(by, sum, pieces.size(), [&](std::size_t unit) {
    const SlotRun& piece = pieces[unit];
    const LowRankUpdate& update = update_of(by, piece);
    at::Tensor middle = inner_of(inner, piece, update);
    at::mm_out(middle, rows_of(read, piece), update.a.t());
    rows_of(sum, piece).addmm_(middle, update.b.t(), 1, update.scale);
  });
  return {sum.to(y.scalar_type()), inner};
}

struct LowRankRowGradients {
  at::Tensor inner;  // of x aᵀ, where x aᵀ itself would be
  at::Tensor x;      // [N, in] fp32, where it is asked for
};

// From `above` [N, out] fp32, of rows `in` wide.
LowRankRowGradients row_gradients(const at::Tensor& above, std::int64_t in, const LowRankRuns& by,
                                  const LowRankWishes& wishes) {
  LowRankRowGradients made;
  made.inner = room_for_inner(by, above);
  if (wishes.x) {
    made.x = at::empty({above.size(0), in}, above.options());
    for (const auto& run : by.runs) {
      if (run.slot < 0) rows_of(made.x, run).zero_();
    }
  }
  const auto pieces = pieces_of(by);
  share_out(by, made.inner, pieces.size(), [&](std::size_t unit) {
    const SlotRun& piece = pieces[unit];
    if (!wishes.x && !wishes.a(static_cast<std::size_t>(piece.slot))) return;
    const LowRankUpdate& update = update_of(by, piece);
    at::Tensor middle = inner_of(made.inner, piece, update);
    at::mm_out(middle, rows_of(above, piece), update.b);
    middle.mul_(update.scale);
    if (!wishes.x) return;
    at::Tensor rows = rows_of(made.x, piece);
    at::mm_out(rows, middle, update.a);
  });
  return made;
}

// The gradients of all factors that are asked for. `rows` are x in fp32, `inner` x aᵀ and `of_inner` its gradient.
std::vector<at::Tensor> factor_gradients(const at::Tensor& above, const at::Tensor& rows, const at::Tensor& inner,
                                         const at::Tensor& of_inner, const LowRankRuns& by,
                                         const LowRankWishes& wishes) {
  std::vector<at::Tensor> gradients(wishes.factors.size());
  share_out(by, of_inner, gradients.size(), [&](std::size_t factor) {
    if (!wishes.factors[factor]) return;
    const LowRankUpdate& update = by.updates[factor / 2];
    const bool of_a = factor % 2 == 0;
    const at::Tensor sum = at::zeros_like(of_a ? update.a : update.b);
    for (const auto& run : by.runs) {
      if (run.slot != static_cast<std::int32_t>(factor / 2)) continue;
      if (of_a) {
        sum.addmm_(inner_of(of_inner, run, update).t(), rows_of(rows, run));
      } else {
        sum.addmm_(rows_of(above, run).t(), inner_of(inner, run, update), 1, update.scale);
      }
    }
    gradients[factor] = sum;
  });
  return gradients;
}

LowRankGradients gradients(const at::Tensor& given, const at::Tensor& x, const at::Tensor& inner, const LowRankRuns& by,
                           const LowRankWishes& wishes) {
  RECORD_USER_SCOPE("graft::low_rank_backward");
  if (goes_row_by_row(given, x, by)) return gradients_row_by_row(given, x, inner, by, wishes);
  const at::Tensor above = given.to(at::kFloat);
  const LowRankRowGradients of_rows = row_gradients(above, x.size(1), by, wishes);
  const at::Tensor rows = wishes.any_a() ? x.to(at::kFloat) : at::Tensor();
  return {wishes.x ? of_rows.x.to(x.scalar_type()) : at::Tensor(),
          factor_gradients(above, rows, inner, of_rows.inner, by, wishes)};
}

class LowRankSums : public torch::autograd::Function<LowRankSums> {
 public:
  /// `factors` are a and b of each update: autograd looks into no other arguments.
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& y, const at::Tensor& x,
                            at::TensorList factors, const LowRankRuns& by) {
    const LowRankResult made = with_updates(y, x, by);
    torch::autograd::variable_list kept = {x, made.inner};
    kept.insert(kept.end(), factors.begin(), factors.end());
    ctx->save_for_backward(kept);
    std::vector<double> scales;
    for (const auto& update : by.updates) scales.push_back(update.scale);
    ctx->saved_data["scales"] = scales;
    ctx->saved_data["runs"] = as_numbers(by.runs);
    return made.result;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &inner = saved[1];
    LowRankRuns by{{}, as_runs(ctx->saved_data["runs"].toIntVector())};
    for (const double scale : ctx->saved_data["scales"].toDoubleVector()) {
      const std::size_t next = kFactors + 2 * by.updates.size();
      by.updates.push_back({saved[next], saved[next + 1], scale});
    }
    LowRankWishes wishes{ctx->needs_input_grad(1), {}};
    for (std::size_t input = kFactors; input < saved.size(); ++input)
      wishes.factors.push_back(ctx->needs_input_grad(input));
    const LowRankGradients made = gradients(grads[0], x, inner, by, wishes);
    torch::autograd::variable_list result = {grads[0], made.x};
    result.insert(result.end(), made.factors.begin(), made.factors.end());
    result.emplace_back();  // of `by`
    return result;
  }

 private:
  // Among the inputs, behind y and x, and among what is kept, behind x and x aᵀ.
  static constexpr std::size_t kFactors = 2;
};

}  // namespace

at::Tensor low_rank_sums(const at::Tensor& y, const at::Tensor& x, const LowRankRuns& by) {
  std::vector<at::Tensor> factors;
  for (const auto& update : by.updates) factors.insert(factors.end(), {update.a, update.b});
  const bool goes_backward = learns(y) || learns(x) || std::any_of(factors.begin(), factors.end(), learns);
  return goes_backward ? LowRankSums::apply(y, x, at::TensorList(factors), by) : with_updates(y, x, by).result;
}

at::Tensor low_rank_sum(const at::Tensor& y, const at::Tensor& x, const LowRankUpdate& update) {
  const LowRankRuns by{{update}, {{{0, x.size(0)}, 0}}};
  return low_rank_sums(y, x, by);
}

}  // namespace graft
