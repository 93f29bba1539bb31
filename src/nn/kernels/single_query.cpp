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
rows::Table<T> tokens_of(const at::Tensor& x, const SingleQuery& read, std::int64_t group) {
  return {static_cast<const T*>(x.const_data_ptr()) + read.first * x.stride(0) + group * x.stride(1), read.count,
          x.stride(0), x.size(2)};
}

// Multiplies what belongs to the tokens [T] by their scales for one head, if there are any.
void scale_tokens(std::vector<float>& tokens, const at::Tensor& scales, const SingleQuery& read, std::int64_t group) {
  if (!scales.defined()) return;
  const std::int64_t stride = scales.stride(0);
  const float* scale = scales.const_data_ptr<float>() + read.first * stride + group * scales.stride(1);
  for (std::size_t t = 0; t < tokens.size(); ++t) tokens[t] *= scale[static_cast<std::int64_t>(t) * stride];
}

// One head, whose keys and values are of type T; `query` [D] is scaled.
template <typename T>
void one_head(const float* query, const SingleQuery& read, std::int64_t group, const float* bias,
              std::vector<float>& scores, float* sum) {
  const auto keys = tokens_of<T>(read.keys.rows, read, group), values = tokens_of<T>(read.values.rows, read, group);
  scores.resize(static_cast<std::size_t>(keys.count));
  rows::dots(query, keys, scores.data());
  scale_tokens(scores, read.keys.scales, read, group);
  if (bias != nullptr) {
    for (std::int64_t t = 0; t < keys.count; ++t) scores[static_cast<std::size_t>(t)] += bias[t];
  }
  const float total = rows::exponentials(scores.data(), rows::largest(scores.data(), keys.count), keys.count);
  scale_tokens(scores, read.values.scales, read, group);
  rows::weighted_sum(scores.data(), values, sum);
  rows::scale(sum, 1.0F / total, values.width);
}

template <typename T>
void attend(const std::vector<SingleQuery>& queries, double scale, at::Tensor& out) {
  const std::int64_t heads = queries[0].q.size(1), dim = queries[0].q.size(2),
                     ratio = heads / queries[0].keys.rows.size(1);
  std::int64_t most = 1;
  for (const auto& query : queries) most = std::max(most, query.count);
  auto* to = static_cast<T*>(out.data_ptr());
  const std::int64_t least = std::max<std::int64_t>(1, kLeastPerThread / (most * dim));
  at::parallel_for(
      0, static_cast<std::int64_t>(queries.size()) * heads, least, [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> query(static_cast<std::size_t>(dim)), scores, sum(static_cast<std::size_t>(dim));
        for (std::int64_t job = begin; job < end; ++job) {
          const SingleQuery& here = queries[static_cast<std::size_t>(job / heads)];
          const std::int64_t head = job % heads, group = head / ratio;
          rows::widen(static_cast<const T*>(here.q.const_data_ptr()) + (here.row * heads + head) * dim, query.data(),
                      dim);
          rows::scale(query.data(), static_cast<float>(scale), dim);
          const float* bias = nullptr;
          if (here.bias.defined())
            bias = here.bias.const_data_ptr<float>() + (here.bias.size(0) == 1 ? 0 : head * here.bias.size(1));
          const auto head_of = here.keys.scales.defined() ? &one_head<std::int8_t> : &one_head<T>;
          head_of(query.data(), here, group, bias, scores, sum.data());
          rows::narrow(sum.data(), to + job * dim, dim);
        }
      });
}

}  // namespace

at::Tensor single_query_attention(const std::vector<SingleQuery>& queries, double scale) {
  RECORD_USER_SCOPE("graft::single_query_attention");
  const at::Tensor& first = queries.at(0).q;
  at::Tensor out =
      at::empty({static_cast<std::int64_t>(queries.size()), first.size(1) * first.size(2)}, first.options());
  first.scalar_type() == at::kFloat ? attend<float>(queries, scale, out) : attend<Bits>(queries, scale, out);
  return out;
}

}  // namespace graft
