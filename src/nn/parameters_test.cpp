// How a checkpoint's matrices are kept in memory, by the setting model.weights.
#include "nn/parameters.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/cpu.h"
#include "base/environment_variable_test.h"
#include "checkpoint/fixture_test.h"
#include "checkpoint/writer.h"
#include "nn/kernels/block_product.h"
#include "nn/kernels/huge_pages.h"
#include "nn/stores/mapped_values.h"
#include "nn/tensor_file.h"

namespace graft {
namespace {

using testing::expect_error;
using testing::Folder;

// Notes which tensors of another source are given back.
class Noting : public TensorSource {
 public:
  explicit Noting(std::unique_ptr<TensorSource> of) : of_(std::move(of)) {}

  std::string format() const override { return of_->format(); }
  const std::vector<TensorInfo>& tensors() const override { return of_->tensors(); }
  const std::vector<std::filesystem::path>& files() const override { return of_->files(); }
  std::span<const std::byte> bytes(const TensorInfo& info) const override { return of_->bytes(info); }
  void release(const TensorInfo& info) const override {
    released.push_back(info.name);
    of_->release(info);
  }
  const nlohmann::json& metadata() const override { return of_->metadata(); }

  mutable std::vector<std::string> released;

 private:
  std::unique_ptr<TensorSource> of_;
};

// A matrix of whole blocks with more rows than are quantised at a time, one of none, a vector.
class Weights : public ::testing::Test {
 protected:
  Weights() {
    const auto generator = at::detail::createCPUGenerator(1);
    wide_ = at::randn({9001, 64}, generator);
    write("model.safetensors", wide_);
  }

  void write(const char* file, const at::Tensor& wide) const {
    write_tensors(folder_.path() / file, {{"wide", wide}, {"narrow", at::ones({3, 31})}, {"vector", at::ones({64})}});
  }

  ParameterTable load(WeightFormat format, const std::vector<std::int64_t>& rows = {},
                      const char* file = "model.safetensors", at::ScalarType dtype = at::kFloat) const {
    ParameterLoader loader(open_checkpoint(folder_.path() / file), dtype, at::kCPU, format);
    loader.take_matrix("wide", {wide_.size(0), 64}, rows);
    loader.take_matrix("narrow", {3, 31});
    loader.take("vector", {64});
    return loader.finish();
  }

