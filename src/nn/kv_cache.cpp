#include "nn/kv_cache.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace graft {
namespace {

constexpr std::int64_t kFirstCapacity = 256;

void reserve(at::Tensor& buffer, const at::Tensor& like, std::int64_t used, std::int64_t needed) {
  if (buffer.defined() && buffer.size(0) >= needed) return;
  const std::int64_t capacity = std::max(needed, buffer.defined() ? 2 * buffer.size(0) : kFirstCapacity);
  at::Tensor grown = at::empty({capacity, like.size(1), like.size(2)}, like.options());
  if (used > 0) grown.narrow(0, 0, used).copy_(buffer.narrow(0, 0, used));
  buffer = std::move(grown);
}

// A few kilobytes at each step of decoding, where an operation of LibTorch's costs more than they do.
void put(const at::Tensor& from, const at::Tensor& buffer, std::int64_t row) {
  if (from.is_cpu() && from.is_contiguous() && from.scalar_type() == buffer.scalar_type()) {
    const auto bytes = static_cast<std::int64_t>(from.nbytes());
    std::memcpy(static_cast<std::byte*>(buffer.data_ptr()) + row * (bytes / from.size(0)), from.const_data_ptr(),
                static_cast<std::size_t>(bytes));
  } else {
    buffer.narrow(0, row, from.size(0)).copy_(from);
  }
}

}  // namespace

std::int32_t KvCache::add_sequence() {
  sequences_.emplace_back().layers.resize(static_cast<std::size_t>(layers_));
  return static_cast<std::int32_t>(sequences_.size()) - 1;
}

std::pair<at::Tensor, at::Tensor> KvCache::append(std::int32_t sequence, std::int64_t layer, const at::Tensor& keys,
                                                  const at::Tensor& values) {
  const std::int64_t used = length(sequence);
  const std::int64_t total = used + keys.size(0);
  Layer& here = at(sequence, layer);
  reserve(here.keys, keys, used, total);
  reserve(here.values, values, used, total);
  put(keys, here.keys, used);
  put(values, here.values, used);
  return {here.keys.narrow(0, 0, total), here.values.narrow(0, 0, total)};
}

std::pair<at::Tensor, at::Tensor> KvCache::visible(std::int32_t sequence, std::int64_t layer) const {
  const Sequence& here = sequences_[static_cast<std::size_t>(sequence)];
  const Layer& buffers = here.layers[static_cast<std::size_t>(layer)];
  return {buffers.keys.narrow(0, 0, here.length), buffers.values.narrow(0, 0, here.length)};
}

void KvCache::advance(std::int32_t sequence, std::int64_t tokens) {
  sequences_[static_cast<std::size_t>(sequence)].length += tokens;
}

void KvCache::truncate(std::int32_t sequence, std::int64_t length) {
  auto& here = sequences_[static_cast<std::size_t>(sequence)];
  here.length = std::min(here.length, length);
}

void KvCache::copy(std::int32_t source, std::int32_t target, std::int64_t same) {
  const std::int64_t more = length(source) - same;
  for (std::int64_t layer = 0; layer < layers_; ++layer) {
    const Layer& from = at(source, layer);
    Layer& to = at(target, layer);
    to.cross = from.cross;
    for (const auto part : {&Layer::keys, &Layer::values}) {
      const at::Tensor& rows = from.*part;
      reserve(to.*part, rows, same, length(source));
      (to.*part).narrow(0, same, more).copy_(rows.narrow(0, same, more));
    }
  }
  sequences_[static_cast<std::size_t>(target)].length = length(source);
}

// A buffer without room is never written into: append() makes a larger one first.
void KvCache::begin_with(std::int32_t target, const KvCache& other, std::int32_t source) {
  const Sequence& from = other.sequences_[static_cast<std::size_t>(source)];
  Sequence& to = sequences_[static_cast<std::size_t>(target)];
  for (std::size_t layer = 0; layer < from.layers.size(); ++layer) {
    if (!from.layers[layer].keys.defined()) continue;
    to.layers[layer].keys = from.layers[layer].keys.narrow(0, 0, from.length);
    to.layers[layer].values = from.layers[layer].values.narrow(0, 0, from.length);
  }
  to.length = from.length;
}

std::pair<at::Tensor, at::Tensor>& KvCache::cross(std::int32_t sequence, std::int64_t layer) {
  return at(sequence, layer).cross;
}

}  // namespace graft
