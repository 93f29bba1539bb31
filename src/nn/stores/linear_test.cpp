// Several maps of one x: however each of them is kept, it computes what it computes alone.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <vector>

#include "nn/stores/random_blocks_test.h"
#include "nn/stores/store.h"

namespace graft {
namespace {

constexpr std::int64_t kIn = 64;

at::Tensor numbers_for_maps(at::IntArrayRef shape, std::uint64_t seed, at::ScalarType dtype) {
  return at::randn(shape, at::detail::createCPUGenerator(seed)).to(dtype);
}

// In blocks, dense, dense as GPT-2 lays it, and a dense one that another matrix has the place of.
struct StoredMaps {
  explicit StoredMaps(at::ScalarType dtype)
      : blocks(block_store(DType::Q4_0, testing::random_blocks(testing::kBlockTypes[1], 32, kIn / 32), dtype)),
        dense(dense_store(numbers_for_maps({96, kIn}, 1, dtype))),
        turned(dense_store(numbers_for_maps({kIn, 32}, 2, dtype))),
        replaced(numbers_for_maps({96, kIn}, 3, dtype).requires_grad_(true)) {
    maps.push_back({blocks.get(), Layout::OutIn, std::nullopt});
    maps.push_back({dense.get(), Layout::OutIn, numbers_for_maps({96}, 4, dtype)});
    maps.push_back({turned.get(), Layout::InOut, std::nullopt});
    maps.push_back({dense.get(), Layout::OutIn, std::nullopt, replaced});
  }

  std::shared_ptr<const WeightStore> blocks, dense, turned;
  at::Tensor replaced;
  std::vector<StoredMap> maps;
};

TEST(StoredMap, OfOneXEachIsWhatItIsAlone) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const StoredMaps stored(dtype);
    for (const std::int64_t rows : {1, 8, 40}) {
      for (const bool learns : {false, true}) {
        const at::Tensor x = numbers_for_maps({rows, kIn}, 5, dtype).requires_grad_(learns);
        const auto together = linear(stored.maps, x, Activations::Exact);
        ASSERT_EQ(together.size(), stored.maps.size());
        for (std::size_t m = 0; m < together.size(); ++m) {
          const at::Tensor alone = linear({stored.maps[m]}, x, Activations::Exact).front();
          EXPECT_TRUE(at::equal(together[m], alone)) << m << ", " << rows << " rows, " << dtype;
          EXPECT_EQ(together[m].requires_grad(), alone.requires_grad()) << m;
        }
      }
    }
  }
}

TEST(StoredMap, WhatStandsInAStoresPlaceIsTrained) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const StoredMaps stored(dtype);
    const at::Tensor x = numbers_for_maps({40, kIn}, 5, dtype).requires_grad_(true),
                     above = numbers_for_maps({40, 96}, 6, dtype);
    const auto gradients = [&](const at::Tensor& y) {
      y.backward(above);
      std::vector<at::Tensor> taken = {x.grad(), stored.replaced.grad()};
      x.mutable_grad() = at::Tensor();
      stored.replaced.mutable_grad() = at::Tensor();
      return taken;
    };
    const auto got = gradients(linear(stored.maps, x, Activations::Exact)[3]),
               want = gradients(linear({stored.maps[3]}, x, Activations::Exact)[0]);
    for (std::size_t i = 0; i < want.size(); ++i) EXPECT_TRUE(at::equal(got[i], want[i])) << i << " " << dtype;
  }
}

}  // namespace
}  // namespace graft