  Folder folder_;
  at::Tensor wide_;
};

TEST_F(Weights, DenseOnesStayAsTheyAre) {
  const ParameterTable table = load(WeightFormat::Dense);
  EXPECT_FALSE(table.packed());
  EXPECT_TRUE(at::equal(table.value(0), wide_));
  EXPECT_EQ(table.elements(), 9001 * 64 + 93 + 64);
  EXPECT_EQ(table.bytes(), 4 * table.elements());
}

TEST_F(Weights, AShapeCanBeHeldToTheFileBeforeItIsTaken) {
  const ParameterLoader loader(open_checkpoint(folder_.path() / "model.safetensors"), at::kFloat, at::kCPU);
  EXPECT_TRUE(loader.holds("narrow", {3, 31}));
  expect_error(Category::Corruption, "tensor narrow has shape [3, 31], the config asks for [3, 1099511627776]", [&] {
    loader.holds("narrow", {3, std::int64_t{1} << 40});
  });
  expect_error(Category::NotFound, "narow", [&] { loader.holds("narow", {3, 31}); });
  EXPECT_FALSE(ParameterLoader::outline(at::kFloat).holds("narrow", {3, 31}));
}

TEST_F(Weights, MatricesOfWholeBlocksAreQuantisedAndNothingElse) {
  for (const auto& [format, type, step] :
       {std::tuple(WeightFormat::Q8_0, DType::Q8_0, 1.0 / 127), std::tuple(WeightFormat::Q4_0, DType::Q4_0, 1.0 / 8)}) {
    const ParameterTable table = load(format);
    EXPECT_TRUE(table.packed());
    EXPECT_EQ(table.store(0).kind(), name(type));
    EXPECT_EQ(table.store(1).kind(), "F32");
    EXPECT_EQ(table.store(2).kind(), "F32");
    EXPECT_EQ(table.elements(), 9001 * 64 + 93 + 64);
    EXPECT_EQ(table.bytes(), 9001 * 2 * block_bytes(type) + 4 * (93 + 64));
    EXPECT_NE(table.storage().find(std::string(name(type)) + " "), std::string::npos) << table.storage();
    // At the end of the range that the extreme value leaves short, Q4_0 is a whole step away.
    const at::Tensor largest = wide_.view({-1, 32}).abs().amax(1, true);
    const at::Tensor error = (table.value(0) - wide_).view({-1, 32}).abs();
    EXPECT_TRUE((error <= largest * step * 1.01).all().item<bool>());
    EXPECT_GT(error.max().item<double>(), 0);
  }
}

at::Tensor rounded(DType type, const at::Tensor& values) {
  const auto count = static_cast<std::size_t>(values.numel());
  std::vector<std::byte> blocks(count / static_cast<std::size_t>(block_elements(type)) *
                                static_cast<std::size_t>(block_bytes(type)));
  quantise_closely(type, std::span<const float>(values.const_data_ptr<float>(), count), blocks);
  at::Tensor result = at::empty_like(values);
  to_float(type, blocks, {result.data_ptr<float>(), count});
  return result;
}

// Rows of 64 values hold no block of 256, those of 31 none at all.
TEST_F(Weights, WhatDoesNotFitItsBlocksFallsBackAndIsTold) {
  const std::map<DType, std::string> told = {
      {DType::Q4_K, "rows of 2 of 2 matrices are no whole blocks of Q4_K (256 values): 1 in Q5_0, 1 dense"},
      {DType::Q5_K, "rows of 2 of 2 matrices are no whole blocks of Q5_K (256 values): 1 in Q5_1, 1 dense"},
      {DType::Q6_K, "rows of 2 of 2 matrices are no whole blocks of Q6_K (256 values): 1 in Q8_0, 1 dense"},
      {DType::Q4_1, "rows of 1 of 2 matrices are no whole blocks of Q4_1 (32 values): 1 dense"}};
  for (const DType type : block_types()) {
    SCOPED_TRACE(name(type));
    const ParameterTable table = load(weight_format(block_name(type)));
    const DType kept = fitting_blocks(type, 64).value();
    EXPECT_EQ(table.store(0).kind(), name(kept));
    EXPECT_TRUE(at::equal(table.value(0), rounded(kept, wide_)));
    EXPECT_EQ(table.store(1).kind(), "F32");
    if (told.contains(type)) {
      EXPECT_EQ(table.fallen_back(), told.at(type));
    }
  }
  EXPECT_EQ(load(WeightFormat::Dense).fallen_back(), "");
}

TEST_F(Weights, RowsOf512TakeEveryType) {
  const at::Tensor deep = at::randn({9, 512}, at::detail::createCPUGenerator(2));
  write_tensors(folder_.path() / "deep.safetensors", {{"deep", deep}});
  for (const DType type : block_types()) {
    SCOPED_TRACE(name(type));
    ParameterLoader loader(open_checkpoint(folder_.path() / "deep.safetensors"), at::kFloat, at::kCPU,
                           weight_format(block_name(type)));
    loader.take_matrix("deep", {9, 512});
    const ParameterTable table = loader.finish();
    EXPECT_EQ(table.store(0).kind(), name(type));
    EXPECT_TRUE(at::equal(table.value(0), rounded(type, deep)));
    EXPECT_EQ(table.fallen_back(), "");
  }
}

TEST_F(Weights, RowsChangePlacesAsWholeRowsOfBlocks) {
  std::vector<std::int64_t> reversed(9001);
  for (std::size_t row = 0; row < reversed.size(); ++row) reversed[row] = 9000 - static_cast<std::int64_t>(row);
  EXPECT_TRUE(at::equal(load(WeightFormat::Q4_0, reversed).value(0), load(WeightFormat::Q4_0).value(0).flip({0})));
}

// The pages of the file that a copy was made of would else count beside it.
TEST_F(Weights, WhatWasCopiedIsGivenBack) {
  std::vector<std::int64_t> same(9001);
  for (std::size_t row = 0; row < same.size(); ++row) same[row] = static_cast<std::int64_t>(row);
  const auto source = std::make_shared<Noting>(open_checkpoint(folder_.path() / "model.safetensors"));
  ParameterLoader loader(source, at::kFloat, at::kCPU);
  loader.take_matrix("narrow", {3, 31});
  EXPECT_TRUE(source->released.empty());
  const std::int64_t wide = loader.take_matrix("wide", {9001, 64}, same);
  EXPECT_EQ(source->released, std::vector<std::string>{"wide"});
  loader.take("vector", {64});
  EXPECT_TRUE(at::equal(loader.finish().value(wide), wide_));
}

TEST_F(Weights, WhatLiesInTheFileAsItIsCanBeGivenBack) {
  const std::int64_t narrow = 4 * 3 * 31, vector = 4 * 64;
  const ParameterTable dense = load(WeightFormat::Dense);
  EXPECT_EQ(dense.residency().bytes(), dense.bytes());
  EXPECT_EQ(dense.residency().bytes({1, 2}), narrow + vector);
  EXPECT_FALSE(dense.residency().streams());
  dense.residency().release();
  EXPECT_TRUE(at::equal(dense.value(0), wide_));
  // Quantised, with rows in other places, or in another dtype it is a copy.
  EXPECT_EQ(load(WeightFormat::Q8_0).residency().bytes(), narrow + vector);
  std::vector<std::int64_t> same(9001);
  for (std::size_t row = 0; row < same.size(); ++row) same[row] = static_cast<std::int64_t>(row);
  EXPECT_EQ(load(WeightFormat::Dense, same).residency().bytes(), narrow + vector);
  EXPECT_EQ(load(WeightFormat::Dense, {}, "model.safetensors", at::kBFloat16).residency().bytes(), 0);
}

// An outline of a file has what its loader would have, and says where that would lie.
TEST_F(Weights, TheOutlineOfAFileTellsWhatLoadingTakes) {
  std::vector<std::int64_t> reversed(9001);
  for (std::size_t row = 0; row < reversed.size(); ++row) reversed[row] = 9000 - static_cast<std::int64_t>(row);
  for (const WeightFormat format : {WeightFormat::Dense, WeightFormat::Q8_0, WeightFormat::Q4_K}) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      for (const auto& rows : {std::vector<std::int64_t>(), reversed}) {
        SCOPED_TRACE(fmt::format("{} {} {}", name(format), toString(dtype), rows.size()));
        const ParameterTable loaded = load(format, rows, "model.safetensors", dtype);
        const ParameterLoader loader(open_checkpoint(folder_.path() / "model.safetensors"), dtype, at::kCPU, format);
        ParameterLoader outline = loader.outlined();
        outline.take_matrix("wide", {wide_.size(0), 64}, rows);
        outline.take_matrix("narrow", {3, 31});
        outline.take("vector", {64});
        const ParameterTable told = outline.finish();
        EXPECT_EQ(told.bytes(), loaded.bytes());
        EXPECT_EQ(told.residency().bytes(), loaded.residency().bytes());
      }
    }
  }
}

