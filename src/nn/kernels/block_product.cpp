#include "nn/kernels/block_product.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <vector>

#include "base/cpu.h"
#include "base/error.h"
#include "checkpoint/half.h"
#include "nn/kernels/any_row.h"
#include "nn/kernels/block_tile.h"

namespace graft {
namespace {

constexpr std::int64_t kLeastPerThread = 1 << 16;  // codes

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

// Puts row `r` of a tile into its places (block_tile.h).
void put_row(const BlockCodes& how, const Row& row, std::int64_t r, std::uint8_t* tile, std::int64_t bytes) {
  const std::int64_t scale_bytes = kTileRows * (how.half_scales ? 2 : 4),
                     code_bytes = kTileRows * how.group * how.bits / 8;
  for (std::size_t g = 0; g < row.scales.size(); ++g) {
    std::uint8_t* group = tile + static_cast<std::int64_t>(g) * bytes;
    for (std::int64_t k = 0; k < how.group; ++k) {
      const std::uint8_t code = row.codes[g * static_cast<std::size_t>(how.group) + static_cast<std::size_t>(k)];
      const std::int64_t quad = k / 4, lane = r * 4 + k % 4;
      if (how.bits == 8) {
        group[quad * kTileBytes + lane] = code;
      } else {
        group[quad / 2 * kTileBytes + lane] |= static_cast<std::uint8_t>(quad % 2 == 0 ? code : code << 4);
      }
    }
    put_scale(how, row.scales[g], group + code_bytes, r);
    if (how.minima) put_scale(how, row.minima[g], group + code_bytes + scale_bytes, r);
  }
}

// Rows of x in 8 bits.
class Rounded {
 public:
  Rounded(const at::Tensor& x, const BlockCodes& how) : how_(how), columns_(x.size(1)), groups_(x.size(1) / how.group) {
    const auto rows = static_cast<std::size_t>(x.size(0));
    codes_.resize(rows * static_cast<std::size_t>(columns_));
    starts_.resize(rows * static_cast<std::size_t>(groups_));
    scales_.resize(starts_.size());
    sums_.resize(starts_.size());
    std::vector<float> row(static_cast<std::size_t>(columns_));
    for (std::int64_t n = 0; n < x.size(0); ++n) {
      rows::read(x, n * columns_, row.data(), columns_);
      round_row(row.data(), n);
    }
  }

  TileInput row(std::int64_t n) const {
    return {codes_.data() + n * columns_, starts_.data() + n * groups_, scales_.data() + n * groups_,
            sums_.data() + n * groups_};
  }

 private:
  void round_row(const float* row, std::int64_t n) {
    for (std::int64_t g = 0; g < groups_; ++g) {
      const float* values = row + g * how_.group;
      const auto at = static_cast<std::size_t>(n * groups_ + g);
      if (!rows::finite(values, how_.group)) {
        // No code stands for it: the scale carries it into every output of the row.
        scales_[at] = sums_[at] = std::numeric_limits<float>::quiet_NaN();
        continue;
      }
      const float largest = rows::largest_magnitude(values, how_.group);
      const float scale = largest / 127.0F;
      // What is smaller has no reciprocal, and shows in no sum.
      const std::int32_t sum = rows::quantise(values, largest > 1e-30F ? 127.0F / largest : 0.0F,
                                              codes_.data() + n * columns_ + g * how_.group, how_.group);
      starts_[at] = -how_.offset * sum;
      scales_[at] = scale;
      sums_[at] = scale * static_cast<float>(sum);
    }
  }

  const BlockCodes& how_;
  std::int64_t columns_, groups_;
  std::vector<std::int8_t> codes_;
  std::vector<std::int32_t> starts_;
  std::vector<float> scales_, sums_;
};

}  // namespace

bool BlockProduct::fast() {
  return cpu_features().avx512_vnni;
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
  tiles_ = at::zeros({tiles, groups, group_bytes_}, at::kByte);
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

at::Tensor BlockProduct::operator()(const at::Tensor& x) const {
  const at::Tensor given = x.contiguous();
  const std::int64_t count = given.size(0), groups = in_ / codes_.group;
  if (given.size(1) != in_) fail(Category::Internal, "", "{} columns for a matrix of {}", given.size(1), in_);
  const Rounded rounded(given, codes_);
  at::Tensor y = at::empty({count, out_}, given.options());
  const auto* tiles = tiles_.const_data_ptr<std::uint8_t>();
  const TileKernel kernel = tile_kernel(codes_);
  const std::int64_t least = std::max<std::int64_t>(1, kLeastPerThread / (in_ * kTileRows));
  at::parallel_for(0, tiles_.size(0), least, [&](std::int64_t begin, std::int64_t end) {
    std::array<TileInput, kTileInputs> inputs;
    std::array<float, kTileInputs * kTileRows> sums;
    for (std::int64_t first = 0; first < count; first += kTileInputs) {
      const std::int64_t rows_here = std::min<std::int64_t>(kTileInputs, count - first);
      for (std::int64_t n = 0; n < rows_here; ++n) inputs[static_cast<std::size_t>(n)] = rounded.row(first + n);
      for (std::int64_t tile = begin; tile < end; ++tile) {
        kernel(tiles + tile * groups * group_bytes_, groups, inputs.data(), rows_here, sums.data());
        const std::int64_t width = std::min<std::int64_t>(kTileRows, out_ - tile * kTileRows);
        for (std::int64_t n = 0; n < rows_here; ++n) {
          rows::write(sums.data() + n * kTileRows, y, (first + n) * out_ + tile * kTileRows, width);
        }
      }
    }
  });
  return y;
}

}  // namespace graft
