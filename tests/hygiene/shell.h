// A command as a person runs it.
#pragma once

#include <gtest/gtest.h>

#include <sys/wait.h>

#include <cstdio>
#include <stdexcept>
#include <string>

namespace graft {

/// What the command prints, to whichever output; it has to end with this status.
inline std::string printed_by(const std::string& command, int expected_status) {
  FILE* const pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("no shell");
  std::string printed;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) printed.push_back(static_cast<char>(c));
  const int status = ::pclose(pipe);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == expected_status) << printed;
  return printed;
}

}  // namespace graft
