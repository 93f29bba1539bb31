#include "nn/attention_block.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <utility>

#include "nn/attention_cut.h"
#include "nn/kernels/any_row.h"

namespace graft {
namespace {

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
  for (const auto& range : block.key_rows()) {
    const std::int64_t from = range.begin * token + block.group * head;
    for (std::int64_t t = 0; t < range.length; ++t, to += dim) take(x, from + t * token, to, dim);
  }
}

void append_keys(AttentionBlock& block, const SeenKeys& seen) {
  const auto [begin, length] = seen.keys;
  if (!block.keys.empty() && block.reach() == begin) {
    block.keys.back().length += length;
  } else {
    block.keys.push_back(seen.keys);
  }
  block.until.insert(block.until.end(), static_cast<std::size_t>(length), static_cast<std::int32_t>(seen.until));
  if (block.product->sight.window == 0) return;
  for (std::int64_t way = seen.way; way < seen.way + length; ++way)
    block.ways.push_back(static_cast<std::int32_t>(way));
}

// What the block reads, and which of its queries see it.
void find_keys(AttentionBlock& block) {
  const AttentionProduct& product = *block.product;
  const TokenRange own{block.first, block.count};
  const std::int64_t queries = product.queries.length, all = block.before + queries;
  if (product.branches()) {
    for (const SeenKeys& seen : product.sight.seen_together(own, queries, all)) append_keys(block, seen);
    const std::int64_t behind = block.first + block.count;
    if (std::all_of(block.until.begin(), block.until.end(), [&](std::int32_t end) { return end >= behind; }))
      block.until.clear();
  } else {
    const auto [begin, length] = product.sight.seen_by(own, queries, all);
    const std::int64_t from = begin / kKeysTogether * kKeysTogether;
    block.keys = {{from, begin + length - from}};
  }
  for (const auto& range : block.keys) block.seen += range.length;
}

// Those of the first group.
std::vector<AttentionBlock> blocks_of_group(const AttentionProduct& product) {
  std::vector<AttentionBlock> blocks;
  const auto runs = cut_queries(product);
  for (auto run = runs.rbegin(); run != runs.rend(); ++run) {
    AttentionBlock& block = blocks.emplace_back();
    block.product = &product;
    block.first = run->begin;
    block.count = run->length;
    block.ratio = product.q.size(1) / product.k.size(1);
    block.dim = product.q.size(2);
    block.before = product.key_count() - product.queries.length;
    find_keys(block);
  }
  return blocks;
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

std::vector<TokenRange> AttentionBlock::key_rows() const {
  std::vector<TokenRange> found;
  for (const auto& some : keys) {
    std::int64_t skipped = some.begin, left = some.length;
    for (const auto& range : product->keys) {
      const std::int64_t passed = std::min(skipped, range.length), length = std::min(left, range.length - passed);
      if (length > 0) found.push_back({range.begin + passed, length});
      skipped -= passed;
      left -= length;
    }
  }
  return found;
}

TokenRange AttentionBlock::seen_by(std::int64_t row) const {
  const Sight& sight = product->sight;
  if (!sight.ordered) return {0, seen};
  const std::int64_t end = seen - count + row / ratio + 1;
  const bool one_window = sight.window > 0 && sight.paths.empty();
  const std::int64_t begin = one_window ? std::max<std::int64_t>(0, end - sight.window) : 0;
  return {begin, end - begin};
}

std::int64_t AttentionBlock::bias_row(std::int64_t row) const {
  const std::int64_t head = group * ratio + row % ratio, queries = product->queries.length;
  return (head * queries + first + row / ratio) * (before + queries);
}

std::int64_t AttentionBlock::left_out(std::int64_t row) const {
  const auto own = static_cast<std::size_t>(seen - count + row / ratio);
  return ways[own] - product->sight.window;
}

void AttentionBlock::add_biases(std::int64_t row, float* scores) const {
  if (!product->bias.defined() && until.empty() && ways.empty()) return;
  const auto [begin, length] = seen_by(row);
  if (product->bias.defined()) {
    std::int64_t place = 0;  // of a range's first key among all that are read
    for (const auto& range : keys) {
      const std::int64_t start = std::max(begin, place), end = std::min(begin + length, place + range.length);
      if (start < end) add(product->bias, bias_row(row) + range.begin + start - place, scores + start, end - start);
      place += range.length;
    }
  }
  const std::int64_t query = first + row / ratio;
  if (!until.empty()) rows::hide(scores, until.data(), static_cast<std::int32_t>(query), begin + length);
  if (!ways.empty()) rows::hide(scores, ways.data(), static_cast<std::int32_t>(left_out(row)), begin + length);
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

void AttentionBlock::add_to_keys(const float* parts, float* sums) const {
  for (const auto& range : keys) {
    rows::add_scaled(sums + (range.begin - from()) * dim, 1.0F, parts, range.length * dim);
    parts += range.length * dim;
  }
}

const std::vector<AttentionBlock>& SharedBlocks::of(const AttentionProduct& product) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::pair shape(product.q.size(1) / product.k.size(1), product.q.size(2));
  if (const auto found = blocks_.find(shape); found != blocks_.end()) return found->second;
  // Kept when all of them are found: with fewer, queries would be left out and nothing would tell.
  auto blocks = blocks_of_group(product);
  for (AttentionBlock& block : blocks) block.product = nullptr;  // which lives no longer than its layer
  return blocks_.emplace(shape, std::move(blocks)).first->second;
}

std::vector<AttentionBlock> blocks_of(const std::vector<AttentionProduct>& products) {
  std::vector<AttentionBlock> blocks;
  for (const auto& product : products) {
    SharedBlocks alone;
    const auto& of_group = (product.shared != nullptr ? *product.shared : alone).of(product);
    for (std::int64_t group = 0; group < product.k.size(1); ++group) {
      for (const auto& block : of_group) {
        blocks.push_back(block);
        blocks.back().product = &product;
        blocks.back().group = group;
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

bool HeldKeys::have(const AttentionBlock& block) {
  if (product_ == block.product && group_ == block.group && from_ == block.from() && !block.product->branches())
    return true;
  product_ = block.product;
  group_ = block.group;
  from_ = block.from();
  return false;
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
