#include "nn/exact_linear.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include "base/cpu.h"
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

std::optional<at::Tensor> widened(const std::optional<at::Tensor>& x) {
  return x ? std::optional(x->to(at::kFloat)) : std::nullopt;
}

// A linear map in fp32 of what is kept in bfloat16, whose sums are fp32 in either case. The widened matrix, which takes
// less time to make than to multiply with, is not kept for the backward pass.
class WidenedLinear : public torch::autograd::Function<WidenedLinear> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias) {
    ctx->saved_data["bias"] = bias.has_value();  // without one, there is no such input to ask about
    ctx->save_for_backward({weight.requires_grad() ? x : at::Tensor(), weight});
    return at::linear(x.to(at::kFloat), weight.to(at::kFloat), widened(bias)).to(x.scalar_type());
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor above = grads[0].to(at::kFloat), rows = above.reshape({-1, above.size(-1)});
    const auto dtype = saved[1].scalar_type();
    at::Tensor grad_x, grad_weight, grad_bias;
    if (ctx->needs_input_grad(0)) grad_x = at::matmul(above, saved[1].to(at::kFloat)).to(dtype);
    if (ctx->needs_input_grad(1))
      grad_weight = at::mm(rows.t(), saved[0].to(at::kFloat).reshape({rows.size(0), -1})).to(dtype);
    if (ctx->saved_data["bias"].toBool() && ctx->needs_input_grad(2)) grad_bias = rows.sum(0).to(dtype);
    return {grad_x, grad_weight, grad_bias};
  }
};

}  // namespace

at::Tensor exact_linear(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                        Activations activations) {
  const bool trained = learns(x) || learns(weight) || (bias && learns(*bias));
  const bool invariant = activations == Activations::BatchInvariant && x.dim() == 2 && !trained;
  const bool widens = multiplies_faster_in_fp32(x, weight);
  if (invariant && widens)
    return linear_by_tiles(x.to(at::kFloat), weight.to(at::kFloat), widened(bias)).to(x.scalar_type());
  if (widens) return WidenedLinear::apply(x, weight, bias);
  return invariant ? linear_by_tiles(x, weight, bias) : at::linear(x, weight, bias);
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
