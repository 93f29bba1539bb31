#include "nn/exact_linear.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <limits>
#include <optional>
#include <vector>

#include "nn/kernels/any_row.h"

namespace graft {
namespace {

constexpr std::int64_t kExactRows = 600, kExactIn = 576, kExactOut = 192;

at::Tensor random_matrix(at::IntArrayRef shape, std::uint64_t seed) {
  return at::randn(shape, at::detail::createCPUGenerator(seed));
}

at::Tensor invariant(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  return exact_linear(x, weight, bias, Activations::BatchInvariant);
}

TEST(ExactLinear, TheBitsOfARowDoNotDependOnTheRowsBesideIt) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor x = random_matrix({kExactRows, kExactIn}, 1).to(dtype),
                     bias = random_matrix({kExactOut}, 3).to(dtype),
                     weight = random_matrix({kExactOut, kExactIn}, 2).to(dtype);
    for (const at::Tensor& laid_out : {weight, weight.t().contiguous().t()}) {
      for (const auto& added : {std::optional<at::Tensor>(), std::optional<at::Tensor>(bias)}) {
        const at::Tensor all = invariant(x, laid_out, added), want = at::linear(x, laid_out, added);
        const double close = dtype == at::kFloat ? 1e-3 : 1;
        EXPECT_LE((all - want).abs().max().item<double>(), close);
        for (const std::int64_t rows : {1, 2, 511, 512, 513}) {
          const at::Tensor last = invariant(x.narrow(0, kExactRows - rows, rows), laid_out, added);
          EXPECT_TRUE(at::equal(last, all.narrow(0, kExactRows - rows, rows))) << rows << " rows, " << dtype;
        }
      }
    }
  }
}

TEST(ExactLinear, WhatIsTrainedHasItsGradient) {
  const at::Tensor x = random_matrix({3, 8}, 1).requires_grad_(true),
                   weight = random_matrix({4, 8}, 2).requires_grad_(true),
                   bias = random_matrix({4}, 3).requires_grad_(true);
  invariant(x, weight.detach(), std::nullopt).sum().backward();
  EXPECT_TRUE(x.grad().defined());
  invariant(x.detach(), weight, std::nullopt).sum().backward();
  EXPECT_TRUE(weight.grad().defined());
  invariant(x.detach(), weight.detach(), bias).sum().backward();
  EXPECT_TRUE(bias.grad().eq(3).all().item<bool>());
}

// kernels.plain runs it on processors that multiply bfloat16 as on those that do not.
TEST(ExactLinear, InBfloat16ItIsTheProductInFp32Rounded) {
  for (const auto activations : {Activations::Exact, Activations::BatchInvariant}) {
    at::Tensor x = random_matrix({5, 40}, 1), weight = random_matrix({7, 40}, 2), bias = random_matrix({7}, 3);
    std::vector<at::Tensor> wide, narrow;
    for (at::Tensor* each : {&x, &weight, &bias}) {
      const at::Tensor rounded = each->to(at::kBFloat16);
      narrow.push_back(rounded.clone().requires_grad_(true));
      wide.push_back(rounded.to(at::kFloat).requires_grad_(true));
    }
    const at::Tensor above = random_matrix({5, 7}, 4).to(at::kBFloat16);
    const at::Tensor got = exact_linear(narrow[0], narrow[1], narrow[2], activations),
                     want = at::linear(wide[0], wide[1], wide[2]);
    EXPECT_EQ(got.scalar_type(), at::kBFloat16);
    EXPECT_TRUE(at::allclose(got.to(at::kFloat), want, 1e-2, 5e-2));
    got.backward(above);
    want.backward(above.to(at::kFloat));
    for (std::size_t i = 0; i < wide.size(); ++i) {
      EXPECT_EQ(narrow[i].grad().scalar_type(), at::kBFloat16);
      EXPECT_TRUE(at::allclose(narrow[i].grad().to(at::kFloat), wide[i].grad(), 1e-2, 5e-2)) << i;
    }
    for (const at::Tensor& each : {narrow[0], wide[0]}) each.mutable_grad().reset();
    exact_linear(narrow[0], narrow[1].detach(), std::nullopt, activations).backward(above);
    at::linear(wide[0], wide[1].detach()).backward(above.to(at::kFloat));
    EXPECT_TRUE(at::allclose(narrow[0].grad().to(at::kFloat), wide[0].grad(), 1e-2, 5e-2));
    const at::Tensor alone = exact_linear(narrow[0].detach(), narrow[1].detach(), std::nullopt, activations),
                     plain = at::linear(wide[0].detach(), wide[1].detach());
    EXPECT_TRUE(at::allclose(alone.to(at::kFloat), plain, 1e-2, 5e-2));
  }
}

