// The environment of a test.
#pragma once

#include <stdlib.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <string>

namespace graft {

/// An environment variable, as it was before when this ends.
class EnvironmentVariable {
 public:
  explicit EnvironmentVariable(const char* name) : name_(name) {
    if (const char* value = std::getenv(name)) before_ = value;
  }
  ~EnvironmentVariable() { set(before_ ? before_->c_str() : nullptr); }
  EnvironmentVariable(const EnvironmentVariable&) = delete;

  /// Null: it is not there.
  void set(const char* value) const {
    if (value == nullptr) {
      ::unsetenv(name_.c_str());
    } else {
      ::setenv(name_.c_str(), value, 1);
    }
  }

 private:
  std::string name_;
  std::optional<std::string> before_;
};

/// The variables that name a proxy, or who is reached without one: none is set until set() does so. For whatever asks a
/// server of a test, which the machine's proxy does not reach.
class ProxyVariables {
 public:
  ProxyVariables() {
    for (const char* name :
         {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"})
      variables_.try_emplace(name, name).first->second.set(nullptr);
  }

  void set(const std::string& name, const std::string& value) const { variables_.at(name).set(value.c_str()); }

 private:
  std::map<std::string, EnvironmentVariable> variables_;
};

}  // namespace graft
