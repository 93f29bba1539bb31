#include "nn/exact_linear.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "base/cpu.h"
#include "nn/kernels/any_row.h"
#include "nn/learns.h"

namespace graft {
namespace {

// Rows that a product takes at a time. More of them are padded, fewer read the matrix more often. A head of a large
// vocabulary is asked for few rows, each of which costs as much as a layer's or more.
constexpr std::int64_t kTileRows = 512, kHeadRows = 128, kHead = 1 << 14;

// Rows [first, first + count) of x, zeros where it has none.
at::Tensor tile_of(const at::Tensor& x, std::int64_t first, std::int64_t count) {
  const std::int64_t left = x.size(0) - first;
  if (left >= count) return x.narrow(0, first, count);
  auto shape = x.sizes().vec();
  shape[0] = count;
  const at::Tensor padded = at::zeros(shape, x.options());
  padded.narrow(0, 0, left).copy_(x.narrow(0, first, left));
  return padded;
}

at::Tensor linear_by_tiles(const at::Tensor& given, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  const at::Tensor x = given.contiguous(), matrix = weight.t();
  const std::int64_t count = weight.size(0) < kHead ? kTileRows : kHeadRows, tiles = (x.size(0) + count - 1) / count;
  const at::Tensor y = at::empty({tiles * count, weight.size(0)}, x.options());
  for (std::int64_t first = 0; first < x.size(0); first += count) {
    at::Tensor tile = y.narrow(0, first, count);
    if (bias) {
      at::addmm_out(tile, *bias, tile_of(x, first, count), matrix);
    } else {
      at::mm_out(tile, tile_of(x, first, count), matrix);
    }
  }
  return y.narrow(0, 0, x.size(0));
}

// Whether LibTorch would multiply value by value: bfloat16 on a CPU without AVX-512, a hundred times slower than fp32.
bool multiplies_faster_in_fp32(const at::Tensor& x, const at::Tensor& weight) {
  const auto& cpu = cpu_features();
  return x.is_cpu() && x.scalar_type() == at::kBFloat16 && weight.scalar_type() == at::kBFloat16 && !cpu.avx512_bf16 &&
         !cpu.avx512_vnni;
}

// Rows that are multiplied at a time, a whole number of them; 0: it is left to LibTorch. With AMX each thread takes
// some by itself: the library gives products of some shapes, which follow no rule of theirs, to one thread alone.
std::int64_t rows_at_a_time(const at::Tensor& x, const at::Tensor& weight) {
  const std::int64_t threads = at::get_num_threads(), count = x.size(0);
  const bool ours = x.dim() == 2 && x.is_cpu() && x.scalar_type() == at::kBFloat16 &&
                    weight.scalar_type() == at::kBFloat16 && count >= rows::kManyRows && !at::in_parallel_region() &&
                    (cpu_features().amx || cpu_features().avx512_bf16);
  if (!ours) return 0;
  // With fewer, what threads lose by sharing nothing is more.
  const bool split = cpu_features().amx && threads > 1 && count >= threads * rows::kManyRows;
  return rows::whole_rows(split ? (count + threads - 1) / threads : count);
}

bool is_ours(const at::Tensor& x, const at::Tensor& weight) {
  return multiplies_faster_in_fp32(x, weight) || rows_at_a_time(x, weight) > 0;
}

// Rows [first, first + count) of x; `whole`: with what lies behind them, to a whole number.
at::Tensor taken_rows(const at::Tensor& x, std::int64_t first, std::int64_t count, bool whole) {
  if (!whole) return x.narrow(0, first, count);
  return x.as_strided({rows::whole_rows(count), x.size(1)}, x.strides(), x.storage_offset() + first * x.size(1));
}

// x [N, in] · matrix [in, out] plus bias [out], `step` rows at a time. What is behind the last row of x, if there is
// room, is multiplied too; its results are behind the last row of what is returned, and nobody's.
at::Tensor by_whole_rows(const at::Tensor& x, const at::Tensor& matrix, const std::optional<at::Tensor>& bias,
                         std::int64_t step) {
  const std::int64_t all = x.size(0), steps = (all + step - 1) / step;
  const at::Tensor y = rows::empty({all, matrix.size(1)}, x.scalar_type());
  const bool whole = rows::has_room(x);
  const auto multiply = [&](std::int64_t begin, std::int64_t end) {
    const c10::InferenceMode as_here(y.is_inference());  // each thread has a mode of its own
    for (std::int64_t first = begin * step; first < std::min(end * step, all); first += step) {
      const std::int64_t count = std::min(step, all - first);
      at::Tensor made = taken_rows(y, first, count, whole);
      if (bias) {
        at::addmm_out(made, *bias, taken_rows(x, first, count, whole), matrix);
      } else {
        at::mm_out(made, taken_rows(x, first, count, whole), matrix);
      }
    }
  };
  if (steps == 1) {
    multiply(0, 1);  // with all threads
  } else {
    at::parallel_for(0, steps, 1, multiply);
  }
  return y;
}

// x [N, in] · matrix [in, out] plus bias [out], in x's dtype; in fp32 or by whole rows, as is_ours() found.
at::Tensor our_product(const at::Tensor& given_x, const at::Tensor& given_matrix,
                       const std::optional<at::Tensor>& given_bias) {
  // Other threads would keep what is needed to go backward.
  const at::Tensor x = given_x.detach(), matrix = given_matrix.detach();
  const auto bias = given_bias ? std::optional(given_bias->detach()) : std::nullopt;
  if (const std::int64_t step = rows_at_a_time(x, matrix); step > 0) return by_whole_rows(x, matrix, bias, step);
  const auto dtype = multiplies_faster_in_fp32(x, matrix) ? at::kFloat : x.scalar_type();
  const auto added = bias ? std::optional(bias->to(dtype)) : std::nullopt;
  return at::linear(x.to(dtype), matrix.to(dtype).t(), added).to(x.scalar_type());
}

// at::linear() by our_product(). What is made of the matrix for it, which takes less time than to multiply with it, is
// not kept for the backward pass.
class OurLinear : public torch::autograd::Function<OurLinear> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias) {
    ctx->saved_data["bias"] = bias.has_value();  // without one, there is no such input to ask about
    ctx->save_for_backward({weight.requires_grad() ? x : at::Tensor(), weight});
    return our_product(x, weight.t(), bias);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor& above = grads[0];
    const at::Tensor rows = above.reshape({-1, above.size(-1)});
    at::Tensor grad_x, grad_weight, grad_bias;
    if (ctx->needs_input_grad(0)) grad_x = our_product(above, saved[1], std::nullopt);
    if (ctx->needs_input_grad(1))
      grad_weight = our_product(rows.t(), saved[0].reshape({rows.size(0), -1}), std::nullopt);
    if (ctx->saved_data["bias"].toBool() && ctx->needs_input_grad(2))
      grad_bias = rows.sum(0, false, at::kFloat).to(rows.scalar_type());
    return {grad_x, grad_weight, grad_bias};
  }
};

}  // namespace

