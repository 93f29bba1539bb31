#include "nn/kernels/block_product.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/cpu.h"
#include "base/error.h"
#include "checkpoint/half.h"
#include "nn/kernels/any_row.h"
#include "nn/kernels/huge_pages.h"

namespace graft {
namespace {

std::int64_t group_bytes(const BlockCodes& codes) {
  const std::int64_t scale = codes.half_scales ? 2 : 4;
  return kTileRows * (codes.group * codes.bits / 8 + scale * (codes.minima ? 2 : 1));
}

// A row's codes, scales and minima.
struct Row {
  std::vector<float> values, scales, minima;
  std::vector<std::uint8_t> codes;
};

void read_row(DType type, const BlockCodes& how, std::span<const std::byte> blocks, Row& row) {
  const auto columns = static_cast<std::size_t>(static_cast<std::int64_t>(blocks.size()) / block_bytes(type) *
                                                block_elements(type)),
             group = static_cast<std::size_t>(how.group), groups = columns / group;
  row.values.resize(columns);
  row.codes.resize(columns);
  row.scales.resize(groups);
  row.minima.assign(how.minima ? groups : 0, 0);
  dequantise(type, blocks, row.values);
  block_scales(type, blocks, row.scales, row.minima);
  for (std::size_t g = 0; g < groups; ++g)
    rows::codes(row.values.data() + g * group, how.minima ? row.minima[g] : 0, row.scales[g], how.offset,
                (1 << how.bits) - 1, row.codes.data() + g * group, how.group);
}

void put_scale(const BlockCodes& how, float value, std::uint8_t* at, std::int64_t row) {
  if (how.half_scales) {
    const std::uint16_t half = float_to_half(value);
    std::memcpy(at + row * 2, &half, 2);
  } else {
    std::memcpy(at + row * 4, &value, 4);
  }
}

// Four codes at a time: the lanes of a row in a quad's bytes lie together.
void put_codes(const BlockCodes& how, const std::uint8_t* codes, std::int64_t r, std::uint8_t* group) {
  const std::int64_t quads = how.group / 4;
  const auto four = [codes](std::int64_t quad) {
    std::uint32_t word;
    std::memcpy(&word, codes + quad * 4, 4);
    return word;
  };
  const auto put = [&](std::int64_t line, std::uint32_t word) {
    std::memcpy(group + line * kTileBytes + r * 4, &word, 4);
  };
  if (how.bits == 8) {
    for (std::int64_t quad = 0; quad < quads; ++quad) put(quad, four(quad));
  } else {
    for (std::int64_t quad = 0; quad < quads; quad += 2) put(quad / 2, four(quad) | four(quad + 1) << 4);
  }
}

// Puts row `r` of a tile into its places (block_tile.h).
void put_row(const BlockCodes& how, const Row& row, std::int64_t r, std::uint8_t* tile, std::int64_t bytes) {
  const std::int64_t scale_bytes = kTileRows * (how.half_scales ? 2 : 4),
                     code_bytes = kTileRows * how.group * how.bits / 8;
  for (std::size_t g = 0; g < row.scales.size(); ++g) {
    std::uint8_t* group = tile + static_cast<std::int64_t>(g) * bytes;
    put_codes(how, row.codes.data() + g * static_cast<std::size_t>(how.group), r, group);
    put_scale(how, row.scales[g], group + code_bytes, r);
    if (how.minima) put_scale(how, row.minima[g], group + code_bytes + scale_bytes, r);
  }
}

}  // namespace

bool BlockProduct::fast() {
  return cpu_features().avx512_vnni || cpu_features().avx2;
}

std::int64_t BlockProduct::bytes_of(DType type, std::int64_t rows, std::int64_t columns) {
  const BlockCodes codes = block_codes(type);
  return (rows + kTileRows - 1) / kTileRows * (columns / codes.group) * group_bytes(codes);
}

BlockProduct::BlockProduct(DType type, const at::Tensor& blocks)
    : codes_(block_codes(type)),
      out_(blocks.size(0)),
      in_(blocks.size(1) / block_bytes(type) * block_elements(type)),
      group_bytes_(group_bytes(codes_)) {
  lay_out(type, blocks);
}

void BlockProduct::lay_out(DType type, const at::Tensor& blocks) {
  const std::int64_t tiles = (out_ + kTileRows - 1) / kTileRows, groups = in_ / codes_.group;
  tiles_ = zeros_in_huge_pages({tiles, groups, group_bytes_});
  auto* data = tiles_.data_ptr<std::uint8_t>();
  const auto row_bytes = static_cast<std::size_t>(blocks.size(1));
  const auto* from = static_cast<const std::byte*>(blocks.const_data_ptr());
  at::parallel_for(0, tiles, 1, [&](std::int64_t begin, std::int64_t end) {
    Row row;
    for (std::int64_t r = begin * kTileRows; r < std::min(end * kTileRows, out_); ++r) {
      read_row(type, codes_, {from + static_cast<std::size_t>(r) * row_bytes, row_bytes}, row);
      put_row(codes_, row, r % kTileRows, data + r / kTileRows * groups * group_bytes_, group_bytes_);
    }
  });
}

Product BlockProduct::with(ProductInput& input) const {
  const at::Tensor& x = input.x();
  if (x.size(1) != in_) fail(Category::Internal, "", "{} columns for a matrix of {}", x.size(1), in_);
  Product product;
  product.y = rows::empty({x.size(0), out_}, x.scalar_type());
  product.parts = tiles_.size(0);
  product.values = in_ * kTileRows;
  product.compute = [this, rounded = input.rounded(codes_.group, codes_.offset), kernel = tile_kernel(codes_),
                     y = product.y](std::int64_t begin, std::int64_t end) { fill(*rounded, kernel, y, begin, end); };
  return product;
}

// Tiles [begin, end) for every row.
void BlockProduct::fill(const RoundedRows& rounded, TileKernel kernel, at::Tensor y, std::int64_t begin,
                        std::int64_t end) const {
  if (amx_pays(y.size(0), codes_.group)) return fill_by_sixteens(rounded, y, begin, end);
  const auto* tiles = tiles_.const_data_ptr<std::uint8_t>();
  const std::int64_t count = y.size(0), groups = in_ / codes_.group;
  std::array<TileInput, kTileInputs> inputs;
  std::array<float, kTileInputs * kTileRows> sums;
  for (std::int64_t first = 0; first < count; first += kTileInputs) {
    const std::int64_t rows_here = std::min<std::int64_t>(kTileInputs, count - first);
    for (std::int64_t n = 0; n < rows_here; ++n) inputs[static_cast<std::size_t>(n)] = rounded.row(first + n);
    for (std::int64_t tile = begin; tile < end; ++tile) {
      kernel(tiles + tile * groups * group_bytes_, groups, inputs.data(), rows_here, sums.data());
      const std::int64_t width = std::min<std::int64_t>(kTileRows, out_ - tile * kTileRows);
      for (std::int64_t n = 0; n < rows_here; ++n)
        rows::write(sums.data() + n * kTileRows, y, (first + n) * out_ + tile * kTileRows, width);
    }
  }
}

void BlockProduct::fill_by_sixteens(const RoundedRows& rounded, at::Tensor y, std::int64_t begin,
                                    std::int64_t end) const {
  const auto* tiles = tiles_.const_data_ptr<std::uint8_t>();
  // A tile that many rows need is loaded whole; for sixteen rows, a few groups at a time.
  const std::int64_t count = y.size(0), groups = in_ / codes_.group,
                     step = count > kAmxRows ? groups : std::min(groups, kAmxGroups);
  const auto tile = AmxTile::make(codes_, groups, step);
  std::array<float, kAmxRows * kTileRows> sums;
  for (std::int64_t t = begin; t < end; ++t) {
    const std::int64_t width = std::min<std::int64_t>(kTileRows, out_ - t * kTileRows);
    for (std::int64_t first = 0; first < count; first += kAmxRows) {
      for (std::int64_t g = 0; g < groups; g += step) {
        if (first == 0) tile->load(tiles + t * groups * group_bytes_, g, std::min(groups, g + step));
        tile->multiply(rounded.sixteens(), first, sums.data());
      }
      for (std::int64_t n = 0; n < std::min<std::int64_t>(kAmxRows, count - first); ++n)
        rows::write(sums.data() + n * kTileRows, y, (first + n) * out_ + t * kTileRows, width);
    }
  }
}

}  // namespace graft