TEST(ByTiles, EachTileIsWholeAndEndsInZeros) {
  const at::Tensor x = random_matrix({700, 5}, 1), y = random_matrix({700, 2}, 2);
  std::vector<std::int64_t> seen;
  const at::Tensor got = by_tiles({x, y}, [&](const std::vector<at::Tensor>& tile) {
    seen.push_back(tile[0].size(0));
    EXPECT_EQ(tile[1].size(0), tile[0].size(0));
    if (seen.size() == 2) {
      EXPECT_EQ(tile[0].narrow(0, 188, 324).abs().max().item<float>(), 0);
    }
    return tile[0].narrow(1, 0, 2) + tile[1];
  });
  EXPECT_EQ(seen, (std::vector<std::int64_t>{512, 512}));
  EXPECT_TRUE(at::equal(got, x.narrow(1, 0, 2) + y));
}

// So many rows that each thread may take its own.
TEST(ExactLinear, ManyRowsHaveTheProductAndGradientsOfFew) {
  const at::Tensor above = random_matrix({1501, 48}, 4).to(at::kBFloat16);
  std::vector<at::Tensor> wide, narrow;
  for (const auto& each : {random_matrix({1501, 64}, 1), random_matrix({48, 64}, 2), random_matrix({48}, 3)}) {
    narrow.push_back(each.to(at::kBFloat16).requires_grad_(true));
    wide.push_back(each.to(at::kBFloat16).to(at::kFloat).requires_grad_(true));
  }
  const at::Tensor got = exact_linear(narrow[0], narrow[1], narrow[2], Activations::Exact),
                   want = at::linear(wide[0], wide[1], wide[2]);
  EXPECT_TRUE(at::allclose(got.to(at::kFloat), want, 1e-2, 5e-2));
  got.backward(above);
  want.backward(above.to(at::kFloat));
  for (std::size_t i = 0; i < wide.size(); ++i) {
    const at::Tensor mine = narrow[i].grad().to(at::kFloat), others = wide[i].grad();
    EXPECT_LE((mine - others).abs().max().item<double>(), 1e-2 * others.abs().max().item<double>()) << i;
  }
  const c10::InferenceMode as_in_generation;
  const at::Tensor bare = exact_linear(narrow[0].detach(), narrow[1].detach(), std::nullopt, Activations::Exact);
  EXPECT_TRUE(at::allclose(bare.to(at::kFloat), at::linear(wide[0].detach(), wide[1].detach()), 1e-2, 5e-2));
}

// x with room behind its rows, and what is no number there.
at::Tensor with_room(const at::Tensor& x) {
  const at::Tensor roomy = rows::empty(x.sizes(), x.scalar_type());
  roomy.as_strided({rows::whole_rows(x.size(0)), x.size(1)}, roomy.strides())
      .fill_(std::numeric_limits<double>::quiet_NaN());
  return roomy.copy_(x);
}

