// Blocks that were fitted while loading and are used again by the next load (ParameterLoader::keep_blocks()).
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/file.h"
#include "checkpoint/fixture_test.h"
#include "checkpoint/kept_blocks.h"
#include "nn/parameters.h"
#include "nn/tensor_file.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using testing::Folder;
using Rows = std::vector<std::int64_t>;

constexpr std::int64_t kWideRows = 301, kDeepRows = 5, kDenseBytes = 4 * (3 * 31 + 64);

// A matrix of blocks of 32, one of 256, one of neither, a vector.
class KeptWeights : public ::testing::Test {
 protected:
  KeptWeights() {
    const auto generator = at::detail::createCPUGenerator(1);
    write_tensors(file(), {{"wide", at::randn({kWideRows, 64}, generator)},
                           {"deep", at::randn({kDeepRows, 2048}, generator)},
                           {"narrow", at::ones({3, 31})},
                           {"vector", at::ones({64})}});
  }

  fs::path file() const { return folder_.path() / "model.safetensors"; }
  fs::path cache() const { return folder_.path() / "cache"; }

  ParameterTable load(WeightFormat format, bool keeps = true, const Rows& rows = {}) const {
    ParameterLoader loader(open_checkpoint(file()), at::kFloat, at::kCPU, format);
    if (keeps) loader.keep_blocks(cache());
    loader.take_matrix("wide", {kWideRows, 64}, rows);
    loader.take_matrix("deep", {kDeepRows, 2048});
    loader.take_matrix("narrow", {3, 31});
    loader.take("vector", {64});
    return loader.finish();
  }

  KeptBlocks kept(WeightFormat format) const { return {cache(), *open_checkpoint(file()), format}; }

  // Bytes of blocks that lie in a mapped file.
  static std::int64_t mapped(const ParameterTable& table) { return table.residency().bytes() - kDenseBytes; }
  static std::int64_t blocks(const ParameterTable& table) { return table.bytes() - kDenseBytes; }
  static void expect_same(const ParameterTable& a, const ParameterTable& b) {
    ASSERT_EQ(a.all().size(), b.all().size());
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(a.all().size()); ++i) {
      EXPECT_EQ(a.store(i).kind(), b.store(i).kind()) << i;
      EXPECT_TRUE(at::equal(a.value(i), b.value(i))) << i;
    }
  }

  Folder folder_;
};

TEST_F(KeptWeights, AreTheSameBitsWhenTheyComeFromTheirFile) {
  for (const WeightFormat format :
       {WeightFormat::Q4_1, WeightFormat::Q5_0, WeightFormat::Q5_1, WeightFormat::Q4_K, WeightFormat::Q5_K}) {
    SCOPED_TRACE(name(format));
    const ParameterTable made = load(format), found = load(format);
    EXPECT_EQ(mapped(made), 0);
    EXPECT_EQ(mapped(found), blocks(found));
    EXPECT_EQ(found.bytes(), made.bytes());
    EXPECT_EQ(found.fallen_back(), made.fallen_back());
    expect_same(found, made);
    expect_same(found, load(format, /*keeps=*/false));
    found.residency().release();
    expect_same(found, made);
  }
}

// Q8_0, which the wide matrix falls back to beside Q6_K, is rounded as fast as it is read.
TEST_F(KeptWeights, AreThoseThatTakeTimeToMake) {
  for (const WeightFormat format : {WeightFormat::Q8_0, WeightFormat::Q4_0}) {
    EXPECT_EQ(mapped(load(format)), 0);
    EXPECT_EQ(mapped(load(format)), 0);
  }
  EXPECT_FALSE(fs::exists(cache()));
  load(WeightFormat::Q6_K);
  const ParameterTable found = load(WeightFormat::Q6_K);
  EXPECT_EQ(found.store(0).kind(), "Q8_0");
  EXPECT_EQ(mapped(found), found.store(1).bytes());
  expect_same(found, load(WeightFormat::Q6_K, /*keeps=*/false));
}

