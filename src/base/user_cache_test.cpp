#include "base/user_cache.h"

#include <gtest/gtest.h>

#include "base/environment_variable_test.h"

namespace graft {
namespace {

TEST(UserCache, IsWhereTheEnvironmentSays) {
  const EnvironmentVariable cache("XDG_CACHE_HOME"), home("HOME");
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
