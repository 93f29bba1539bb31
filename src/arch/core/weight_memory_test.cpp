// What loading takes is known before a value is read, to the byte: one less is refused.
#include "arch/core/weight_memory.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "arch/core/fingerprint_test_support.h"
#include "base/environment_variable_test.h"
#include "checkpoint/fixture_test.h"
#include "nn/tensor_file.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using testing::Folder;

class WeightMemoryTest : public ::testing::Test {
 protected:
  WeightMemoryTest() : file_(testing::one_layer(folder_)->parameters().files().front()) {}

  std::string model() const { return file_.parent_path().string(); }

  std::unique_ptr<Model> load(at::ScalarType dtype, WeightFormat weights, std::int64_t memory = 0) const {
    return load_model(model(), {dtype, at::kCPU, weights, memory});
  }

  void expect_told_to_the_byte(at::ScalarType dtype, WeightFormat weights) const {
    SCOPED_TRACE(toString(dtype) + (" " + name(weights)));
    const std::int64_t own = weight_memory(load(dtype, weights)->parameters()).own;
    ASSERT_GT(own, 1);
    EXPECT_NO_THROW(load(dtype, weights, own));
    expect_error(Category::ResourceExhausted, "would take", [&] { load(dtype, weights, own - 1); });
  }

  Folder folder_;
  fs::path file_;  // of float32
};

TEST_F(WeightMemoryTest, IsToldByTheHeadersToTheByte) {
  for (const WeightFormat weights : {WeightFormat::Dense, WeightFormat::Q8_0, WeightFormat::Q4_1, WeightFormat::Q4_K})
    expect_told_to_the_byte(at::kBFloat16, weights);
  expect_told_to_the_byte(at::kFloat, WeightFormat::Q8_0);
  const auto mapped = load(at::kFloat, WeightFormat::Dense);
  EXPECT_EQ(weight_memory(mapped->parameters()).own, 0);
  EXPECT_EQ(weight_memory(mapped->parameters()).mapped, mapped->parameters().bytes());
  EXPECT_NO_THROW(load(at::kFloat, WeightFormat::Dense, 1)) << "its pages can go";
}

// Blocks that an earlier start has kept are mapped by the next one.
TEST_F(WeightMemoryTest, KeptBlocksTakeNone) {
  const EnvironmentVariable cache("GRAFT_WEIGHT_CACHE");
  cache.set((folder_.path() / "cache").c_str());
  NamedTensors tensors = read_tensors(file_);
  tensors.emplace_back("model.rotary_emb.inv_freq", at::zeros({std::int64_t{1} << 24}, at::kByte));  // is passed over
  write_tensors(file_, tensors);
  const std::int64_t made = weight_memory(load(at::kBFloat16, WeightFormat::Q4_1)->parameters()).own;
  EXPECT_LT(weight_memory(load(at::kBFloat16, WeightFormat::Q4_1)->parameters()).own, made / 10);
  expect_told_to_the_byte(at::kBFloat16, WeightFormat::Q4_1);
}

TEST_F(WeightMemoryTest, WhatHasNoRoomIsToldWithWhatFits) {
  const auto refused = [this] { load(at::kBFloat16, WeightFormat::Dense, 1000); };
  const std::string fits = "1.00 kB can be had; what fits: dtype float32 (0 B, and ";
  for (const std::string& part : {model(), std::string("its weights (bfloat16, dense) would take "), fits,
                                  std::string(" mapped), or --memory 1GiB")})
    expect_error(Category::ResourceExhausted, part, refused);
}

// Of a verb that has no options for them, dtypes and formats are no way out.
TEST_F(WeightMemoryTest, WhatIsSettledIsNotNamed) {
  expect_error(Category::ResourceExhausted, "1.00 kB can be had; what fits: --memory 1GiB", [this] {
    load_model(model(), {at::kBFloat16, at::kCPU, WeightFormat::Dense, 1000, /*settled=*/true});
  });
}

TEST_F(WeightMemoryTest, TheEnvironmentMaySayWhatThereIs) {
  const EnvironmentVariable given("GRAFT_MEMORY");
  given.set("1kB");
  expect_error(Category::ResourceExhausted, "or GRAFT_MEMORY=", [this] { load(at::kBFloat16, WeightFormat::Dense); });
  EXPECT_NO_THROW(load(at::kFloat, WeightFormat::Dense));
  given.set("1TiB");
  EXPECT_NO_THROW(load(at::kBFloat16, WeightFormat::Dense));
}

}  // namespace
}  // namespace graft
