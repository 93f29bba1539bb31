// A change of a few numbers gives what the whole changed parameter gives.
#include "nn/sparse_change.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace graft {
namespace {

constexpr std::int64_t kIn = 6, kOut = 5, kRows = 7;

at::Tensor normal_numbers(at::IntArrayRef shape, std::uint64_t seed) {
  return at::randn(shape, at::detail::createCPUGenerator(seed));
}

// First and last numbers, some of one row and rows without any.
SparseChange some_places() {
  return {at::tensor(std::vector<std::int64_t>{0, 1, 7, 17, 29}), normal_numbers({5}, 3)};
}

SparseChange some_of_a_vector() {
  return {at::tensor(std::vector<std::int64_t>{1, 4}), normal_numbers({2}, 4)};
}

at::Tensor whole(const SparseChange& change, const at::Tensor& base) {
  return base.reshape({-1}).index_put({change.places}, change.values.to(base.scalar_type())).view(base.sizes());
}

struct MapOfTest {
  Layout layout;
  at::Tensor weight, bias;

  at::Tensor output(const at::Tensor& x, const at::Tensor& of_weight, const at::Tensor& of_bias) const {
    return at::linear(x, layout == Layout::OutIn ? of_weight : of_weight.t(), of_bias);
  }
  at::Tensor changed(const at::Tensor& x, const SparseChange& by, const SparseChange& of_bias) const {
    return with_difference(output(x, weight, bias), x, {difference(by, weight), difference(of_bias, bias), layout});
  }
};

std::vector<MapOfTest> both_layouts() {
  return {{Layout::OutIn, normal_numbers({kOut, kIn}, 1), normal_numbers({kOut}, 2)},
          {Layout::InOut, normal_numbers({kIn, kOut}, 1), normal_numbers({kOut}, 2)}};
}

TEST(SparseChangeOfAMap, GivesTheOutputOfTheWholeMap) {
  const at::NoGradGuard no_grad;
  const at::Tensor x = normal_numbers({kRows, kIn}, 5);
  const SparseChange by = some_places(), of_bias = some_of_a_vector();
  for (const MapOfTest& map : both_layouts()) {
    const at::Tensor got = map.changed(x, by, of_bias);
    EXPECT_TRUE(at::allclose(got, map.output(x, whole(by, map.weight), whole(of_bias, map.bias)), 1e-5, 1e-5));
    EXPECT_FALSE(at::allclose(got, map.output(x, map.weight, map.bias), 1e-2, 1e-2));
  }
}

TEST(SparseChangeOfAMap, LeavesTheBasesOutputAsItWas) {
  const at::NoGradGuard no_grad;
  const MapOfTest map = both_layouts().front();
  const at::Tensor x = normal_numbers({kRows, kIn}, 5), y = map.output(x, map.weight, map.bias), before = y.clone();
  with_difference(y, x, {difference(some_places(), map.weight), {}, map.layout});
  EXPECT_TRUE(at::equal(y, before));
  EXPECT_TRUE(with_difference(y, x, {{}, {}, map.layout}).is_same(y));
}

TEST(SparseChangeOfAMap, ARowsBitsAreItsOwn) {
  const at::NoGradGuard no_grad;
  const at::Tensor x = normal_numbers({kRows, kIn}, 5), y = normal_numbers({kRows, kOut}, 6);
  for (const MapOfTest& map : both_layouts()) {
    const MapDifference by{difference(some_places(), map.weight), {}, map.layout};
    const at::Tensor all = with_difference(y, x, by);
    for (std::int64_t row = 0; row < kRows; ++row)
      EXPECT_TRUE(at::equal(all.narrow(0, row, 1), with_difference(y.narrow(0, row, 1), x.narrow(0, row, 1), by)));
  }
}

// As the whole parameter's are when a model computes in bfloat16.
TEST(SparseChangeOfAMap, ValuesAreRoundedToTheBasesDtype) {
  const SparseChange by = some_places();
  const at::Tensor base = normal_numbers({kOut, kIn}, 1).to(at::kBFloat16);
  const at::Tensor added = difference(by, base).added;
  EXPECT_EQ(added.scalar_type(), at::kFloat);
  const at::Tensor want = whole(by, base).to(at::kFloat) - base.to(at::kFloat);
  EXPECT_TRUE(at::equal(added, want.reshape({-1}).index_select(0, by.places)));
}

TEST(SparseChangeOfAMap, GradientsAreThoseOfTheWholeMap) {
  const at::Tensor above = normal_numbers({kRows, kOut}, 8);
  for (const MapOfTest& map : both_layouts()) {
    std::vector<at::Tensor> found;
    for (const bool sparse : {true, false}) {
      SparseChange by = some_places(), of_bias = some_of_a_vector();
      const at::Tensor x = normal_numbers({kRows, kIn}, 5).requires_grad_(true);
      by.values.requires_grad_(true);
      of_bias.values.requires_grad_(true);
      const at::Tensor y =
          sparse ? map.changed(x, by, of_bias) : map.output(x, whole(by, map.weight), whole(of_bias, map.bias));
      y.backward(above);
      for (const at::Tensor& of : {x, by.values, of_bias.values}) found.push_back(of.grad());
    }
    for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(at::allclose(found[i], found[i + 3], 1e-5, 1e-5)) << i;
  }
}

TEST(SparseChangeOfATable, GivesTheRowsOfTheWholeTable) {
  SparseChange by = some_places();
  by.values.requires_grad_(true);
  const at::Tensor table = normal_numbers({kOut, kIn}, 1);
  // Twice the same row, and one (3) that has no other number.
  const at::Tensor ids = at::tensor(std::vector<std::int64_t>{4, 0, 3, 0, 2}), rows = at::embedding(table, ids);
  const at::Tensor got = changed_rows(rows, ids, by), want = at::embedding(whole(by, table), ids);
  EXPECT_TRUE(at::equal(got, want));
  EXPECT_TRUE(at::equal(got[2], rows[2]));
  EXPECT_FALSE(at::equal(got[1], rows[1]));
  const at::Tensor above = normal_numbers({5, kIn}, 9);
  got.backward(above);
  const at::Tensor gradient = by.values.grad().clone();
  by.values.mutable_grad() = at::Tensor();
  want.backward(above);
  EXPECT_TRUE(at::allclose(gradient, by.values.grad(), 1e-6, 1e-6));
}

TEST(SparseChangeOfATable, WithoutAnyOfItsRowsIsTheBases) {
  const at::Tensor table = normal_numbers({kOut, kIn}, 1), ids = at::tensor(std::vector<std::int64_t>{3, 3});
  const at::Tensor rows = at::embedding(table, ids);
  EXPECT_TRUE(at::equal(changed_rows(rows, ids, some_places()), rows));
}

TEST(SparseChangeOfATable, HasAGradientOfZerosWhereNoRowIsChanged) {
  const at::Tensor values = at::ones({2}).requires_grad_(true), rows = at::zeros({1, 4});
  const SparseChange change{at::tensor({5, 6}, at::kLong), values};
  changed_rows(rows, at::tensor({0}, at::kLong), change).sum().backward();
  ASSERT_TRUE(values.grad().defined());
  EXPECT_EQ(values.grad().abs().max().item<float>(), 0);
}

}  // namespace
}  // namespace graft
