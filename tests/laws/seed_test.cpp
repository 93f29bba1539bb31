// A test's random numbers do not depend on which tests ran before it.
#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>

#include <cstdint>

namespace graft {
namespace {

constexpr std::uint64_t kSeed = 1;

class SeedsEachTest : public ::testing::EmptyTestEventListener {
  void OnTestStart(const ::testing::TestInfo& /*info*/) override { at::manual_seed(kSeed); }
};

[[maybe_unused]] const bool kListens = [] {
  ::testing::UnitTest::GetInstance()->listeners().Append(new SeedsEachTest);  // which owns it
  return true;
}();

TEST(Seed, IsTheSameForEachTest) {
  EXPECT_EQ(at::detail::getDefaultCPUGenerator().current_seed(), kSeed);
}

}  // namespace
}  // namespace graft
