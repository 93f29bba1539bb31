#include "nn/attention_gradient.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>

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

// [Tq, H, D] → [G, H/G · Tq, D] fp32: a group's heads one below the other.
at::Tensor by_group(const at::Tensor& x, const Sizes& sizes) {
  return x.reshape({sizes.queries, sizes.groups, sizes.ratio, sizes.dim})
      .permute({1, 2, 0, 3})
      .to(at::kFloat)
      .reshape({sizes.groups, sizes.ratio * sizes.queries, sizes.dim});
}

// Scores become probabilities, and gradients of probabilities those of scores, in their places [G, H/G · Tq, Tk].
void through_softmax(const AttentionProduct& product, const Sizes& sizes, at::Tensor& scores, at::Tensor& gradients) {
  const auto scale = static_cast<float>(product.scale);
  const std::int64_t width = sizes.keys;
  auto* score = scores.data_ptr<float>();
  auto* gradient = gradients.data_ptr<float>();
  const at::Tensor additive = product.additive.defined() ? product.additive.contiguous() : at::Tensor();
  const std::int64_t rows = sizes.groups * sizes.ratio * sizes.queries;
  at::parallel_for(0, rows, std::max<std::int64_t>(1, (1 << 13) / width), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::int64_t t = row % sizes.queries, head = row / sizes.queries;
      const std::int64_t seen = product.causal ? t + 1 : width;
      float *p = score + row * width, *g = gradient + row * width;
      rows::scale(p, scale, seen);
      if (additive.defined()) {
        const std::int64_t of = additive.size(0) == 1 ? t : head * sizes.queries + t;
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

}  // namespace

AttentionGradient attention_gradient(const AttentionProduct& product, const at::Tensor& grad) {
  RECORD_USER_SCOPE("graft::attention_gradient");
  const Sizes sizes(product);
  const at::Tensor q = by_group(product.q, sizes), above = by_group(grad, sizes);
  const at::Tensor k = product.k.permute({1, 0, 2}).to(at::kFloat), v = product.v.permute({1, 0, 2}).to(at::kFloat);
  at::Tensor probabilities = at::bmm(q, k.transpose(1, 2)), slopes = at::bmm(above, v.transpose(1, 2));
  through_softmax(product, sizes, probabilities, slopes);
  const at::Tensor grad_q = at::bmm(slopes, k)
                                .view({sizes.groups, sizes.ratio, sizes.queries, sizes.dim})
                                .permute({2, 0, 1, 3})
                                .reshape({sizes.queries, sizes.groups * sizes.ratio, sizes.dim});
  return {grad_q, at::bmm(slopes.transpose(1, 2), q).permute({1, 0, 2}),
          at::bmm(probabilities.transpose(1, 2), above).permute({1, 0, 2})};
}

}  // namespace graft
