#include "nn/exact_linear.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "base/cpu.h"
#include "nn/kernels/any_row.h"
#include "nn/kernels/tile_product.h"
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

bool both_bfloat16(const at::Tensor& x, const at::Tensor& weight) {
  return x.is_cpu() && x.scalar_type() == at::kBFloat16 && weight.scalar_type() == at::kBFloat16;
}

// Whether the matrix [in, out] lies row by row, or its transpose does, and graft's own product of tiles is there.
bool tiles_suit(const at::Tensor& x, const at::Tensor& matrix) {
  return both_bfloat16(x, matrix) && x.size(-1) == matrix.size(0) && x.numel() > 0 && matrix.size(1) > 0 &&
         (matrix.is_contiguous() || matrix.t().is_contiguous()) && TileProduct::suits(matrix.size(0));
}

const rows::Bits* bits_of(const at::Tensor& values) {
  return static_cast<const rows::Bits*>(values.const_data_ptr());
}

void compute(const TileProduct& product) {
  const std::int64_t threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  at::parallel_for(0, product.parts(threads), 1,
                   [&](std::int64_t begin, std::int64_t end) { product.compute(threads, begin, end); });
}

// x [..., in] · matrix [in, out] plus bias [out].
at::Tensor tile_product(const at::Tensor& given, const at::Tensor& matrix, const std::optional<at::Tensor>& bias) {
  RECORD_USER_SCOPE("graft::tile_product");
  const at::Tensor x = given.contiguous(), added = bias ? bias->to(at::kBFloat16).contiguous() : at::Tensor();
  auto shape = x.sizes().vec();
  shape.back() = matrix.size(1);
  const at::Tensor y = rows::empty(shape, at::kBFloat16);
  TileProduct product{bits_of(x), bits_of(matrix)};
  if (bias) product.bias = bits_of(added);
  product.y = static_cast<rows::Bits*>(y.data_ptr());
  product.in = matrix.size(0);
  product.out = matrix.size(1);
  product.rows = x.numel() / product.in;
  product.out_in = !matrix.is_contiguous();
  compute(product);
  return y;
}

// aᵀ · b, of a [N, out] and b [N, in]: the gradient of a weight.
at::Tensor tile_product_of_rows(const at::Tensor& given_a, const at::Tensor& given_b) {
  RECORD_USER_SCOPE("graft::tile_product");
  const at::Tensor a = given_a.contiguous(), b = given_b.contiguous();
  const std::int64_t count = a.size(0), out = a.size(1), room = tile_columns(count);
  const at::Tensor turned = rows::empty({out, room}, at::kBFloat16), y = rows::empty({out, b.size(1)}, at::kBFloat16);
  auto* to = static_cast<rows::Bits*>(turned.data_ptr());
  at::parallel_for(0, tile_columns(out) / kTileColumns, 1, [&](std::int64_t begin, std::int64_t end) {
    turn_columns(bits_of(a), count, out, kTileColumns * begin, std::min(out, kTileColumns * end), to);
  });
  TileProduct product{to, bits_of(b)};
  product.y = static_cast<rows::Bits*>(y.data_ptr());
  product.rows = out;
  product.in = count;
  product.out = b.size(1);
  product.out_in = false;
  product.stride = room;
  compute(product);
  return y;
}

// Whether rows are multiplied in whole numbers: see rows::kManyRows.
bool in_whole_rows(const at::Tensor& x, const at::Tensor& weight) {
  return both_bfloat16(x, weight) && x.dim() == 2 && x.size(0) >= rows::kManyRows &&
         (cpu_features().amx || cpu_features().avx512_bf16);
}

bool is_ours(const at::Tensor& x, const at::Tensor& weight) {
  return multiplies_faster_in_fp32(x, weight) || in_whole_rows(x, weight) || tiles_suit(x, weight.t());
}

// What lies in the memory of x, to a whole number of rows.
at::Tensor whole_rows_of(const at::Tensor& x) {
  return x.as_strided({rows::whole_rows(x.size(0)), x.size(1)}, x.strides(), x.storage_offset());
}

// x [N, in] · matrix [in, out] plus bias [out]. What is behind the last row of x, if there is room, is multiplied too;
// its results are behind the last row of what is returned, and nobody's.
at::Tensor by_whole_rows(const at::Tensor& x, const at::Tensor& matrix, const std::optional<at::Tensor>& bias) {
  const at::Tensor y = rows::empty({x.size(0), matrix.size(1)}, x.scalar_type());
  const bool whole = rows::has_room(x);
  at::Tensor made = whole ? whole_rows_of(y) : y;
  const at::Tensor read = whole ? whole_rows_of(x) : x;
  if (bias) {
    at::addmm_out(made, *bias, read, matrix);
  } else {
    at::mm_out(made, read, matrix);
  }
  return y;
}

// x [..., in] · matrix [in, out] plus bias [out], in x's dtype: of tiles, in fp32 or by whole rows, as is_ours() found.
at::Tensor our_product(const at::Tensor& x, const at::Tensor& matrix, const std::optional<at::Tensor>& bias) {
  if (tiles_suit(x, matrix)) return tile_product(x, matrix, bias);
  if (in_whole_rows(x, matrix)) return by_whole_rows(x, matrix, bias);
  const auto dtype = multiplies_faster_in_fp32(x, matrix) ? at::kFloat : x.scalar_type();
  const auto added = bias ? std::optional(bias->to(dtype)) : std::nullopt;
  return at::linear(x.to(dtype), matrix.to(dtype).t(), added).to(x.scalar_type());
}

// From the gradient `above` [N, out] of x [N, in] through a weight [out, in].
at::Tensor gradient_of_weight(const at::Tensor& above, const at::Tensor& x) {
  return both_bfloat16(above, x) && x.numel() > 0 && above.numel() > 0 && TileProduct::has_tiles()
             ? tile_product_of_rows(above, x)
             : our_product(above.t(), x, std::nullopt);
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
    if (ctx->needs_input_grad(1)) grad_weight = gradient_of_weight(rows, saved[0].reshape({rows.size(0), -1}));
    if (ctx->saved_data["bias"].toBool() && ctx->needs_input_grad(2))
      grad_bias = rows.sum(0, false, at::kFloat).to(rows.scalar_type());
    return {grad_x, grad_weight, grad_bias};
  }
};

}  // namespace

at::Tensor exact_linear(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                        Activations activations) {
  const bool trained = learns(x) || learns(weight) || (bias && learns(*bias));
  if (!trained && tiles_suit(x, weight.t())) return tile_product(x, weight.t(), bias);
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
