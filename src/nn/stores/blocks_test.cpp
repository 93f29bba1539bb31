// Weights in blocks compute what the same values compute as a dense matrix.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include "checkpoint/fixture_test.h"
#include "nn/kernels/block_product.h"
#include "nn/stores/random_blocks_test.h"
#include "nn/stores/store.h"

namespace graft {
namespace {

using testing::BlockType;
using testing::expect_error;
using testing::kBlockTypes;
using testing::random_blocks;

at::Tensor random(at::IntArrayRef shape, at::ScalarType dtype) {
  return at::randn(shape, at::detail::createCPUGenerator(7)).to(dtype);
}

struct Through {
  at::Tensor y, grad;  // of x
};

Through through(const WeightStore& store, Layout layout, std::int64_t in, std::int64_t out, at::ScalarType dtype) {
  const at::Tensor x = random({6, in}, dtype).requires_grad_(true);
  const at::Tensor y = store.linear(x, layout, random({out}, dtype));
  y.backward(random({6, out}, dtype));
  return {y.detach(), x.grad()};
}

double gap(const at::Tensor& got, const at::Tensor& want) {
  return ((got - want).abs().max() / want.abs().max()).item<double>();
}

TEST(BlockStore, ComputesWhatItsDequantisedMatrixComputes) {
  for (const BlockType& of : kBlockTypes) {
    for (const std::int64_t rows : {1, 3, 17}) {
      for (const auto dtype : {at::kFloat, at::kBFloat16}) {
        SCOPED_TRACE(fmt::format("{} {} rows {}", name(of.type), rows, toString(dtype)));
        const auto packed = block_store(of.type, random_blocks(of, rows, 3), dtype);
        const auto dense = dense_store(packed->dense());
        const std::int64_t columns = 3 * block_elements(of.type);
        EXPECT_EQ(packed->shape(), (std::vector<std::int64_t>{rows, columns}));
        EXPECT_EQ(packed->elements(), rows * columns);
        EXPECT_EQ(packed->bytes(), rows * 3 * block_bytes(of.type));
        for (const Layout layout : {Layout::OutIn, Layout::InOut}) {
          const std::int64_t in = layout == Layout::OutIn ? columns : rows, out = rows + columns - in;
          const Through got = through(*packed, layout, in, out, dtype), want = through(*dense, layout, in, out, dtype);
          EXPECT_TRUE(at::equal(got.y, want.y));
          // Autograd's product and graft's may add in another order, and round once.
          EXPECT_LE(gap(got.grad, want.grad), dtype == at::kFloat ? 1e-6 : 1.0 / 256);
        }
      }
    }
  }
}

TEST(BlockStore, DequantisesAsTheCheckpointsReaderDoes) {
  for (const BlockType& of : kBlockTypes) {
    const at::Tensor bytes = random_blocks(of, 5, 2);
    const auto exact = block_store(of.type, bytes, at::kFloat), rounded = block_store(of.type, bytes, at::kBFloat16);
    at::Tensor want = at::empty({5, 2 * block_elements(of.type)}, at::kFloat);
    to_float(of.type, {static_cast<const std::byte*>(bytes.const_data_ptr()), bytes.nbytes()},
             {want.data_ptr<float>(), static_cast<std::size_t>(want.numel())});
    EXPECT_TRUE(at::equal(exact->dense(), want)) << name(of.type);
    EXPECT_TRUE(at::equal(rounded->dense(), want.to(at::kBFloat16))) << name(of.type);
    EXPECT_TRUE(at::equal(exact->part(1, 3), want.narrow(0, 1, 3))) << name(of.type);
    const at::Tensor ids = at::tensor({4, 0, 4, 2}, at::kLong);
    EXPECT_TRUE(at::equal(exact->rows(ids), want.index_select(0, ids))) << name(of.type);
  }
}

// A table of more than 2^24 values is worked through by parts, the last of which is a short one.
TEST(BlockStore, ALargeTableIsNeverDenseAsAWhole) {
  const std::int64_t rows = 4099, columns = 4096;
  const auto packed = block_store(DType::Q8_0, random_blocks(kBlockTypes[0], rows, columns / 32), at::kFloat);
  const auto dense = dense_store(packed->dense());
  const Through got = through(*packed, Layout::OutIn, columns, rows, at::kFloat),
                want = through(*dense, Layout::OutIn, columns, rows, at::kFloat);
  EXPECT_LE(gap(got.y, want.y), 1e-6);
  EXPECT_LE(gap(got.grad, want.grad), 1e-6);
}

TEST(BlockStore, WithoutAGradientThereIsNoGraph) {
  const auto store = block_store(DType::Q4_0, random_blocks(kBlockTypes[1], 4, 1), at::kFloat);
  EXPECT_FALSE(store->linear(random({2, 32}, at::kFloat), Layout::OutIn, std::nullopt).requires_grad());
  const at::Tensor x = random({2, 32}, at::kFloat).requires_grad_(true);
  EXPECT_TRUE(store->linear(x, Layout::OutIn, std::nullopt).requires_grad());
  const at::NoGradGuard no_grad;
  EXPECT_FALSE(store->linear(x, Layout::OutIn, std::nullopt).requires_grad());
}

// Where the blocks lie in a mapped file, their pages can go then.
TEST(BlockStore, SaysOnceThatItIsLaidOut) {
  int calls = 0;
  const auto store =
      block_store(DType::Q4_0, random_blocks(kBlockTypes[1], 17, 2), at::kBFloat16, [&calls] { ++calls; });
  const at::NoGradGuard no_grad;
  const at::Tensor x = random({3, 64}, at::kBFloat16);
  store->linear(x, Layout::OutIn, std::nullopt);
  store->linear(random({3, 17}, at::kBFloat16), Layout::InOut, std::nullopt, Activations::EightBit);
  EXPECT_EQ(calls, 0) << "neither needs a layout";
  for (int i = 0; i < 2; ++i) store->linear(x, Layout::OutIn, std::nullopt, Activations::EightBit);
  EXPECT_EQ(calls, BlockProduct::fast() ? 1 : 0);
  EXPECT_EQ(store->laid_out_bytes() > 0, BlockProduct::fast());
}

TEST(BlockStore, TheMatrixNeedNotBeAlignedInItsFile) {
  const at::Tensor bytes = random_blocks(kBlockTypes[5], 3, 1);
  at::Tensor shifted = at::empty({bytes.numel() + 1}, at::kByte).narrow(0, 1, bytes.numel()).view(bytes.sizes());
  shifted.copy_(bytes);
  EXPECT_TRUE(at::equal(block_store(DType::Q4_K, shifted, at::kFloat)->dense(),
                        block_store(DType::Q4_K, bytes, at::kFloat)->dense()));
}

TEST(BlockStore, RefusesBrokenRowsAndOtherDtypes) {
  expect_error(Category::InvalidArgument, "no whole blocks", [] {
    block_store(DType::Q4_0, at::empty({2, 19}, at::kByte), at::kFloat);
  });
  expect_error(Category::Unsupported, "float32 or bfloat16", [] {
    block_store(DType::Q4_0, at::empty({2, 18}, at::kByte), at::kHalf);
  });
}

}  // namespace
}  // namespace graft