TEST(ExactLinear, WhatLiesBehindManyRowsIsNobodys) {
  const at::Tensor weight = random_matrix({48, 64}, 2).to(at::kBFloat16);
  for (const std::int64_t count : {300, 1501}) {  // by all threads together, and by each some
    const at::Tensor x = random_matrix({count, 64}, 1).to(at::kBFloat16),
                     above = random_matrix({count, 48}, 3).to(at::kBFloat16), roomy = with_room(x);
    ASSERT_TRUE(rows::has_room(roomy) && !rows::has_room(x));
    for (const auto& bias :
         {std::optional<at::Tensor>(), std::optional<at::Tensor>(random_matrix({48}, 4).to(at::kBFloat16))}) {
      const at::Tensor mine = roomy.detach().requires_grad_(true), others = x.detach().requires_grad_(true);
      const at::Tensor got = exact_linear(mine, weight, bias, Activations::Exact),
                       want = exact_linear(others, weight, bias, Activations::Exact);
      EXPECT_TRUE(at::allclose(got.to(at::kFloat), want.to(at::kFloat), 1e-2, 1e-2)) << count;
      got.backward(with_room(above));
      want.backward(above);
      EXPECT_TRUE(at::allclose(mine.grad().to(at::kFloat), others.grad().to(at::kFloat), 1e-2, 1e-2)) << count;
    }
  }
}

// Maps of one x: of whole tiles, all of them, or not; with the matrix as it lies and turned.
class MapsOfOneX {
 public:
  MapsOfOneX(const std::vector<std::int64_t>& outs, std::int64_t rows, at::ScalarType dtype, bool trains_x,
             bool trains_maps)
      : x_(random_matrix({rows, kWidth}, 1).to(dtype).requires_grad_(trains_x)) {
    for (std::size_t m = 0; m < outs.size(); ++m) {
      const std::uint64_t seed = 10 * m + 2;
      const at::Tensor weight = m == 1 ? random_matrix({kWidth, outs[m]}, seed).to(dtype).t()
                                       : random_matrix({outs[m], kWidth}, seed).to(dtype),
                       bias = random_matrix({outs[m]}, seed + 1).to(dtype);
      weight.requires_grad_(trains_maps);
      bias.requires_grad_(trains_maps);
      maps_.push_back({weight, m == 1 ? std::optional<at::Tensor>() : std::optional<at::Tensor>(bias)});
      above_.push_back(random_matrix({rows, outs[m]}, seed + 2).to(dtype));
    }
  }

  std::vector<at::Tensor> together() const { return exact_linears(x_, maps_, Activations::Exact); }

  std::vector<at::Tensor> apart() const {
    std::vector<at::Tensor> results;
    for (const auto& map : maps_) results.push_back(exact_linear(x_, map.weight, map.bias, Activations::Exact));
    return results;
  }

  /// Of x, then of each map's weight and bias; undefined where there is none. Outputs behind the first `read` are not
  /// read.
  std::vector<at::Tensor> gradients(const std::vector<at::Tensor>& outputs, std::size_t read) const {
    at::Tensor total = at::zeros({1});
    for (std::size_t m = 0; m < read; ++m) total = total + (outputs[m].to(at::kFloat) * above_[m].to(at::kFloat)).sum();
    total.backward();
    std::vector<at::Tensor> all = {taken(x_)};
    for (const auto& map : maps_) {
      all.push_back(taken(map.weight));
      all.push_back(map.bias ? taken(*map.bias) : at::Tensor());
    }
    return all;
  }

  /// How far a gradient of x is from that of the same values in fp64, by norms.
  double error(const at::Tensor& gradient) const {
    at::Tensor want = at::zeros({x_.size(0), kWidth}, at::kDouble);
    for (std::size_t m = 0; m < maps_.size(); ++m)
      want += above_[m].to(at::kDouble).matmul(maps_[m].weight.detach().to(at::kDouble));
    return ((gradient.to(at::kDouble) - want).norm() / want.norm()).item<double>();
  }

  std::size_t size() const { return maps_.size(); }

 private:
  static constexpr std::int64_t kWidth = 96;

  static at::Tensor taken(const at::Tensor& leaf) {
    const at::Tensor gradient = leaf.grad();
    leaf.mutable_grad() = at::Tensor();
    return gradient;
  }

