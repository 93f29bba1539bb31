#include "nn/kv_cache.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "base/error.h"

namespace graft {
namespace {

constexpr std::int64_t kFirstCapacity = 256;

// Room for `needed` tokens of this shape; the first `used` stay.
void reserve(at::Tensor& buffer, at::IntArrayRef token, const at::TensorOptions& options, std::int64_t used,
             std::int64_t needed) {
  if (buffer.defined() && buffer.size(0) >= needed) return;
  auto shape = token.vec();
  shape.insert(shape.begin() + 1, std::max(needed, buffer.defined() ? 2 * buffer.size(0) : kFirstCapacity));
  at::Tensor grown = at::empty(shape, options).transpose(0, 1);
  if (used > 0) grown.narrow(0, 0, used).copy_(buffer.narrow(0, 0, used));
  buffer = std::move(grown);
}

// Tokens [first, first + count) of x into those of a buffer from `row` on: a few kilobytes at each step of decoding,
// where an operation of LibTorch's costs more than they do.
void put(const at::Tensor& x, std::int64_t first, std::int64_t count, const at::Tensor& buffer, std::int64_t row) {
  const std::int64_t width = x.dim() == 3 ? x.size(2) : 1;
  if (!x.is_cpu() || x.scalar_type() != buffer.scalar_type() || (x.dim() == 3 && x.stride(2) != 1)) {
    buffer.narrow(0, row, count).copy_(x.narrow(0, first, count));
    return;
  }
  const auto bytes = static_cast<std::int64_t>(x.element_size());
  const std::int64_t step = x.stride(0), step_to = buffer.stride(0);
  const std::int64_t run = step == width && step_to == width ? count : 1;  // tokens that are copied at once
  for (std::int64_t head = 0; head < x.size(1); ++head) {
    const auto* from = static_cast<const std::byte*>(x.const_data_ptr()) + (first * step + head * x.stride(1)) * bytes;
    auto* to = static_cast<std::byte*>(buffer.data_ptr()) + (row * step_to + head * buffer.stride(1)) * bytes;
    for (std::int64_t t = 0; t < count; t += run)
      std::memcpy(to + t * step_to * bytes, from + t * step * bytes, static_cast<std::size_t>(run * width * bytes));
  }
}

// Behind the first `used` tokens of the buffers.
void put(const HeadRows& from, std::int64_t first, std::int64_t count, HeadRows& buffers, std::int64_t used) {
  for (const auto part : {&HeadRows::rows, &HeadRows::scales}) {
    const at::Tensor& x = from.*part;
    if (!x.defined() || count == 0) continue;
    reserve(buffers.*part, x.sizes().slice(1), x.options(), used, used + count);
    put(x, first, count, buffers.*part, used);
  }
}

void put_rounded(const at::Tensor& x, std::int64_t first, std::int64_t count, HeadRows& buffers, std::int64_t used) {
  reserve(buffers.rows, x.sizes().slice(1), x.options().dtype(at::kChar), used, used + count);
  reserve(buffers.scales, x.sizes().slice(1, 1), x.options().dtype(at::kFloat), used, used + count);
  put_in_eight_bits(x, first, count, buffers, used);
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
  const KeptTokens kept = append(sequence, layer, keys, values, 0, keys.size(0));
  return {kept.keys.part(0, kept.count), kept.values.part(0, kept.count)};
}

KeptTokens KvCache::append(std::int32_t sequence, std::int64_t layer, const at::Tensor& keys, const at::Tensor& values,
                           std::int64_t first, std::int64_t count) {
  const std::int64_t used = length(sequence);
  Layer& here = at(sequence, layer);
  const auto write = [&](const at::Tensor& x, HeadRows& buffers) {
    if (format_ == KvFormat::EightBit) {
      put_rounded(x, first, count, buffers, used);
    } else {
      put(HeadRows{x, {}}, first, count, buffers, used);
    }
  };
  write(keys, here.keys);
  write(values, here.values);
  return {here.keys, here.values, used + count};
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
    put(from.keys, same, more, to.keys, same);
    put(from.values, same, more, to.values, same);
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
