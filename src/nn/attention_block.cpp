#include "nn/attention_block.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <atomic>
#include <cstring>

#include "nn/kernels/any_row.h"

namespace graft {
namespace {

// Rows of a block: enough for a product's speed, few enough that a causal text skips most of what it does not see, and
// that scores stay in a core's cache.
constexpr std::int64_t kRows = 192, kScores = std::int64_t{1} << 19;
constexpr std::int64_t kLeastQueries = 8, kMostQueries = 128;

// Of blocks of about the same size.
std::int64_t queries_of_a_block(const AttentionProduct& product) {
  const std::int64_t ratio = product.q.size(1) / product.k.size(1), all = product.queries.length,
                     window = product.sight.window, keys = product.key_count();
  const std::int64_t rows = std::min(kRows, kScores / (window > 0 ? std::min(keys, window + kMostQueries) : keys));
  const std::int64_t most = std::clamp(rows / ratio, kLeastQueries, kMostQueries);
  const std::int64_t blocks = (all + most - 1) / most;
  return (all + blocks - 1) / blocks;
}

// Onto values [count] those of x from `first` on.
void add(const at::Tensor& x, std::int64_t first, float* to, std::int64_t count) {
  if (x.scalar_type() == at::kFloat) {
    rows::add_scaled(to, 1.0F, static_cast<const float*>(x.const_data_ptr()) + first, count);
  } else {
    rows::add_scaled(to, 1.0F, static_cast<const rows::Bits*>(x.const_data_ptr()) + first, count);
  }
}

// Values as fp32, or as they are.
void take(const at::Tensor& x, std::int64_t first, float* to, std::int64_t count) {
  rows::read(x, first, to, count);
}
void take(const at::Tensor& x, std::int64_t first, rows::Bits* to, std::int64_t count) {
  std::memcpy(to, static_cast<const rows::Bits*>(x.const_data_ptr()) + first,
              static_cast<std::size_t>(count) * sizeof(rows::Bits));
}

template <typename T>
void read_queries(const AttentionBlock& block, const at::Tensor& x, T* to) {
  const std::int64_t width = block.ratio * block.dim, token = x.stride(0),
                     from = (block.product->queries.begin + block.first) * token + block.group * width;
  for (std::int64_t t = 0; t < block.count; ++t) take(x, from + t * token, to + t * width, width);
}

template <typename T>
void read_keys_of(const AttentionBlock& block, const at::Tensor& x, T* to) {
  const std::int64_t token = x.stride(0), head = x.stride(1), dim = block.dim;
  for (const auto& range : block.key_ranges()) {
    const std::int64_t from = range.begin * token + block.group * head;
    for (std::int64_t t = 0; t < range.length; ++t, to += dim) take(x, from + t * token, to, dim);
  }
}

std::int64_t whole_lines(std::int64_t values) {
  constexpr std::int64_t kLine = 16;
  return (values + kLine - 1) / kLine * kLine;
}

}  // namespace

std::int64_t AttentionProduct::key_count() const {
  std::int64_t count = 0;
  for (const auto& range : keys) count += range.length;
  return count;
}

void AttentionBlock::read(const at::Tensor& x, float* to) const {
  read_queries(*this, x, to);
}

void AttentionBlock::read(const at::Tensor& x, rows::Bits* to) const {
  read_queries(*this, x, to);
}

void AttentionBlock::write(const float* from, at::Tensor& x) const {
  const std::int64_t width = ratio * dim, token = x.stride(0),
                     to = (product->queries.begin + first) * token + group * width;
  for (std::int64_t t = 0; t < count; ++t) rows::write(from + t * width, x, to + t * token, width);
}

std::vector<TokenRange> AttentionBlock::key_ranges() const {
  std::vector<TokenRange> ranges;
  std::int64_t skipped = from, left = seen;
  for (const auto& range : product->keys) {
    const std::int64_t passed = std::min(skipped, range.length), length = std::min(left, range.length - passed);
    if (length > 0) ranges.push_back({range.begin + passed, length});
    skipped -= passed;
    left -= length;
  }
  return ranges;
}

TokenRange AttentionBlock::seen_by(std::int64_t row) const {
  const std::int64_t queries = product->queries.length;
  const auto [begin, length] = product->sight.seen_by({first + row / ratio, 1}, queries, before + queries);
  return {begin - from, length};
}

void AttentionBlock::add_biases(std::int64_t row, float* scores) const {
  const std::int64_t query = first + row / ratio, head = group * ratio + row % ratio, queries = product->queries.length,
                     all = before + queries;
  const auto [begin, length] = seen_by(row);
  if (product->bias.defined())
    add(product->bias, (head * queries + query) * all + from + begin, scores + begin, length);
  product->sight.hide(query, queries, all, from, scores);
}

float AttentionBlock::exponentials(std::int64_t row, float* scores) const {
  const auto [begin, length] = seen_by(row);
  add_biases(row, scores);
  float* own = scores + begin;
  const float total = rows::exponentials(own, rows::largest(own, length), length);
  std::fill(scores, own, 0.0F);
  std::fill(own + length, scores + seen, 0.0F);
  return total;
}

std::vector<AttentionBlock> blocks_of(const std::vector<AttentionProduct>& products) {
  std::vector<AttentionBlock> blocks;
  for (const auto& product : products) {
    const std::int64_t queries = product.queries.length, keys = product.key_count(), groups = product.k.size(1),
                       step = queries_of_a_block(product);
    for (std::int64_t group = 0; group < groups; ++group) {
      for (std::int64_t first = (queries - 1) / step * step; first >= 0; first -= step) {
        AttentionBlock& block = blocks.emplace_back();
        block.product = &product;
        block.group = group;
        block.first = first;
        block.count = std::min(step, queries - first);
        block.ratio = product.q.size(1) / groups;
        block.dim = product.q.size(2);
        block.before = keys - queries;
        const TokenRange seen = product.sight.seen_by({first, block.count}, queries, keys);
        block.from = seen.begin / kKeysTogether * kKeysTogether;
        block.seen = seen.begin + seen.length - block.from;
      }
    }
  }
  return blocks;
}

void read_keys(const AttentionBlock& block, const at::Tensor& x, float* to) {
  read_keys_of(block, x, to);
}

void read_keys(const AttentionBlock& block, const at::Tensor& x, rows::Bits* to) {
  read_keys_of(block, x, to);
}

LargestBlock largest_of(const std::vector<AttentionBlock>& blocks) {
  LargestBlock largest;
  for (const auto& block : blocks) {
    largest.rows = std::max(largest.rows, block.height());
    largest.queries = std::max(largest.queries, block.height() * block.dim);
    largest.keys = std::max(largest.keys, block.seen * block.dim);
    largest.scores = std::max(largest.scores, block.height() * block.seen);
  }
  return largest;
}

ThreadBuffers::ThreadBuffers(const std::vector<std::int64_t>& sizes) {
  for (const std::int64_t size : sizes) {
    first_.push_back(of_a_thread_);
    of_a_thread_ += whole_lines(size);
  }
  memory_ = at::empty({at::get_num_threads() * of_a_thread_}, at::kFloat);
  values_ = memory_.data_ptr<float>();
}

void by_free_threads(std::size_t units, const std::function<void(std::int64_t thread, std::size_t unit)>& work) {
  std::atomic<std::size_t> next{0};
  at::parallel_for(0, at::get_num_threads(), 1, [&](std::int64_t thread, std::int64_t) {
    const at::DisableRecordFunctionGuard unrecorded;  // the profile tells of all of it as a whole
    for (std::size_t unit = next++; unit < units; unit = next++) work(thread, unit);
  });
}

at::Tensor as_matrix(float* values, std::int64_t rows, std::int64_t columns) {
  return at::from_blob(values, {rows, columns}, at::kFloat);
}

}  // namespace graft
