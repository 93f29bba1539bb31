// What --profile records and prints.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>

#include "nn/profile.h"

namespace graft {

class StepProfile {
 public:
  /// Of `steps` steps, begun behind the second: the first ones lay out weights and take memory.
  StepProfile(std::int64_t steps, std::filesystem::path trace) : steps_(steps), trace_(std::move(trace)) {}

  /// After each step. Throws as Profile::end().
  void step_done();
  /// Behind the last step: what follows is not of it. Throws as Profile::end().
  void training_done();
  /// Prints what took the time; says so where the training was too short.
  void close();

 private:
  static constexpr std::int64_t kBefore = 2;

  std::int64_t steps_, seen_ = 0;
  std::filesystem::path trace_;
  std::unique_ptr<Profile> profile_;
  std::vector<ProfileLine> lines_;
};

/// Prints the operations that took longest, as they are in one of `times` repetitions of the same work (`of`: "step"),
/// and where the trace is.
void print_profile(const std::vector<ProfileLine>& lines, std::int64_t times, const char* of,
                   const std::filesystem::path& trace, std::FILE* to = stdout);

}  // namespace graft
