#include "nn/kv_cache.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "base/error.h"

namespace graft {
namespace {

// Tokens of a page on a GPU, where all pages of a sequence are put together for each product: so large that there is
// seldom more than one.
constexpr std::int64_t kGpuPageTokens = 4096;

std::int64_t tokens_of(const KeyValues& page) {
  return page.keys.rows.size(0);
}

// [tokens, G, …] like x [M, G, …], head by head.
at::Tensor room(const at::Tensor& x, std::int64_t dims, at::ScalarType dtype) {
  auto shape = x.sizes().slice(1, static_cast<std::size_t>(dims - 1)).vec();
  shape.insert(shape.begin() + 1, x.is_cpu() ? KvCache::kPageTokens : kGpuPageTokens);
  return at::empty(shape, x.options().dtype(dtype)).transpose(0, 1);
}

HeadRows room_for(const at::Tensor& x, KvFormat format) {
  return format == KvFormat::Dense ? HeadRows{room(x, 3, x.scalar_type()), {}}
                                   : HeadRows{room(x, 3, at::kChar), room(x, 2, at::kFloat)};
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

// The same of what is kept already.
void put(const HeadRows& from, std::int64_t first, std::int64_t count, const HeadRows& to, std::int64_t row) {
  put(from.rows, first, count, to.rows, row);
  if (from.scales.defined()) put(from.scales, first, count, to.scales, row);
}

std::shared_ptr<KeyValues> new_page(const at::Tensor& keys, const at::Tensor& values, KvFormat format) {
  return std::make_shared<KeyValues>(KeyValues{room_for(keys, format), room_for(values, format)});
}

void put_kept(const KeyValues& from, std::int64_t first, std::int64_t count, const KeyValues& to) {
  put(from.keys, first, count, to.keys, first);
  put(from.values, first, count, to.values, first);
}

// Tokens [first, first + count) of x as a page keeps them.
void write(const at::Tensor& x, std::int64_t first, std::int64_t count, const HeadRows& to, std::int64_t row) {
  if (to.scales.defined()) {
    put_in_eight_bits(x, first, count, to, row);
  } else {
    put(x, first, count, to.rows, row);
  }
}

// One part of the first `count` tokens of some pages.
HeadRows together(const KvPages& pages, std::int64_t count, HeadRows KeyValues::*part) {
  std::vector<at::Tensor> rows, scales;
  std::int64_t left = count;
  for (auto page = pages.begin(); left > 0; ++page) {
    const HeadRows here = ((**page).*part).part(0, std::min(left, tokens_of(**page)));
    rows.push_back(here.rows);
    if (here.scales.defined()) scales.push_back(here.scales);
    left -= here.rows.size(0);
  }
  const auto whole = [](const std::vector<at::Tensor>& parts) {
    return parts.size() == 1 ? parts.front() : parts.empty() ? at::Tensor() : at::cat(parts);
  };
  return {whole(rows), whole(scales)};
}

std::pair<HeadRows, HeadRows> together(const KvPages& pages, std::int64_t count) {
  return {together(pages, count, &KeyValues::keys), together(pages, count, &KeyValues::values)};
}

// Makes `to` the first `length` tokens of `from`, of which it has the first `same` already. The last page, which both
// will write into, is copied where `to` has one of its own in its place.
void take_over(const KvPages& from, std::int64_t length, KvPages& to, std::int64_t same) {
  KvPages pages;
  for (std::int64_t first = 0; first < length; first += tokens_of(*pages.back())) {
    const std::size_t index = pages.size();
    const bool whole = first + tokens_of(*from[index]) <= length,
               own = index < to.size() && to[index] != from[index] && to[index].use_count() == 1;
    pages.push_back(own && !whole ? to[index] : from[index]);
    const std::int64_t row = std::max<std::int64_t>(0, same - first), more = length - first - row;
    if (own && !whole && more > 0) put_kept(*from[index], row, more, *to[index]);
  }
  to = std::move(pages);
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
  const KvPages& pages = put(sequence, layer, keys, values, 0, keys.size(0));
  // The first tokens are there already as they would be put together.
  if (length(sequence) == 0 && format_ == KvFormat::Dense) return {HeadRows{keys, {}}, HeadRows{values, {}}};
  return together(pages, length(sequence) + keys.size(0));
}

const KvPages& KvCache::put(std::int32_t sequence, std::int64_t layer, const at::Tensor& keys, const at::Tensor& values,
                            std::int64_t first, std::int64_t count) {
  KvPages& pages = at(sequence, layer).pages;
  std::int64_t row = length(sequence);  // within the page that is looked at
  for (std::size_t index = 0; count > 0; ++index) {
    if (index == pages.size()) pages.push_back(new_page(keys, values, format_));
    const std::int64_t size = tokens_of(*pages[index]);
    if (row >= size) {
      row -= size;
      continue;
    }
    if (pages[index].use_count() > 1) {
      const auto own = new_page(keys, values, format_);
      put_kept(*pages[index], 0, row, *own);
      pages[index] = own;
    }
    const std::int64_t here = std::min(count, size - row);
    write(keys, first, here, pages[index]->keys, row);
    write(values, first, here, pages[index]->values, row);
    first += here, count -= here, row = 0;
  }
  return pages;
}

std::pair<HeadRows, HeadRows> KvCache::visible(std::int32_t sequence, std::int64_t layer) const {
  const Sequence& here = sequences_[static_cast<std::size_t>(sequence)];
  return together(here.layers[static_cast<std::size_t>(layer)].pages, here.length);
}

void KvCache::advance(std::int32_t sequence, std::int64_t tokens) {
  sequences_[static_cast<std::size_t>(sequence)].length += tokens;
}

void KvCache::truncate(std::int32_t sequence, std::int64_t length) {
  auto& here = sequences_[static_cast<std::size_t>(sequence)];
  here.length = std::min(here.length, length);
}

void KvCache::copy(std::int32_t source, std::int32_t target, std::int64_t same) {
  for (std::int64_t layer = 0; layer < layers_; ++layer) {
    const Layer& from = at(source, layer);
    Layer& to = at(target, layer);
    to.cross = from.cross;
    take_over(from.pages, length(source), to.pages, same);
  }
  sequences_[static_cast<std::size_t>(target)].length = length(source);
}

void KvCache::begin_with(std::int32_t target, const KvCache& other, std::int32_t source) {
  if (other.format_ != format_)
    fail(Category::InvalidArgument, "kv-cache",
         "is of another format than that of the prefix; read that into one of this format");
  const Sequence& from = other.sequences_[static_cast<std::size_t>(source)];
  Sequence& to = sequences_[static_cast<std::size_t>(target)];
  for (std::size_t layer = 0; layer < from.layers.size(); ++layer)
    take_over(from.layers[layer].pages, from.length, to.layers[layer].pages, 0);
  to.length = from.length;
}

std::pair<at::Tensor, at::Tensor>& KvCache::cross(std::int32_t sequence, std::int64_t layer) {
  return at(sequence, layer).cross;
}

}  // namespace graft
