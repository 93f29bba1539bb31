#include "base/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace graft {
namespace {

bool quiet_mode = false;

}  // namespace

Progress::Progress(std::string verb, std::int64_t total, std::int64_t done)
    : verb_(std::move(verb)),
      total_(total),
      first_(done),
      started_(Clock::now()),
      shown_(started_),
      terminal_(::isatty(STDERR_FILENO) == 1) {}

Progress::~Progress() {
  finish();
}

void Progress::set_quiet(bool quiet) {
  quiet_mode = quiet;
}

bool Progress::quiet() {
  return quiet_mode;
}

double Progress::rate(std::int64_t done) const {
  const double seconds = std::chrono::duration<double>(Clock::now() - started_).count();
  return seconds > 0 ? static_cast<double>(done - first_) / seconds : 0;
}

std::string Progress::line(std::int64_t done, const std::string& detail, std::optional<double> seconds_left) const {
  std::string text = fmt::format("{} {}/{}", verb_, done, total_);
  if (terminal_) {
    const auto filled = static_cast<std::size_t>(total_ > 0 ? 20 * done / total_ : 0);
    text = fmt::format("{} [{:<20}] {}/{}", verb_, std::string(std::min<std::size_t>(filled, 20), '#'), done, total_);
  }
  if (!detail.empty()) text += "  " + detail;
  const double pace = rate(done);
  if (pace > 0) text += pace >= 1 ? fmt::format("  {:.1f}/s", pace) : fmt::format("  {:.2f} s each", 1 / pace);
  if (seconds_left && done < total_) text += fmt::format("  {} left", human_seconds(*seconds_left));
  return text;
}

void Progress::update(std::int64_t done, const std::string& detail) {
  const double pace = rate(done);
  update(done, detail, pace > 0 ? std::optional(static_cast<double>(total_ - done) / pace) : std::nullopt);
}

void Progress::update(std::int64_t done, const std::string& detail, std::optional<double> seconds_left) {
  if (quiet_mode) return;
  const auto interval = terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(5000);
  const auto now = Clock::now();
  if (done < total_ && now - shown_ < interval) return;
  shown_ = now;
  const std::string text = line(done, detail, seconds_left);
  if (terminal_) {
    std::fprintf(stderr, "\r\033[K%s", text.c_str());
    open_ = true;
  } else {
    std::fprintf(stderr, "%s\n", text.c_str());
  }
  std::fflush(stderr);
}

void Progress::finish() {
  if (open_) std::fputc('\n', stderr);
  open_ = false;
}

std::string human_seconds(double seconds) {
  if (seconds < 60) return fmt::format("{:.1f}s", seconds);
  const auto whole = static_cast<std::int64_t>(seconds);
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}h{:02}m", whole / 3600, whole % 3600 / 60);
}

std::string human_bytes(double bytes) {
  static const char* const units[] = {"B", "kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  while (bytes >= 1000 && unit < 4) {
    bytes /= 1000;
    ++unit;
  }
  return unit == 0 ? fmt::format("{:.0f} B", bytes)
                   : fmt::format("{:.{}f} {}", bytes,
                                 bytes < 10    ? 2
                                 : bytes < 100 ? 1
                                               : 0,
                                 units[unit]);
}

std::string grouped(std::int64_t value) {
  std::string digits = std::to_string(value < 0 ? -value : value);
  for (auto at = static_cast<std::ptrdiff_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<std::size_t>(at), ",");
  return value < 0 ? "-" + digits : digits;
}

}  // namespace graft
