#include "nn/activation.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

namespace graft {
namespace {

at::Tensor random_inputs(at::IntArrayRef shape) {
  return at::randn(shape, at::detail::createCPUGenerator(3)) * 3;
}

at::Tensor reference(const std::string& name, const at::Tensor& x) {
  return name == "silu" ? at::silu(x) : at::gelu(x, "tanh");
}

TEST(Activation, RunsEqualTheOperationsOfLibTorch) {
  for (const char* name : {"silu", "gelu_new"}) {
    for (const std::int64_t width : {1, 7, 16, 40, 1000, 9000}) {
      const at::Tensor mine = random_inputs({3, width}).requires_grad_(true), theirs = mine.detach().clone();
      theirs.requires_grad_(true);
      const at::Tensor weights = random_inputs({3, width}).flip(0), got = activation(name)(mine),
                       want = reference(name, theirs);
      EXPECT_TRUE(at::allclose(got, want, 1e-5, 1e-6)) << name << " " << width;
      got.backward(weights);
      want.backward(weights);
      EXPECT_TRUE(at::allclose(mine.grad(), theirs.grad(), 1e-5, 1e-6)) << name << " " << width;
    }
  }
}

// Forty values are no whole registers: LibTorch's own operations take the end of a tensor by other means.
TEST(Activation, ARowsBitsDoNotDependOnTheOthers) {
  const at::Tensor x = random_inputs({41, 40});
  for (const char* name : {"silu", "relu", "gelu", "gelu_new"}) {
    for (const auto dtype : {at::kFloat, at::kBFloat16}) {
      const at::Tensor rows = x.to(dtype), together = activation(name)(rows);
      for (std::int64_t row = 0; row < rows.size(0); ++row)
        EXPECT_TRUE(at::equal(activation(name)(rows.narrow(0, row, 1)), together.narrow(0, row, 1)))
            << name << ", row " << row;
    }
  }
}

TEST(Activation, FarFromZeroTheyEnd) {
  const at::Tensor x = at::tensor({-1e4F, -30.0F, 30.0F, 1e4F});
  for (const char* name : {"silu", "gelu_new"}) {
    const at::Tensor y = activation(name)(x);
    EXPECT_TRUE(at::allclose(y, at::tensor({0.0F, 0.0F, 30.0F, 1e4F}), 1e-6, 1e-10)) << name;
  }
  const float none = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(activation("gelu_new")(at::tensor({none})).isnan().all().item<bool>());
}

}  // namespace
}  // namespace graft
