#include "nn/kernels/block_product.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "base/cpu.h"
#include "base/error.h"
#include "nn/kernels/any_row.h"
#include "nn/kernels/huge_pages.h"

namespace graft {
namespace {

std::int64_t group_bytes(const BlockCodes& codes) {
  const std::int64_t scale = codes.half_scales ? 2 : 4;
  return kTileRows * (codes.group * codes.bits / 8 + scale * (codes.minima ? 2 : 1));
}

// A row's codes, and its scales and minima where these are fp32.
struct Row {
  std::span<const std::byte> blocks;
  std::vector<std::uint8_t> codes;
  std::vector<float> scales, minima;
};

// As the file has them, without a look at what they stand for: a process begins with this for every matrix.
void read_row(DType type, const BlockCodes& how, std::span<const std::byte> blocks, Row& row) {
  const auto columns = static_cast<std::size_t>(static_cast<std::int64_t>(blocks.size()) / block_bytes(type) *
                                                block_elements(type)),
             groups = columns / static_cast<std::size_t>(how.group);
  row.blocks = blocks;
  row.codes.resize(columns);
  codes_of_blocks(type, blocks, row.codes);
  if (how.half_scales) return;
  row.scales.resize(groups);
  row.minima.resize(how.minima ? groups : 0);
  block_scales(type, blocks, row.scales, row.minima);
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

// Of row `r`: sixteen scales of so many bytes, then sixteen minima where there are any.
template <std::size_t kSize>
void put_numbers(const void* scale, const void* minimum, std::int64_t r, std::uint8_t* to) {
  constexpr auto kStep = static_cast<std::int64_t>(kSize);
  std::memcpy(to + r * kStep, scale, kSize);
  if (minimum != nullptr) std::memcpy(to + (kTileRows + r) * kStep, minimum, kSize);
}

// Scale and minimum of group `g`, behind the codes: halves as they begin the group's block, or fp32.
void put_scales(DType type, const BlockCodes& how, const Row& row, std::size_t g, std::int64_t r, std::uint8_t* to) {
  if (how.half_scales) {
    const std::byte* block = row.blocks.data() + g * static_cast<std::size_t>(block_bytes(type));
    put_numbers<2>(block, how.minima ? block + 2 : nullptr, r, to);
  } else {
    put_numbers<4>(&row.scales[g], how.minima ? &row.minima[g] : nullptr, r, to);
  }
}

// Puts row `r` of a tile into its places (block_tile.h).
void put_row(DType type, const BlockCodes& how, const Row& row, std::int64_t r, std::uint8_t* tile,
             std::int64_t bytes) {
  const auto size = static_cast<std::size_t>(how.group);
  const std::int64_t code_bytes = kTileRows * how.group * how.bits / 8;
  for (std::size_t g = 0; g < row.codes.size() / size; ++g) {
    std::uint8_t* group = tile + static_cast<std::int64_t>(g) * bytes;
    put_codes(how, row.codes.data() + g * size, r, group);
    put_scales(type, how, row, g, r, group + code_bytes);
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
      put_row(type, codes_, row, r % kTileRows, data + r / kTileRows * groups * group_bytes_, group_bytes_);
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