  at::Tensor x_;
  std::vector<DenseMap> maps_;
  std::vector<at::Tensor> above_;
};

void expect_same_gradients(const std::vector<at::Tensor>& got, const std::vector<at::Tensor>& want, std::size_t first) {
  for (std::size_t i = first; i < want.size(); ++i) {
    ASSERT_EQ(got[i].defined(), want[i].defined()) << i;
    EXPECT_TRUE(!want[i].defined() || at::equal(got[i], want[i])) << i;
  }
}

const std::vector<std::vector<std::int64_t>> kOutsOfMaps = {{64, 32, 32}, {64, 40}, {192, 192}};

TEST(ExactLinear, SeveralMapsOfOneXHaveTheBitsOfEachAlone) {
  for (const auto& outs : kOutsOfMaps) {
    for (const std::int64_t rows : {1, 5, 300}) {
      for (const auto dtype : {at::kFloat, at::kBFloat16}) {
        SCOPED_TRACE(rows);
        for (const bool trains : {false, true}) {
          const MapsOfOneX maps(outs, rows, dtype, trains, false);
          const auto got = maps.together(), want = maps.apart();
          ASSERT_EQ(got.size(), want.size());
          for (std::size_t m = 0; m < got.size(); ++m) {
            EXPECT_EQ(got[m].requires_grad(), trains) << m;
            EXPECT_TRUE(at::equal(got[m], want[m])) << m << " " << dtype;
          }
        }
      }
    }
  }
}

TEST(ExactLinear, TheGradientOfTheirXIsRoundedNoMoreThanAddedUpApart) {
  for (const auto& outs : kOutsOfMaps) {
    for (const bool trains_maps : {false, true}) {
      for (const auto dtype : {at::kFloat, at::kBFloat16}) {
        const MapsOfOneX maps(outs, 300, dtype, /*trains_x=*/true, trains_maps);
        const auto got = maps.gradients(maps.together(), maps.size()), want = maps.gradients(maps.apart(), maps.size());
        EXPECT_EQ(got[0].scalar_type(), dtype);
        EXPECT_LE(maps.error(got[0]), dtype == at::kFloat ? 5e-6 : 4e-3);
        EXPECT_LE(maps.error(got[0]), 1.001 * maps.error(want[0]));
        EXPECT_TRUE(dtype != at::kFloat || at::equal(got[0], want[0]));
        EXPECT_EQ(got[1].defined(), trains_maps);
        expect_same_gradients(got, want, 1);
      }
    }
  }
}

TEST(ExactLinear, OfAMapThatNobodyReadsNoGradientComes) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const MapsOfOneX maps({64, 32, 32}, 40, dtype, /*trains_x=*/true, /*trains_maps=*/true);
    const auto got = maps.gradients(maps.together(), 1), want = maps.gradients(maps.apart(), 1);
    EXPECT_FALSE(got[3].defined());
    expect_same_gradients(got, want, 0);
  }
}

TEST(ExactLinear, WhereXIsNotTrainedEachMapGoesBackwardByItself) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const MapsOfOneX maps({64, 32, 32}, 40, dtype, /*trains_x=*/false, /*trains_maps=*/true);
    const auto got = maps.gradients(maps.together(), 3), want = maps.gradients(maps.apart(), 3);
    EXPECT_FALSE(got[0].defined());
    expect_same_gradients(got, want, 1);
    const at::Tensor x = random_matrix({40, 96}, 1).to(dtype), frozen = random_matrix({32, 96}, 2).to(dtype),
                     trained = random_matrix({32, 96}, 3).to(dtype).requires_grad_(true);
    const auto outputs = exact_linears(x, {{frozen, std::nullopt}, {trained, std::nullopt}}, Activations::Exact);
    EXPECT_FALSE(outputs[0].requires_grad());
    EXPECT_TRUE(outputs[1].requires_grad());
  }
}

}  // namespace
}  // namespace graft
