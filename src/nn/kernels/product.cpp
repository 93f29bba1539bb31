#include "nn/kernels/product.h"

#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <algorithm>

namespace graft {
namespace {

constexpr std::int64_t kLeastPerThread = 1 << 16;  // values

}  // namespace

std::shared_ptr<const RoundedRows> ProductInput::rounded(std::int64_t group, std::int32_t offset) {
  for (const Made& made : made_) {
    if (made.group == group && made.offset == offset) return made.rows;
  }
  made_.push_back({group, offset, std::make_shared<const RoundedRows>(x_, group, offset)});
  return made_.back().rows;
}

std::vector<at::Tensor> computed(const std::vector<Product>& products) {
  RECORD_USER_SCOPE("graft::product");
  std::int64_t parts = 0, values = 0;
  std::vector<at::Tensor> results;
  for (const Product& product : products) {
    parts += product.parts;
    values += product.parts * product.values;
    results.push_back(product.y);
  }
  const std::int64_t least = std::max<std::int64_t>(1, kLeastPerThread * parts / std::max<std::int64_t>(1, values));
  at::parallel_for(0, parts, least, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t first = 0;
    for (const Product& product : products) {
      const std::int64_t from = std::max<std::int64_t>(begin - first, 0), to = std::min(end - first, product.parts);
      if (from < to) product.compute(from, to);
      first += product.parts;
    }
  });
  return results;
}

}  // namespace graft
