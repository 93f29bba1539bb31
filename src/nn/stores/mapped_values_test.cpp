// Weights of a mapped file are copied when they have been read often enough, and what is computed with them stays the
// same.
#include "nn/stores/mapped_values.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/cpu.h"
#include "nn/stores/store.h"

namespace graft {
namespace {

at::Tensor numbers_in_a_file(at::IntArrayRef shape, at::ScalarType dtype) {
  return at::randn(shape, at::detail::createCPUGenerator(5)).to(dtype);
}

// Values that stand for a file's, and what is asked and given back of them.
struct FileValues {
  explicit FileValues(const at::Tensor& of) : mapped(of) {
    const auto has_room = [this] {
      ++asked;
      return room;
    };
    const auto give_back = [this](std::size_t first, std::size_t count) {
      EXPECT_EQ(first, given_back) << "from front to back";
      given_back += count;
    };
    values = std::make_shared<MappedValues>(mapped, has_room, give_back);
  }

  // The readings of so many that had the values copied.
  std::vector<int> copying(int readings) const {
    std::vector<int> found;
    for (int reading = 1; reading <= readings; ++reading) {
      if (values->read_once_more()) found.push_back(reading);
    }
    return found;
  }

  bool lies_in_file() const { return values->now().const_data_ptr() == mapped.const_data_ptr(); }

  at::Tensor mapped;
  bool room = true;
  int asked = 0;
  std::size_t given_back = 0;
  std::shared_ptr<MappedValues> values;
};

TEST(MappedValues, AreCopiedOnceWithTheirLastBit) {
  // Copied in one part, and in two.
  for (const auto& shape : std::vector<std::vector<std::int64_t>>{{3, 70}, {5000, 1000}}) {
    FileValues file(numbers_in_a_file(shape, at::kBFloat16));
    EXPECT_TRUE(file.copying(kReadsBeforeCopy - 1).empty());
    EXPECT_EQ(file.asked, 0);
    EXPECT_TRUE(file.lies_in_file());
    EXPECT_EQ(file.copying(20), std::vector<int>{1});
    EXPECT_EQ(file.asked, 1);
    EXPECT_FALSE(file.lies_in_file());
    EXPECT_EQ(file.values->now().scalar_type(), at::kBFloat16);
    EXPECT_TRUE(at::equal(file.values->now(), file.mapped));
    EXPECT_EQ(file.given_back, file.mapped.nbytes());
  }
}

TEST(MappedValues, StayInTheirFileWhereThereIsNoRoom) {
  FileValues file(numbers_in_a_file({3, 70}, at::kFloat));
  file.room = false;
  EXPECT_TRUE(file.copying(5 * kReadsBeforeCopy).empty());
  EXPECT_EQ(file.asked, 1) << "the system is not asked for every token";
  EXPECT_TRUE(file.lies_in_file());
  EXPECT_EQ(file.given_back, 0u);
}

TEST(MappedValues, WhatGoesBackIsCopiedAnew) {
  FileValues file(numbers_in_a_file({3, 70}, at::kFloat));
  file.copying(kReadsBeforeCopy);
  const at::Tensor held = file.values->now();
  file.values->drop_copy();
  EXPECT_TRUE(file.lies_in_file());
  EXPECT_TRUE(at::equal(held, file.mapped)) << "who has it keeps it";
  file.given_back = 0;
  EXPECT_EQ(file.copying(kReadsBeforeCopy), std::vector<int>{kReadsBeforeCopy});
}

// Texts are written in inference mode, whose tensors no backward pass may keep.
TEST(MappedValues, ACopyCanBeTrainedOver) {
  FileValues file(numbers_in_a_file({3, 70}, at::kFloat));
  {
    const c10::InferenceMode inference;
    file.copying(kReadsBeforeCopy);
  }
  const at::Tensor x = at::ones({2, 70}).requires_grad_(true);
  at::linear(x, file.values->now()).sum().backward();
  EXPECT_TRUE(at::allclose(x.grad()[1], file.mapped.sum(0)));
}

TEST(MappedStore, ProductsOfTextsHaveTheSameBitsFromTheCopy) {
  FileValues file(numbers_in_a_file({130, 70}, at::kBFloat16));
  const auto store = mapped_store(file.values), dense = dense_store(file.mapped);
  const at::Tensor x = numbers_in_a_file({8, 70}, at::kBFloat16), many = numbers_in_a_file({40, 70}, at::kBFloat16);
  const auto product = [&](const WeightStore& of, const at::Tensor& rows, Activations activations) {
    return of.linear(rows, Layout::OutIn, std::nullopt, activations);
  };
  for (int i = 0; i < 2 * kReadsBeforeCopy; ++i) {
    product(*store, x, Activations::Exact);
    product(*store, many, Activations::EightBit);
  }
  EXPECT_TRUE(file.lies_in_file()) << "no text is written so, one after another";
  for (int i = 0; i < 2 * kReadsBeforeCopy; ++i)
    EXPECT_TRUE(at::equal(product(*store, x, Activations::EightBit), product(*dense, x, Activations::EightBit))) << i;
  EXPECT_EQ(file.lies_in_file(), !cpu_features().avx512_bf16);
  EXPECT_TRUE(at::equal(product(*store, many, Activations::EightBit), product(*dense, many, Activations::EightBit)));
  EXPECT_TRUE(at::equal(store->part(3, 5), file.mapped.narrow(0, 3, 5)));
  EXPECT_TRUE(at::equal(store->rows(at::tensor({7, 0}, at::kLong)), dense->rows(at::tensor({7, 0}, at::kLong))));
  EXPECT_EQ(store->bytes(), dense->bytes());
  EXPECT_EQ(store->kind(), "BF16");
}

}  // namespace
}  // namespace graft
