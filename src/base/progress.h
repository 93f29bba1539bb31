// One progress line while long work runs; plain lines, less often, when the output is not a terminal.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace graft {

/// Writes to standard error. `verb` is what is being done ("tune", "evaluate"). Not thread-safe.
class Progress {
 public:
  Progress(std::string verb, std::int64_t total, std::int64_t done = 0);
  ~Progress();
  Progress(const Progress&) = delete;

  /// `done` units of `total`; `detail` is shown behind the rate, e.g. "loss 1.234".
  void update(std::int64_t done, const std::string& detail = "");
  /// The same where the time left does not follow from the rate alone; none is shown where it is not known.
  void update(std::int64_t done, const std::string& detail, std::optional<double> seconds_left);
  /// Ends the line and leaves the last state on the screen.
  void finish();
  /// Silences every progress line of the process (--quiet).
  static void set_quiet(bool quiet);
  static bool quiet();

 private:
  double rate(std::int64_t done) const;
  std::string line(std::int64_t done, const std::string& detail, std::optional<double> seconds_left) const;

  using Clock = std::chrono::steady_clock;
  std::string verb_;
  std::int64_t total_;
  std::int64_t first_;
  Clock::time_point started_;
  Clock::time_point shown_;
  bool terminal_;
  bool open_ = false;
};

/// "1h02m", "3m20s", "4.2s".
std::string human_seconds(double seconds);
/// "1.2 MB", "270 MB", "41 kB" (powers of 1000).
std::string human_bytes(double bytes);
/// "1,234,567".
std::string grouped(std::int64_t value);

}  // namespace graft
