#include "nn/exact_linear.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

#include "base/cpu.h"
#include "nn/kernels/any_row.h"
#include "nn/kernels/tile_product.h"
#include "nn/kernels/tile_strips.h"
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

void compute(const TileProducts& products) {
  const std::int64_t threads = at::in_parallel_region() ? 1 : at::get_num_threads();
  at::parallel_for(0, products.parts(threads), 1,
                   [&](std::int64_t begin, std::int64_t end) { products.compute(threads, begin, end); });
}

// y = x [..., in] · matrix [in, out] plus a bias [out], which may be undefined. All of them outlive it; x and y are
// contiguous.
TileProduct described(const at::Tensor& x, const at::Tensor& matrix, const at::Tensor& bias, const at::Tensor& y) {
  TileProduct product{bits_of(x), bits_of(matrix)};
  if (bias.defined()) product.bias = bits_of(bias);
  product.y = static_cast<rows::Bits*>(y.data_ptr());
  product.in = matrix.size(0);
  product.out = matrix.size(1);
  product.rows = x.numel() / product.in;
  product.out_in = !matrix.is_contiguous();
  return product;
}

// [..., width] beside x [..., in].
at::Tensor room_beside(const at::Tensor& x, std::int64_t width) {
  auto shape = x.sizes().vec();
  shape.back() = width;
  return rows::empty(shape, at::kBFloat16);
}

// y [..., out] of each map of x [..., in].
std::vector<at::Tensor> tile_products(const at::Tensor& given, const std::vector<DenseMap>& maps) {
  RECORD_USER_SCOPE("graft::tile_product");
  const at::Tensor x = given.contiguous();
  std::vector<at::Tensor> results, biases;
  std::vector<TileProduct> products;
  for (const DenseMap& map : maps) {
    results.push_back(room_beside(x, map.weight.size(0)));
    biases.push_back(map.bias ? map.bias->to(at::kBFloat16).contiguous() : at::Tensor());
    products.push_back(described(x, map.weight.t(), biases.back(), results.back()));
  }
  compute({products});
  return results;
}

// x [..., in] · matrix [in, out] plus bias [out].
at::Tensor tile_product(const at::Tensor& x, const at::Tensor& matrix, const std::optional<at::Tensor>& bias) {
  return tile_products(x, {{matrix.t(), bias}}).front();
}

// The sum of above [..., out] · weight [out, in] of all maps, rounded once; undefined where every `above` is.
at::Tensor sum_of_tile_products(const std::vector<at::Tensor>& above, at::TensorList weights) {
  RECORD_USER_SCOPE("graft::tile_product");
  at::Tensor sum;
  std::vector<at::Tensor> kept;
  std::vector<TileProduct> products;
  for (std::size_t m = 0; m < above.size(); ++m) {
    if (!above[m].defined()) continue;
    kept.push_back(above[m].contiguous());
    if (!sum.defined()) sum = room_beside(kept.back(), weights[m].size(1));
    products.push_back(described(kept.back(), weights[m], at::Tensor(), sum));
  }
  if (!products.empty()) compute({products, /*summed=*/true});
  return sum;
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
  compute({{&product, 1}});
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
  return both_bfloat16(above, x) && x.numel() > 0 && above.numel() > 0 && TileProduct::is_here()
             ? tile_product_of_rows(above, x)
             : our_product(above.t(), x, std::nullopt);
}

at::Tensor gradient_of_bias(const at::Tensor& above) {
  return above.sum(0, false, at::kFloat).to(above.scalar_type());
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
    if (ctx->saved_data["bias"].toBool() && ctx->needs_input_grad(2)) grad_bias = gradient_of_bias(rows);
    return {grad_x, grad_weight, grad_bias};
  }
};

// tile_products() whose gradient of x is one sum.
class LinearsOfOneX : public torch::autograd::Function<LinearsOfOneX> {
 public:
  /// `weights` are those of the maps, `biases` those that are there: autograd looks into no other arguments.
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x,
                                                at::TensorList weights, at::TensorList biases,
                                                const std::vector<DenseMap>& maps) {
    (void)biases;
    ctx->set_materialize_grads(false);  // of an output that nobody reads nothing comes
    std::vector<std::int64_t> biased;
    for (std::size_t m = 0; m < maps.size(); ++m) {
      if (maps[m].bias) biased.push_back(static_cast<std::int64_t>(m));
    }
    ctx->saved_data["biased"] = biased;
    const bool any = std::any_of(weights.begin(), weights.end(), [](const at::Tensor& w) { return w.requires_grad(); });
    torch::autograd::variable_list kept = {any ? x : at::Tensor()};
    kept.insert(kept.end(), weights.begin(), weights.end());
    ctx->save_for_backward(kept);
    return tile_products(x, maps);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const auto biased = ctx->saved_data["biased"].toIntVector();
    const std::size_t first_bias = 1 + grads.size();
    torch::autograd::variable_list result(first_bias + biased.size() + 1);
    if (ctx->needs_input_grad(0)) result[0] = sum_of_tile_products(grads, at::TensorList(saved).slice(1));
    for (std::size_t m = 0; m < grads.size(); ++m) {
      if (!grads[m].defined() || !ctx->needs_input_grad(1 + m)) continue;
      const at::Tensor rows = rows_of_map(grads[m]);
      result[1 + m] = gradient_of_weight(rows, saved[0].reshape({rows.size(0), -1}));
    }
    for (std::size_t b = 0; b < biased.size(); ++b) {
      const at::Tensor& above = grads[static_cast<std::size_t>(biased[b])];
      if (above.defined() && ctx->needs_input_grad(first_bias + b))
        result[first_bias + b] = gradient_of_bias(rows_of_map(above));
    }
    return result;
  }

 private:
  static at::Tensor rows_of_map(const at::Tensor& above) { return above.reshape({-1, above.size(-1)}); }
};

// Whether tiles multiply with all of the maps, and their gradients with the matrices as they lie.
bool tiles_suit_all(const at::Tensor& x, const std::vector<DenseMap>& maps) {
  return std::all_of(maps.begin(), maps.end(), [&](const DenseMap& map) {
    return tiles_suit(x, map.weight.t()) && TileProduct::suits(map.weight.size(0));
  });
}

bool any_learns(const std::vector<DenseMap>& maps) {
  return std::any_of(maps.begin(), maps.end(),
                     [](const DenseMap& map) { return learns(map.weight) || (map.bias && learns(*map.bias)); });
}

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

std::vector<at::Tensor> exact_linears(const at::Tensor& x, const std::vector<DenseMap>& maps, Activations activations) {
  std::vector<at::Tensor> results, weights, biases;
  // Where x does not learn, a map that does not either has nothing to do with another's way back.
  if (maps.size() < 2 || !tiles_suit_all(x, maps) || (!learns(x) && any_learns(maps))) {
    for (const DenseMap& map : maps) results.push_back(exact_linear(x, map.weight, map.bias, activations));
    return results;
  }
  if (!learns(x)) return tile_products(x, maps);
  for (const DenseMap& map : maps) {
    weights.push_back(map.weight);
    if (map.bias) biases.push_back(*map.bias);
  }
  return LinearsOfOneX::apply(x, at::TensorList(weights), at::TensorList(biases), maps);
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
