#include "base/user_cache.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstdlib>
#include <optional>
#include <string>

namespace graft {
namespace {

// An environment variable, as it was before when this ends.
class Variable {
 public:
  explicit Variable(const char* name) : name_(name) {
    if (const char* value = std::getenv(name)) before_ = value;
  }
  ~Variable() { set(before_ ? before_->c_str() : nullptr); }
  Variable(const Variable&) = delete;

  void set(const char* value) const {
    if (value == nullptr) {
      ::unsetenv(name_);
    } else {
      ::setenv(name_, value, 1);
    }
  }

 private:
  const char* name_;
  std::optional<std::string> before_;
};

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
