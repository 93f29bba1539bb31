#include "checkpoint/layout.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/progress.h"

namespace graft {

std::uint64_t checked_bytes(const std::string& where, const std::string& name, DType dtype,
                            const std::vector<std::int64_t>& shape) {
  const std::int64_t block = block_elements(dtype);
  if (block > 1 && (shape.empty() || shape.back() % block != 0)) {
    fail(Category::Corruption, where, "tensor '{}': rows of {} values are not whole {} blocks of {}", printable(name),
         shape.empty() ? 1 : shape.back(), graft::name(dtype), block);
  }
  std::uint64_t elements = 1;
  for (std::int64_t size : shape) {
    std::uint64_t product = 0;
    if (size < 0 || __builtin_mul_overflow(elements, static_cast<std::uint64_t>(size), &product) ||
        product >> 58 != 0) {
      fail(Category::Corruption, where, "tensor '{}': shape [{}] is too large to be true", printable(name),
           fmt::join(shape, ", "));
    }
    elements = product;
  }
  return elements / static_cast<std::uint64_t>(block) * static_cast<std::uint64_t>(block_bytes(dtype));
}

void check_layout(const std::string& where, const std::vector<TensorInfo>& tensors, std::uint64_t begin,
                  std::uint64_t file_size) {
  std::set<std::string_view> names;
  std::vector<const TensorInfo*> order;
  for (const TensorInfo& info : tensors) {
    if (!names.insert(info.name).second)
      fail(Category::Corruption, where, "tensor '{}' is there twice; fetch it again", printable(info.name));
    if (info.offset < begin || info.offset > file_size || info.bytes > file_size - info.offset) {
      fail(Category::Corruption, where,
           "tensor '{}' claims {} at byte {}, but the file has {} bytes: it is truncated or its header is wrong; fetch "
           "it again",
           printable(info.name), human_bytes(static_cast<double>(info.bytes)), info.offset, file_size);
    }
    if (info.bytes > 0) order.push_back(&info);
  }
  std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->offset < b->offset; });
  for (std::size_t i = 1; i < order.size(); ++i) {
    if (order[i - 1]->offset + order[i - 1]->bytes > order[i]->offset) {
      fail(Category::Corruption, where, "tensors '{}' and '{}' overlap; fetch it again", printable(order[i - 1]->name),
           printable(order[i]->name));
    }
  }
}

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0x80   ? 1
                               : lead < 0xc2 ? 0
                               : lead < 0xe0 ? 2
                               : lead < 0xf0 ? 3
                               : lead < 0xf5 ? 4
                                             : 0;
    if (length == 0 || length > text.size() - i) return false;
    for (std::size_t k = 1; k < length; ++k) {
      const auto byte = static_cast<unsigned char>(text[i + k]);
      unsigned low = 0x80, high = 0xbf;
      if (k == 1 && lead == 0xe0) low = 0xa0;
      if (k == 1 && lead == 0xed) high = 0x9f;
      if (k == 1 && lead == 0xf0) low = 0x90;
      if (k == 1 && lead == 0xf4) high = 0x8f;
      if (byte < low || byte > high) return false;
    }
    i += length;
  }
  return true;
}

std::string printable(std::string_view text) {
  constexpr std::size_t kLongest = 80;
  std::string shown;
  for (char c : text) {
    if (shown.size() >= kLongest) return shown + "…";
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      shown += c;
    } else {
      shown += fmt::format("\\x{:02x}", byte);
    }
  }
  return shown;
}

}  // namespace graft
