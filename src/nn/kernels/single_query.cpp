#include "nn/kernels/single_query.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <cstdint>

#include "nn/kernels/any_row.h"

namespace graft {
namespace {

using rows::Bits;

constexpr std::int64_t kKeyValuesPerThread = 1 << 13;  // values of keys
constexpr std::int64_t kKeptBytes = 1 << 17;

// Tokens [first, first + count) of a page, the query's from `place` on.
struct Part {
  const KeyValues& page;
  std::int64_t first, count, place;
};

template <typename Visit>
void for_each_part(const SingleQuery& read, const Visit& visit) {
  std::int64_t first = read.first, place = 0;
  for (auto page = read.pages->begin(); place < read.count; ++page) {
    const std::int64_t size = (*page)->keys.rows.size(0), count = std::min(size - first, read.count - place);
    if (count > 0) {
      visit(Part{**page, first, count, place});
      place += count;
    }
    first = std::max<std::int64_t>(0, first - size);
  }
}

// Keys or values [tokens, D] of one head.
template <typename T>
rows::Table<T> tokens_of(const at::Tensor& x, const Part& part, std::int64_t group) {
  return {static_cast<const T*>(x.const_data_ptr()) + part.first * x.stride(0) + group * x.stride(1), part.count,
          x.stride(0), x.size(2)};
}

// What of the values stays in a core's cache until the scores are there.
template <typename T>
rows::Table<T> beginning_of(rows::Table<T> values, std::int64_t place) {
  const auto row = static_cast<std::int64_t>(sizeof(T)) * values.width;
  values.count = std::clamp<std::int64_t>(kKeptBytes / std::max<std::int64_t>(1, row) - place, 0, values.count);
  return values;
}

// Multiplies what belongs to the tokens by their scales for one head, if there are any.
void scale_tokens(float* tokens, const at::Tensor& scales, const Part& part, std::int64_t group) {
  if (!scales.defined()) return;
  const std::int64_t stride = scales.stride(0);
  const float* scale = scales.const_data_ptr<float>() + part.first * stride + group * scales.stride(1);
  for (std::int64_t t = 0; t < part.count; ++t) tokens[t] *= scale[t * stride];
}

void add_bias(float* scores, const SingleQuery& read, std::int64_t head) {
  if (!read.bias.defined()) return;
  const float* bias = read.bias.const_data_ptr<float>() + (read.bias.size(0) == 1 ? 0 : head * read.bias.size(1));
  for (std::int64_t t = 0; t < read.count; ++t) scores[t] += bias[t];
}

// Heads [first, first + count), which share a key head.
struct Heads {
  std::int64_t first, count, group;
};

// One thread's memory: scaled queries [heads, D], scores [heads, T], the sums of these and of the values [heads, D].
struct Buffers {
  Buffers(std::int64_t heads, std::int64_t dim)
      : queries(static_cast<std::size_t>(heads * dim)), sums(queries.size()), totals(static_cast<std::size_t>(heads)) {}
  std::vector<float> queries, scores, sums, totals;
};

// Keys and values are of type T, and are read once for all of the heads.
template <typename T>
void attend_together(const SingleQuery& read, const Heads& heads, Buffers& buffers) {
  const std::int64_t count = read.count, dim = read.q.size(2);
  buffers.scores.resize(static_cast<std::size_t>(heads.count * count));
  float* scores = buffers.scores.data();
  for_each_part(read, [&](const Part& part) {
    const auto values = tokens_of<T>(part.page.values.rows, part, heads.group);
    rows::dots(buffers.queries.data(), heads.count, tokens_of<T>(part.page.keys.rows, part, heads.group),
               {scores + part.place, count}, beginning_of(values, part.place));
    for (std::int64_t h = 0; h < heads.count; ++h)
      scale_tokens(scores + h * count + part.place, part.page.keys.scales, part, heads.group);
  });
  for (std::int64_t h = 0; h < heads.count; ++h) {
    float* head = scores + h * count;
    add_bias(head, read, heads.first + h);
    buffers.totals[static_cast<std::size_t>(h)] = rows::exponentials(head, rows::largest(head, count), count);
  }
  std::fill_n(buffers.sums.begin(), heads.count * dim, 0.0F);
  for_each_part(read, [&](const Part& part) {
    for (std::int64_t h = 0; h < heads.count; ++h)
      scale_tokens(scores + h * count + part.place, part.page.values.scales, part, heads.group);
    rows::add_weighted({scores + part.place, count}, heads.count,
                       tokens_of<T>(part.page.values.rows, part, heads.group), buffers.sums.data());
  });
  for (std::int64_t h = 0; h < heads.count; ++h)
    rows::scale(buffers.sums.data() + h * dim, 1.0F / buffers.totals[static_cast<std::size_t>(h)], dim);
}

template <typename T>
void attend(const std::vector<SingleQuery>& queries, double scale, at::Tensor& out) {
  const std::int64_t heads = queries[0].q.size(1), dim = queries[0].q.size(2),
                     ratio = heads / queries[0].pages->front()->keys.rows.size(1);
  std::int64_t most = 1;
  for (const auto& query : queries) most = std::max(most, query.count);
  auto* to = static_cast<T*>(out.data_ptr());
  const std::int64_t least = std::max<std::int64_t>(1, kKeyValuesPerThread / (most * dim));
  at::parallel_for(
      0, static_cast<std::int64_t>(queries.size()) * heads, least, [&](std::int64_t begin, std::int64_t end) {
        Buffers buffers(ratio, dim);
        for (std::int64_t job = begin; job < end;) {
          const SingleQuery& here = queries[static_cast<std::size_t>(job / heads)];
          const std::int64_t head = job % heads, group = head / ratio;
          const Heads some{head, std::min(end - job, (group + 1) * ratio - head), group};
          rows::widen(static_cast<const T*>(here.q.const_data_ptr()) + (here.row * heads + head) * dim,
                      buffers.queries.data(), some.count * dim);
          rows::scale(buffers.queries.data(), static_cast<float>(scale), some.count * dim);
          const auto attend_to =
              here.pages->front()->keys.scales.defined() ? &attend_together<std::int8_t> : &attend_together<T>;
          attend_to(here, some, buffers);
          rows::narrow(buffers.sums.data(), to + job * dim, some.count * dim);
          job += some.count;
        }
      });
}

}  // namespace

at::Tensor single_query_attention(const std::vector<SingleQuery>& queries, double scale) {
  RECORD_USER_SCOPE("graft::single_query_attention");
  const at::Tensor& first = queries.at(0).q;
  at::Tensor out =
      rows::empty({static_cast<std::int64_t>(queries.size()), first.size(1) * first.size(2)}, first.scalar_type());
  first.scalar_type() == at::kFloat ? attend<float>(queries, scale, out) : attend<Bits>(queries, scale, out);
  return out;
}

}  // namespace graft
