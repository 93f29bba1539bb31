// The table counts every operation's own time once.
#include "nn/profile.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "checkpoint/fixture_test.h"
#include "nn/norm.h"

namespace graft {
namespace {

const ProfileLine* find(const std::vector<ProfileLine>& lines, const std::string& operation) {
  for (const auto& line : lines) {
    if (line.operation == operation) return &line;
  }
  return nullptr;
}

TEST(Profile, TellsOperationsOfLibTorchsAndOurs) {
  const testing::Folder folder;
  const at::Tensor x = at::ones({64, 32}), matrix = at::ones({32, 16}), weight = at::ones({32});
  Profile profile;
  for (int i = 0; i < 3; ++i) rms_norm(at::mm(x, matrix.matmul(matrix.t())), weight, 1e-5, at::kFloat);
  const auto lines = profile.end(folder.path() / "trace.json");
  const ProfileLine *products = find(lines, "aten::mm"), *outer = find(lines, "aten::matmul"),
                    *norms = find(lines, "graft::rms_norm");
  ASSERT_NE(products, nullptr);
  ASSERT_NE(outer, nullptr);
  ASSERT_NE(norms, nullptr);
  EXPECT_EQ(products->calls, 6);
  EXPECT_EQ(outer->calls, 3);
  EXPECT_EQ(norms->calls, 3);
  EXPECT_EQ(products->flops, 3 * 2.0 * (64 * 32 * 32 + 32 * 16 * 32));
  for (const auto& line : lines) EXPECT_GE(line.seconds, -1e-9) << line.operation;
  EXPECT_TRUE(
      std::is_sorted(lines.begin(), lines.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; }));
  const auto trace = nlohmann::json::parse(read_file(folder.path() / "trace.json"));
  EXPECT_FALSE(trace.at("traceEvents").empty());
}

TEST(Profile, OneAtATimeAndForgottenWithoutAnEnd) {
  {
    Profile profile;
    testing::expect_error(Category::Internal, "another profile", [] { Profile second; });
  }
  Profile again;
  const testing::Folder folder;
  testing::expect_error(Category::Io, "cannot be written", [&] { again.end(folder.path() / "absent" / "trace.json"); });
}

}  // namespace
}  // namespace graft