TEST_F(Weights, TheOutlineOfAFileHasItsNamesAndShapes) {
  const std::shared_ptr<const TensorSource> file = open_checkpoint(folder_.path() / "model.safetensors");
  ParameterLoader outline = ParameterLoader::outline(at::kFloat, WeightFormat::Dense, file);
  EXPECT_TRUE(outline.has("narrow"));
  EXPECT_FALSE(outline.has("narow"));
  EXPECT_TRUE(outline.holds("narrow", {3, 31}));
  expect_error(Category::NotFound, "narow", [&] { outline.take("narow", {3, 31}); });
  expect_error(Category::Corruption, "tensor narrow has shape [3, 31]", [&] {
    outline.take("narrow", {std::int64_t{1} << 40, std::int64_t{1} << 40});
  });
  EXPECT_TRUE(ParameterLoader::outline(at::kFloat).has("whatever"));
}

// Products read their layout from then on.
TEST_F(Weights, MappedBlocksAreGivenBackOnceTheyAreLaidOut) {
  const std::size_t bytes = 64 * 64 / 32 * 34;
  std::vector<std::byte> blocks(bytes);
  for (std::size_t i = 0; i < bytes; ++i) blocks[i] = static_cast<std::byte>(i % 34 < 2 ? 0x2c : i * 7);
  const std::filesystem::path file = folder_.path() / "model.gguf";
  const auto writer = write_gguf(file, {{"wide", DType::Q8_0, {64, 64}}}, {{"general.architecture", "llama"}});
  writer->write(blocks);
  writer->finish();
  const auto source = std::make_shared<Noting>(open_checkpoint(file));
  ParameterLoader loader(source, at::kBFloat16, at::kCPU, WeightFormat::Packed);
  loader.take_matrix("wide", {64, 64});
  const ParameterTable table = loader.finish();
  const at::Tensor before = table.value(0), x = at::ones({2, 64}, at::kBFloat16);
  table.store(0).linear(x, Layout::OutIn, std::nullopt);
  EXPECT_TRUE(source->released.empty());
  table.store(0).linear(x, Layout::OutIn, std::nullopt, Activations::EightBit);
  EXPECT_EQ(source->released, std::vector<std::string>(BlockProduct::fast() ? 1 : 0, "wide"));
  EXPECT_TRUE(at::equal(table.value(0), before)) << "they come again";
}

