#include "nn/kernels/single_query.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cstdint>

#include "nn/kernels/rows.h"

namespace graft {
namespace {

using rows::Bits;

constexpr std::int64_t kLeastPerThread = 1 << 13;  // values of keys

// Keys or values [T, D] of one head.
template <typename T>
struct Tokens {
  const T* first;
  std::int64_t stride;
  const T* at(std::int64_t t) const { return first + t * stride; }
};

template <typename T>
Tokens<T> tokens_of(const at::Tensor& x, std::int64_t group) {
  return {static_cast<const T*>(x.const_data_ptr()) + group * x.size(2), x.stride(0)};
}

// One head; `query` [D] is scaled.
template <typename T>
void one_head(const std::vector<float>& query, Tokens<T> keys, Tokens<T> values, std::int64_t tokens, const float* bias,
              std::vector<float>& scores, std::vector<float>& sum) {
  const auto dim = static_cast<std::int64_t>(query.size());
  scores.resize(static_cast<std::size_t>(tokens));
  for (std::int64_t t = 0; t < tokens; ++t) {
    const float score = rows::dot(query.data(), keys.at(t), dim);
    scores[static_cast<std::size_t>(t)] = bias == nullptr ? score : score + bias[t];
  }
  const float total = rows::exponentials(scores.data(), rows::largest(scores.data(), tokens), tokens);
  sum.assign(static_cast<std::size_t>(dim), 0.0F);
  for (std::int64_t t = 0; t < tokens; ++t)
    rows::add_scaled(sum.data(), scores[static_cast<std::size_t>(t)], values.at(t), dim);
  rows::scale(sum.data(), 1.0F / total, dim);
}

template <typename T>
void attend(const std::vector<SingleQuery>& queries, double scale, at::Tensor& out) {
  const std::int64_t heads = queries[0].q.size(0), dim = queries[0].q.size(1), groups = queries[0].k.size(1),
                     ratio = heads / groups;
  std::int64_t most = 1;
  for (const auto& query : queries) most = std::max(most, query.k.size(0));
  auto* to = static_cast<T*>(out.data_ptr());
  const std::int64_t least = std::max<std::int64_t>(1, kLeastPerThread / (most * dim));
  at::parallel_for(
      0, static_cast<std::int64_t>(queries.size()) * heads, least, [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> query(static_cast<std::size_t>(dim)), scores, sum;
        for (std::int64_t job = begin; job < end; ++job) {
          const SingleQuery& here = queries[static_cast<std::size_t>(job / heads)];
          const std::int64_t head = job % heads, group = head / ratio;
          rows::widen(static_cast<const T*>(here.q.const_data_ptr()) + head * dim, query.data(), dim);
          rows::scale(query.data(), static_cast<float>(scale), dim);
          const float* bias = nullptr;
          if (here.bias.defined())
            bias = here.bias.const_data_ptr<float>() + (here.bias.size(0) == 1 ? 0 : head * here.bias.size(1));
          one_head(query, tokens_of<T>(here.k, group), tokens_of<T>(here.v, group), here.k.size(0), bias, scores, sum);
          rows::narrow(sum.data(), to + job * dim, dim);
        }
      });
}

}  // namespace

at::Tensor single_query_attention(const std::vector<SingleQuery>& queries, double scale) {
  RECORD_USER_SCOPE("graft::single_query_attention");
  const at::Tensor& first = queries.at(0).q;
  at::Tensor out = at::empty({static_cast<std::int64_t>(queries.size()), first.numel()}, first.options());
  first.scalar_type() == at::kFloat ? attend<float>(queries, scale, out) : attend<Bits>(queries, scale, out);
  return out;
}

}  // namespace graft