at::Tensor exact_linear(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                        Activations activations) {
  const bool trained = learns(x) || learns(weight) || (bias && learns(*bias));
  const bool invariant = activations == Activations::BatchInvariant && x.dim() == 2 && !trained;
  if (invariant && multiplies_faster_in_fp32(x, weight)) {
    const auto added = bias ? std::optional(bias->to(at::kFloat)) : std::nullopt;
    return linear_by_tiles(x.to(at::kFloat), weight.to(at::kFloat), added).to(x.scalar_type());
  }
  if (invariant) return linear_by_tiles(x, weight, bias);
  return is_ours(x, weight) ? OurLinear::apply(x, weight, bias) : at::linear(x, weight, bias);
}

at::Tensor by_tiles(const std::vector<at::Tensor>& rows,
                    const std::function<at::Tensor(const std::vector<at::Tensor>& tile)>& compute) {
  std::vector<at::Tensor> together, results;
  for (const auto& x : rows) together.push_back(x.contiguous());
  for (std::int64_t first = 0; first < rows.front().size(0); first += kTileRows) {
    std::vector<at::Tensor> tile;
    for (const auto& x : together) tile.push_back(tile_of(x, first, kTileRows));
    results.push_back(compute(tile));
  }
  return at::cat(results).narrow(0, 0, rows.front().size(0));
}

}  // namespace graft
