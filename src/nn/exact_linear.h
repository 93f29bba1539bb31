// How the rows of a product may be computed, and the products that LibTorch computes.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace graft {

/// What a linear map may do with its rows. EightBit: round them to 8 bits by groups where that lets it compute with
/// the stored whole numbers (as llama.cpp does); texts are written so. Exact: take them as they are. BatchInvariant:
/// exact, and the bits of a row's result depend neither on the rows beside it nor on how many there are; texts are
/// scored so. Whatever is trained is exact.
enum class Activations { Exact, EightBit, BatchInvariant };

/// y [N, out] = x [N, in] times weight [out, in] transposed, plus bias [out]. bfloat16 goes through graft's own product
/// where the CPU multiplies tiles (nn/kernels/tile_product.h), whose rows do not depend on each other. Anything else is
/// LibTorch's product, for BatchInvariant a fixed number of rows at a time where none of them has a gradient: a
/// product's kernel, and with it the order of its sums, follows from its shape, so that products of one shape are
/// computed alike. bfloat16 is multiplied in fp32 on a CPU that has no better way; the result is bfloat16. Of many rows
/// whole numbers are multiplied at a time where x has room for them (rows::empty(), nn/kernels/any_row.h), as the
/// result then has.
at::Tensor exact_linear(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                        Activations activations);

/// One of several maps of an x.
struct DenseMap {
  at::Tensor weight;               ///< [out, in]
  std::optional<at::Tensor> bias;  ///< [out]
};

/// exact_linear() of each map of the same x, with the same bits. Where graft's own product of tiles computes all of
/// them it goes over the rows together, and the gradient of x is one sum over all maps, rounded once; elsewhere
/// autograd adds up theirs.
std::vector<at::Tensor> exact_linears(const at::Tensor& x, const std::vector<DenseMap>& maps, Activations activations);

/// [N, …] rows of `compute`, which is given as many rows of each of `rows` [N, …] at a time (zeros behind the last) and
/// returns one for each.
at::Tensor by_tiles(const std::vector<at::Tensor>& rows,
                    const std::function<at::Tensor(const std::vector<at::Tensor>& tile)>& compute);

}  // namespace graft
