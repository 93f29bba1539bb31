#include "base/user_cache.h"

#include <gtest/gtest.h>

#include "base/variable_test_support.h"

namespace graft {
namespace {

using testing::Variable;

TEST(UserCache, IsWhereTheEnvironmentSays) {
  const Variable cache("XDG_CACHE_HOME"), home("HOME");
  cache.set("/somewhere/cache");
  home.set("/home/ada");
  EXPECT_EQ(user_cache_folder(), "/somewhere/cache");
  cache.set("");  // counts as not set
  EXPECT_EQ(user_cache_folder(), "/home/ada/.cache");
  cache.set(nullptr);
  EXPECT_EQ(user_cache_folder(), "/home/ada/.cache");
  home.set(nullptr);
  EXPECT_TRUE(user_cache_folder().empty());
}

}  // namespace
}  // namespace graft