// Where there is room, and only as long as nothing asks for it.
TEST_F(Weights, MappedMatricesAreGivenBackOnceTheyAreCopied) {
  const EnvironmentVariable memory("GRAFT_MEMORY");
  memory.set("1TB");
  write_tensors(folder_.path() / "rounded.safetensors", {{"wide", wide_.to(at::kBFloat16)}});
  const auto source = std::make_shared<Noting>(open_checkpoint(folder_.path() / "rounded.safetensors"));
  ParameterLoader loader(source, at::kBFloat16, at::kCPU);
  loader.take_matrix("wide", {9001, 64});
  const ParameterTable table = loader.finish();
  const void* mapped = table.value(0).const_data_ptr();
  const at::Tensor before = table.value(0).clone(), x = at::ones({2, 64}, at::kBFloat16);
  const auto is_copied_by_reading = [&] {
    source->released.clear();
    for (int i = 0; i < 2 * kReadsBeforeCopy; ++i)
      table.store(0).linear(x, Layout::OutIn, std::nullopt, Activations::EightBit);
    EXPECT_TRUE(at::equal(table.value(0), before));
    EXPECT_EQ(table.residency().bytes(), table.bytes()) << "it takes no more than it did";
    const bool copied = table.value(0).const_data_ptr() != mapped;
    EXPECT_EQ(source->released, std::vector<std::string>(copied ? 1 : 0, "wide"));
    return copied;
  };
  const bool faster = cpu_features().avx512_bf16 && huge_pages_are_given();
  EXPECT_EQ(is_copied_by_reading(), faster);
  table.residency().release();
  EXPECT_EQ(table.value(0).const_data_ptr(), mapped);
  EXPECT_EQ(is_copied_by_reading(), faster);
  table.residency().stream(true);
  EXPECT_EQ(table.value(0).const_data_ptr(), mapped);
  EXPECT_FALSE(is_copied_by_reading());
  table.residency().stream(false);
  table.residency().release();
  memory.set("1kB");
  EXPECT_FALSE(is_copied_by_reading());
}

TEST_F(Weights, ASourceOfWhichNothingIsMappedIsLetGo) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    std::weak_ptr<const TensorSource> source;
    ParameterTable table;
    {
      const std::shared_ptr<const TensorSource> opened = open_checkpoint(folder_.path() / "model.safetensors");
      source = opened;
      ParameterLoader loader(opened, dtype, at::kCPU);
      loader.take_matrix("wide", {9001, 64});
      loader.take("narrow", {3, 31});
      loader.take("vector", {64});
      table = loader.finish();
    }
    EXPECT_EQ(source.expired(), dtype == at::kBFloat16);
    EXPECT_TRUE(at::equal(table.value(0), wide_.to(dtype)));
  }
}

TEST_F(Weights, TheSameBlocksServeBothDtypes) {
  const ParameterTable rounded = load(WeightFormat::Q8_0, {}, "model.safetensors", at::kBFloat16);
  EXPECT_EQ(rounded.dtype(), at::kBFloat16);
  EXPECT_TRUE(at::equal(rounded.value(0), load(WeightFormat::Q8_0).value(0).to(at::kBFloat16)));
}

TEST_F(Weights, NaNIsToldWithItsTensor) {
  at::Tensor broken = wide_.clone();
  broken[8000][3] = std::numeric_limits<float>::quiet_NaN();
  write("broken.safetensors", broken);
  expect_error(Category::Corruption, "tensor wide holds NaN",
               [&] { load(WeightFormat::Q8_0, {}, "broken.safetensors"); });
  broken[8000][3] = std::numeric_limits<float>::infinity();
  write("broken.safetensors", broken);
  expect_error(Category::Corruption, "tensor wide holds NaN",
               [&] { load(WeightFormat::Q4_0, {}, "broken.safetensors"); });
  broken[8000][3] = -65536;  // the minimum of its block is a half
  write("broken.safetensors", broken);
  expect_error(Category::Corruption, "beyond 65,504", [&] { load(WeightFormat::Q4_1, {}, "broken.safetensors"); });
}

TEST_F(Weights, WholeNumbersAreRefused) {
  write_tensors(folder_.path() / "ids.safetensors", {{"ids", at::arange(4)}});
  ParameterLoader loader(open_checkpoint(folder_.path() / "ids.safetensors"), at::kFloat, at::kCPU);
  expect_error(Category::Unsupported, "a tensor of type I64 holds no floating-point values",
               [&] { loader.take("ids", {4}); });
}

TEST_F(Weights, BlocksThatCannotBeHadAreRefused) {
  expect_error(Category::InvalidArgument, "choose " + block_names("or") + " to quantise",
               [&] { load(WeightFormat::Packed); });
  ParameterLoader loader(open_checkpoint(folder_.path() / "model.safetensors"), at::kFloat, at::kCPU,
                         WeightFormat::Q8_0);
  loader.take_matrix("narrow", {3, 31});
  expect_error(Category::InvalidArgument, "choose dense", [&] { loader.finish(); });
  expect_error(Category::Unsupported, "on the CPU only",
               [] { ParameterLoader(nullptr, at::kFloat, at::Device(at::kCUDA), WeightFormat::Q4_0); });
}

}  // namespace
}  // namespace graft
