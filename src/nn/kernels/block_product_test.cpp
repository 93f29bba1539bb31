// Products of few rows through whole numbers: close to the dense product, and every kernel to the plain one.
#include "nn/kernels/block_product.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "nn/kernels/bfloat16_product.h"
#include "nn/kernels/block_tile.h"
#include "nn/stores/random_blocks_test.h"
#include "nn/stores/store.h"

namespace graft {
namespace {

using testing::kBlockTypes;
using testing::random_blocks;

at::Tensor random_inputs(at::IntArrayRef shape, at::ScalarType dtype = at::kFloat) {
  return at::randn(shape, at::detail::createCPUGenerator(7)).to(dtype);
}

double product_gap(const at::Tensor& got, const at::Tensor& want) {
  return ((got.to(at::kFloat) - want).abs().max() / want.abs().max()).item<double>();
}

// x in 8 bits with a scale for each group, as the product rounds it.
at::Tensor rounded(const at::Tensor& x, std::int64_t group) {
  const at::Tensor groups = x.view({x.size(0), -1, group});
  const at::Tensor scale = groups.abs().amax(-1, true) / 127;
  return (at::round(groups / scale) * scale).view(x.sizes());
}

at::Tensor times(const BlockProduct& matrix, const at::Tensor& x) {
  ProductInput input(x);
  return computed({matrix.with(input)}).front();
}

TEST(BlockProduct, IsTheProductWithTheRoundedRows) {
  for (const auto& of : kBlockTypes) {
    for (const std::int64_t out : {1, 15, 16, 17, 50}) {
      const at::Tensor blocks = random_blocks(of, out, 3);
      const BlockProduct product(of.type, blocks);
      const at::Tensor matrix = block_store(of.type, blocks, at::kFloat)->dense();
      for (const std::int64_t count : {1, 2, 3, 4, 7, 8, 9, 17}) {
        SCOPED_TRACE(fmt::format("{} {} x {}", name(of.type), out, count));
        const at::Tensor x = random_inputs({count, matrix.size(1)});
        const at::Tensor want = at::linear(rounded(x, block_codes(of.type).group), matrix);
        // Sums of large products that nearly cancel: what is compared is the size of the terms.
        const double size = at::linear(x.abs(), matrix.abs()).max().item<double>();
        EXPECT_LE((times(product, x) - want).abs().max().item<double>(), 1e-5 * size);
        const at::Tensor narrow = times(product, x.to(at::kBFloat16));
        EXPECT_EQ(narrow.scalar_type(), at::kBFloat16);
        EXPECT_LE((narrow.to(at::kFloat) - want).abs().max().item<double>(), 1.5e-2 * size);
      }
    }
  }
}

TEST(BlockProduct, WhatItTakesIsToldBefore) {
  for (const auto& of : kBlockTypes) {
    for (const std::int64_t out : {1, 16, 33}) {
      const BlockProduct product(of.type, random_blocks(of, out, 3));
      EXPECT_EQ(BlockProduct::bytes_of(of.type, out, 3 * block_elements(of.type)), product.bytes())
          << name(of.type) << " " << out;
    }
  }
}

TEST(BlockProduct, ARowsResultDoesNotDependOnTheOthers) {
  for (const auto& of : kBlockTypes) {
    const BlockProduct product(of.type, random_blocks(of, 40, 2));
    const at::Tensor x = random_inputs({11, 2 * block_elements(of.type)}, at::kBFloat16), all = times(product, x);
    for (std::int64_t n = 0; n < x.size(0); ++n)
      EXPECT_TRUE(at::equal(all.narrow(0, n, 1), times(product, x.narrow(0, n, 1)))) << name(of.type) << " " << n;
  }
}

// Of one type and of two that share no rounding, each with fewer and more parts than threads.
TEST(BlockProduct, SeveralMatricesAtOnceGiveWhatEachGivesAlone) {
  std::vector<BlockProduct> matrices;
  for (const std::int64_t out : {1, 40, 200}) {
    matrices.emplace_back(kBlockTypes[0].type, random_blocks(kBlockTypes[0], out, 8));
    matrices.emplace_back(kBlockTypes[1].type, random_blocks(kBlockTypes[1], out, 8));
  }
  for (const std::int64_t count : {1, 3, 300}) {
    const at::Tensor x = random_inputs({count, 8 * block_elements(kBlockTypes[0].type)}, at::kBFloat16);
    ProductInput input(x);
    std::vector<Product> products;
    for (const auto& matrix : matrices) products.push_back(matrix.with(input));
    const auto together = computed(products);
    for (std::size_t m = 0; m < matrices.size(); ++m) EXPECT_TRUE(at::equal(together[m], times(matrices[m], x))) << m;
  }
}

// Of every number of rows and outputs around whole tiles, and of one group and more: tiles give the bits of single
// rows.
TEST(BlockProduct, ManyRowsGiveTheBitsOfOne) {
  for (const auto& of : kBlockTypes) {
    for (const std::int64_t out : {1, 16, 33}) {
      for (const std::int64_t blocks : {1, 2, 3, 5}) {
        const BlockProduct product(of.type, random_blocks(of, out, blocks));
        const at::Tensor x = random_inputs({35, blocks * block_elements(of.type)});
        for (const std::int64_t count : {8, 9, 15, 16, 17, 31, 32, 33, 35}) {
          const at::Tensor all = times(product, x.narrow(0, 0, count));
          for (std::int64_t n = 0; n < count; ++n)
            ASSERT_TRUE(at::equal(all.narrow(0, n, 1), times(product, x.narrow(0, n, 1))))
                << name(of.type) << " " << out << " " << blocks << " " << count << " " << n;
        }
      }
    }
  }
}

TEST(BlockProduct, WhatIsNotFiniteStaysSo) {
  for (const auto& of : kBlockTypes) {
    const BlockProduct product(of.type, random_blocks(of, 20, 2));
    for (const float value : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
      at::Tensor x = random_inputs({2, 2 * block_elements(of.type)});
      x[1][3] = value;
      const at::Tensor y = times(product, x);
      EXPECT_TRUE(y[0].isfinite().all().item<bool>()) << name(of.type);
      EXPECT_TRUE(y[1].isnan().all().item<bool>()) << name(of.type);
    }
    EXPECT_EQ(times(product, at::full({1, 2 * block_elements(of.type)}, 1e-38F)).abs().max().item<float>(), 0);
  }
}

TEST(BlockProduct, TheMachinesKernelEqualsThePlainOne) {
  for (const auto& of : kBlockTypes) {
    const BlockCodes codes = block_codes(of.type);
    constexpr std::int64_t kGroups = 5, kCount = 11;
    const std::int64_t scale = codes.half_scales ? 2 : 4,
                       bytes = kTileRows * (codes.group * codes.bits / 8 + scale * (codes.minima ? 2 : 1));
    at::Tensor tile = at::randint(0, 256, {kGroups, bytes}, at::detail::createCPUGenerator(5), at::kByte);
    // Scales and minima from 2^-4 to 2^-3.
    const std::int64_t numbers = (bytes - kTileRows * codes.group * codes.bits / 8) / scale;
    const at::Tensor values = at::rand({kGroups, numbers}, at::detail::createCPUGenerator(6)) / 16 + 0.0625;
    const at::Tensor stored = codes.half_scales ? values.to(at::kHalf) : values;
    tile.narrow(1, bytes - numbers * scale, numbers * scale).copy_(stored.contiguous().view(at::kByte));
    const at::Tensor given =
        at::randint(-127, 128, {kCount, kGroups * codes.group}, at::detail::createCPUGenerator(8), at::kChar);
    const at::Tensor scales = random_inputs({kCount, kGroups}), sums = random_inputs({kCount, kGroups});
    const at::Tensor starts = at::randint(-9999, 9999, {kCount, kGroups}, at::kInt);
    std::vector<TileInput> x;
    for (std::int64_t n = 0; n < kCount; ++n)
      x.push_back({given[n].const_data_ptr<std::int8_t>(), starts[n].const_data_ptr<std::int32_t>(),
                   scales[n].const_data_ptr<float>(), sums[n].const_data_ptr<float>()});
    at::Tensor got = at::zeros({kCount, kTileRows}), want = at::zeros({kCount, kTileRows});
    const auto* bytes_of_tile = tile.const_data_ptr<std::uint8_t>();
    tile_kernel(codes)(bytes_of_tile, kGroups, x.data(), kCount, got.data_ptr<float>());
    plain_tile_kernel(codes)(bytes_of_tile, kGroups, x.data(), kCount, want.data_ptr<float>());
    EXPECT_LE(product_gap(got, want), 1e-5) << name(of.type);
  }
}

// Undefined where there is no kernel.
at::Tensor few_rows(const at::Tensor& x, const at::Tensor& matrix) {
  ProductInput input(x);
  const auto product = few_rows_product(input, matrix);
  return product ? computed({*product}).front() : at::Tensor();
}

TEST(FewRowsProduct, IsAbsentForAnother) {
  const at::Tensor matrix = random_inputs({4, 32}, at::kBFloat16);
  EXPECT_FALSE(few_rows(random_inputs({kFewRows + 1, 32}, at::kBFloat16), matrix).defined());
  EXPECT_FALSE(few_rows(random_inputs({0, 32}, at::kBFloat16), matrix).defined());
  EXPECT_FALSE(few_rows(random_inputs({1, 16}, at::kBFloat16), matrix).defined());
  EXPECT_FALSE(few_rows(random_inputs({1, 32}), matrix).defined());
  EXPECT_FALSE(few_rows(random_inputs({1, 32}, at::kBFloat16), random_inputs({32, 4}, at::kBFloat16).t()).defined());
}

TEST(FewRowsProduct, EqualsTheDenseProduct) {
  for (const std::int64_t in : {1, 2, 31, 32, 33, 64, 100}) {
    for (const std::int64_t out : {1, 3, 4, 5, 33}) {
      for (std::int64_t count = 1; count <= kFewRows; ++count) {
        const at::Tensor x = random_inputs({count, in}, at::kBFloat16),
                         matrix = random_inputs({out, in}, at::kBFloat16);
        const at::Tensor got = few_rows(x, matrix);
        if (!got.defined()) GTEST_SKIP() << "this machine has no bfloat16 products";
        const at::Tensor want = at::linear(x.to(at::kFloat), matrix.to(at::kFloat));
        EXPECT_LE(product_gap(got, want), 1e-2) << in << " " << out << " " << count;
        for (std::int64_t n = 0; n < count; ++n)
          EXPECT_TRUE(at::equal(got.narrow(0, n, 1), few_rows(x.narrow(0, n, 1), matrix)));
      }
    }
  }
}

}  // namespace
}  // namespace graft