TEST_F(KeptWeights, WithRowsInOtherPlacesAreOthers) {
  Rows reversed;
  for (std::int64_t row = kWideRows; row-- > 0;) reversed.push_back(row);
  const ParameterTable made = load(WeightFormat::Q4_1, true, reversed),
                       found = load(WeightFormat::Q4_1, true, reversed);
  EXPECT_EQ(mapped(found), blocks(found));
  expect_same(found, made);
  const ParameterTable straight = load(WeightFormat::Q4_1);
  EXPECT_EQ(mapped(straight), straight.store(1).bytes());
  EXPECT_TRUE(at::equal(straight.value(0), found.value(0).flip({0})));
}

TEST_F(KeptWeights, ThatAreNotWhatWouldBeMadeAreMadeAgain) {
  const ParameterTable made = load(WeightFormat::Q4_1);
  const fs::path place = kept(WeightFormat::Q4_1).place();
  const std::string whole = read_file(place);
  const auto first =
      static_cast<std::size_t>(kept(WeightFormat::Q4_1).find({"wide", DType::Q4_1, {kWideRows, 64}})->offset);
  const std::size_t row = 40, last = static_cast<std::size_t>(kWideRows) - 1;
  for (const std::size_t at : {first, first + last / 2 * row, first + last * row + row - 1}) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    write_file(place, damaged);
    const ParameterTable again = load(WeightFormat::Q4_1);
    EXPECT_EQ(mapped(again), again.store(1).bytes()) << "the other matrix is as it was";
    expect_same(again, made);
    EXPECT_EQ(read_file(place), whole) << "and kept again";
  }
}

TEST_F(KeptWeights, OfWhichSomeAreThereAreMadeForTheRest) {
  const ParameterTable whole = load(WeightFormat::Q4_1, /*keeps=*/false);
  const KeptBlocks before = kept(WeightFormat::Q4_1);
  load(WeightFormat::Q4_1);
  const KeptBlocks all = kept(WeightFormat::Q4_1);
  const TensorPlan deep{"deep", DType::Q4_1, {kDeepRows, 2048}};
  before.keep({{deep, all.file()->bytes(*all.find(deep))}});
  ParameterTable found = load(WeightFormat::Q4_1);
  EXPECT_EQ(mapped(found), found.store(1).bytes());
  expect_same(found, whole);
  found = load(WeightFormat::Q4_1);
  EXPECT_EQ(mapped(found), blocks(found));
  expect_same(found, whole);
}

TEST_F(KeptWeights, OfAnotherModelUnderTheSameNameAreMadeAnew) {
  load(WeightFormat::Q4_1);
  write_tensors(file(), {{"wide", at::full({kWideRows, 64}, 0.5)},
                         {"deep", at::full({kDeepRows, 2048}, 0.25)},
                         {"narrow", at::ones({3, 31})},
                         {"vector", at::ones({64})}});
  const ParameterTable other = load(WeightFormat::Q4_1);
  EXPECT_EQ(mapped(other), 0);
  expect_same(other, load(WeightFormat::Q4_1, /*keeps=*/false));
}

TEST_F(KeptWeights, AreMadeByAnyNumberOfLoadersAtOnce) {
  const ParameterTable alone = load(WeightFormat::Q4_1, /*keeps=*/false);
  std::vector<ParameterTable> tables(2);
  std::thread other([&] { tables[1] = load(WeightFormat::Q4_1); });
  tables[0] = load(WeightFormat::Q4_1);
  other.join();
  for (const ParameterTable& table : tables) expect_same(table, alone);
  const ParameterTable found = load(WeightFormat::Q4_1);
  EXPECT_EQ(mapped(found), blocks(found));
  expect_same(found, alone);
}

TEST_F(KeptWeights, AreDoneWithoutWhereNothingCanBeKept) {
  write_file(cache(), "no folder");
  for (int i = 0; i < 2; ++i) {
    const ParameterTable table = load(WeightFormat::Q4_1);
    EXPECT_EQ(mapped(table), 0);
    expect_same(table, load(WeightFormat::Q4_1, /*keeps=*/false));
  }
}

}  // namespace
}  // namespace graft
