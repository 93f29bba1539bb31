#include "nn/kv_cache.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "base/error.h"

namespace graft {
namespace {

constexpr std::int64_t kFirstCapacity = 256;

void reserve(at::Tensor& buffer, const at::Tensor& like, std::int64_t used, std::int64_t needed) {
  if (buffer.defined() && buffer.size(0) >= needed) return;
  auto shape = like.sizes().vec();
  shape[0] = std::max(needed, buffer.defined() ? 2 * buffer.size(0) : kFirstCapacity);
  at::Tensor grown = at::empty(shape, like.options());
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

// Behind the first `used` tokens of the buffers.
void put(const HeadRows& from, HeadRows& buffers, std::int64_t used) {
  for (const auto part : {&HeadRows::rows, &HeadRows::scales}) {
    const at::Tensor& rows = from.*part;
    if (!rows.defined() || rows.size(0) == 0) continue;
    reserve(buffers.*part, rows, used, used + rows.size(0));
    put(rows, buffers.*part, used);
  }
}

}  // namespace

KvFormat kv_format(const std::string& name) {
  if (name == "dense") return KvFormat::Dense;
  if (name == "q8") return KvFormat::EightBit;
  fail(Category::InvalidArgument, "kv-cache", "is '{}', must be dense or q8", name);
}

std::int32_t KvCache::add_sequence() {
  sequences_.emplace_back().layers.resize(static_cast<std::size_t>(layers_));
  return static_cast<std::int32_t>(sequences_.size()) - 1;
}

std::pair<HeadRows, HeadRows> KvCache::append(std::int32_t sequence, std::int64_t layer, const at::Tensor& keys,
                                              const at::Tensor& values) {
  const std::int64_t used = length(sequence);
  const std::int64_t total = used + keys.size(0);
  Layer& here = at(sequence, layer);
  put(kept(keys), here.keys, used);
  put(kept(values), here.values, used);
  return {here.keys.part(0, total), here.values.part(0, total)};
}

std::pair<HeadRows, HeadRows> KvCache::visible(std::int32_t sequence, std::int64_t layer) const {
  const Sequence& here = sequences_[static_cast<std::size_t>(sequence)];
  const Layer& buffers = here.layers[static_cast<std::size_t>(layer)];
  return {buffers.keys.part(0, here.length), buffers.values.part(0, here.length)};
}

void KvCache::advance(std::int32_t sequence, std::int64_t tokens) {
  sequences_[static_cast<std::size_t>(sequence)].length += tokens;
}

void KvCache::truncate(std::int32_t sequence, std::int64_t length) {
  auto& here = sequences_[static_cast<std::size_t>(sequence)];
  here.length = std::min(here.length, length);
  if (here.length >= here.shared) return;
  // No room is left behind them, as begin_with() leaves none.
  here.shared = here.length;
  for (Layer& layer : here.layers) {
    if (!layer.keys.rows.defined()) continue;
    layer.keys = layer.keys.part(0, here.length);
    layer.values = layer.values.part(0, here.length);
  }
}

void KvCache::copy(std::int32_t source, std::int32_t target, std::int64_t same) {
  const std::int64_t more = length(source) - same;
  truncate(target, same);
  for (std::int64_t layer = 0; layer < layers_; ++layer) {
    const Layer& from = at(source, layer);
    Layer& to = at(target, layer);
    to.cross = from.cross;
    put(from.keys.part(same, more), to.keys, same);
    put(from.values.part(same, more), to.values, same);
  }
  sequences_[static_cast<std::size_t>(target)].length = length(source);
}

// A buffer without room is never written into: append() makes a larger one first.
void KvCache::begin_with(std::int32_t target, const KvCache& other, std::int32_t source) {
  if (other.format_ != format_)
    fail(Category::InvalidArgument, "kv-cache",
         "is of another format than that of the prefix; read that into one of this format");
  const Sequence& from = other.sequences_[static_cast<std::size_t>(source)];
  Sequence& to = sequences_[static_cast<std::size_t>(target)];
  for (std::size_t layer = 0; layer < from.layers.size(); ++layer) {
    if (!from.layers[layer].keys.rows.defined()) continue;
    to.layers[layer].keys = from.layers[layer].keys.part(0, from.length);
    to.layers[layer].values = from.layers[layer].values.part(0, from.length);
  }
  to.length = to.shared = from.length;
}

std::pair<at::Tensor, at::Tensor>& KvCache::cross(std::int32_t sequence, std::int64_t layer) {
  return at(sequence, layer).cross;
}

}  // namespace graft
