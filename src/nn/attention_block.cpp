#include "nn/attention_block.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <atomic>
#include <cstring>

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

// visit(row, count) for the runs of rows of k and v that a block's keys are, in their order.
template <typename Visit>
void for_key_rows(const AttentionBlock& block, const Visit& visit) {
  for (const auto& seen : block.keys) {
    std::int64_t begin = seen.begin, left = seen.length;
    for (const auto& range : block.product->keys) {
      const std::int64_t count = std::min(left, range.length - begin);
      if (count > 0) {
        visit(range.begin + begin, count);
        left -= count;
      }
      begin = std::max<std::int64_t>(0, begin - range.length);
    }
  }
}

template <typename T>
void read_keys_of(const AttentionBlock& block, const at::Tensor& x, T* to) {
  const std::int64_t token = x.stride(0), head = x.stride(1), dim = block.dim;
  for_key_rows(block, [&](std::int64_t row, std::int64_t count) {
    const std::int64_t from = row * token + block.group * head;
    for (std::int64_t t = 0; t < count; ++t, to += dim) take(x, from + t * token, to, dim);
  });
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
    if (product.branches()) {
      block.keys = keys_of_branches(product, *run);
      block.until = until_of(product, block.keys, *run);
    } else {
      block.keys = {{0, block.before + (product.ordered ? run->begin + run->length : product.queries.length)}};
    }
    for (const auto& range : block.keys) block.seen += range.length;
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

std::int64_t AttentionBlock::bias_row(std::int64_t row) const {
  const std::int64_t head = group * ratio + row % ratio;
  return head * product->queries.length * (before + product->queries.length) + mask_row(row);
}

std::int64_t AttentionBlock::mask_row(std::int64_t row) const {
  return (first + row / ratio) * (before + product->queries.length);
}

void AttentionBlock::add_biases(std::int64_t row, float* scores) const {
  const std::int64_t sees = seen_by(row);
  const auto onto = [&](const at::Tensor& x, std::int64_t from) {
    std::int64_t done = 0;
    for (const auto& range : keys) {
      const std::int64_t some = std::min(range.length, sees - done);
      if (some > 0) add(x, from + range.begin, scores + done, some);
      done += range.length;
    }
  };
  if (product->bias.defined()) onto(product->bias, bias_row(row));
  if (product->mask.defined()) onto(product->mask, mask_row(row));
  if (!until.empty()) rows::hide(scores, until.data(), static_cast<std::int32_t>(first + row / ratio), sees);
}

void AttentionBlock::add_to_keys(const float* from, float* sums) const {
  for (const auto& range : keys) {
    rows::add_scaled(sums + range.begin * dim, 1.0F, from, range.length * dim);
    from += range.length * dim;
  }
}

float AttentionBlock::exponentials(std::int64_t row, float* scores) const {
  const std::int64_t sees = seen_by(row);
  add_biases(row, scores);
  const float total = rows::exponentials(scores, rows::largest(scores, sees), sees);
  std::fill(scores + sees, scores + seen, 0.0F);
  return total;
}

std::vector<AttentionBlock> blocks_of(const std::vector<AttentionProduct>& products) {
  std::vector<AttentionBlock> blocks;
  for (const auto& product : products) {
    const auto of_group = blocks_of_group(product);
    for (std::int64_t group = 0; group < product.k.size(1); ++group) {
      for (const auto& block : of_group) {
        blocks.push_back(block);
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
