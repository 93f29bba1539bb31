#include "nn/attention_gradient.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <vector>

#include "nn/kernels/rows.h"

namespace graft {
namespace {

struct Sizes {
  explicit Sizes(const AttentionProduct& product)
      : queries(product.q.size(0)),
        keys(product.k.size(0)),
        groups(product.k.size(1)),
        ratio(product.q.size(1) / groups),
        dim(product.q.size(2)) {}
  std::int64_t queries, keys, groups, ratio, dim;
};

// Queries [first, first + count).
struct Block {
  std::int64_t first, count;
};

// Of a block's queries [T, H, D] or [T, H·D] → [G, H/G · T, D] fp32: a group's heads one below the other.
at::Tensor by_group(const at::Tensor& x, const Sizes& sizes, Block block) {
  return x.narrow(0, block.first, block.count)
      .reshape({block.count, sizes.groups, sizes.ratio, sizes.dim})
      .permute({1, 2, 0, 3})
      .to(at::kFloat)
      .reshape({sizes.groups, sizes.ratio * block.count, sizes.dim});
}

// Scores become probabilities, and gradients of probabilities those of scores, in their places [G, H/G · T, Tk].
void through_softmax(const AttentionProduct& product, const Sizes& sizes, Block block, at::Tensor& scores,
                     at::Tensor& gradients) {
  const auto scale = static_cast<float>(product.scale);
  const std::int64_t width = sizes.keys;
  auto* score = scores.data_ptr<float>();
  auto* gradient = gradients.data_ptr<float>();
  const at::Tensor additive =
      product.additive.defined() ? product.additive.narrow(1, block.first, block.count).contiguous() : at::Tensor();
  const std::int64_t rows = sizes.groups * sizes.ratio * block.count;
  at::parallel_for(0, rows, std::max<std::int64_t>(1, (1 << 13) / width), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t t = row % block.count, head = row / block.count;
      const std::int64_t seen = product.causal ? block.first + t + 1 : width;
      float *p = score + row * width, *g = gradient + row * width;
      rows::scale(p, scale, seen);
      if (additive.defined()) {
        const std::int64_t of = additive.size(0) == 1 ? t : head * block.count + t;
        rows::add_scaled(p, 1.0F, additive.const_data_ptr<float>() + of * width, seen);
      }
      const float total = rows::exponentials(p, rows::largest(p, seen), seen);
      rows::scale(p, 1.0F / total, seen);
      rows::softmax_backward(p, g, rows::dot(p, g, seen), scale, seen);
      std::fill(p + seen, p + width, 0.0F);
      std::fill(g + seen, g + width, 0.0F);
    }
  });
}

void add_share(at::Tensor& sum, const at::Tensor& share) {
  sum = sum.defined() ? sum.add_(share) : share;
}

}  // namespace

AttentionGradient attention_gradient(const AttentionProduct& product, const at::Tensor& grad,
                                     std::int64_t most_scores) {
  RECORD_USER_SCOPE("graft::attention_gradient");
  const Sizes sizes(product);
  const std::int64_t most =
      std::clamp<std::int64_t>(most_scores / (sizes.groups * sizes.ratio * sizes.keys), 1, sizes.queries);
  const at::Tensor k = product.k.permute({1, 0, 2}).to(at::kFloat), v = product.v.permute({1, 0, 2}).to(at::kFloat);
  std::vector<at::Tensor> grad_q;
  at::Tensor grad_k, grad_v;  // [G, Tk, D]
  for (std::int64_t first = 0; first < sizes.queries; first += most) {
    const Block block{first, std::min(most, sizes.queries - first)};
    const at::Tensor q = by_group(product.q, sizes, block), above = by_group(grad, sizes, block);
    at::Tensor probabilities = at::bmm(q, k.transpose(1, 2)), slopes = at::bmm(above, v.transpose(1, 2));
    through_softmax(product, sizes, block, probabilities, slopes);
    grad_q.push_back(at::bmm(slopes, k)
                         .view({sizes.groups, sizes.ratio, block.count, sizes.dim})
                         .permute({2, 0, 1, 3})
                         .reshape({block.count, sizes.groups * sizes.ratio, sizes.dim}));
    add_share(grad_k, at::bmm(slopes.transpose(1, 2), q));
    add_share(grad_v, at::bmm(probabilities.transpose(1, 2), above));
  }
  return {grad_q.size() == 1 ? grad_q.front() : at::cat(grad_q), grad_k.permute({1, 0, 2}), grad_v.permute({1, 0, 2})};
}

}  // namespace graft
