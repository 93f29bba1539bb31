#include "cli/core/profiling.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/core/columns.h"

namespace graft {

void StepProfile::step_done() {
  ++seen_;
  if (seen_ == kBefore) profile_ = std::make_unique<Profile>();
  if (seen_ == kBefore + steps_) training_done();
}

void StepProfile::training_done() {
  if (!profile_) return;
  lines_ = profile_->end(trace_);
  profile_.reset();
}

void StepProfile::close() {
  if (lines_.empty()) {
    std::fprintf(stderr, "graft: note: no step was profiled, since the first %lld are left out; give more --steps\n",
                 static_cast<long long>(kBefore));
    return;
  }
  print_profile(lines_, std::min(steps_, seen_ - kBefore), "step", trace_);
}

void print_profile(const std::vector<ProfileLine>& lines, std::int64_t times, const char* of,
                   const std::filesystem::path& trace, std::FILE* to) {
  constexpr std::size_t kShown = 25;
  double total = 0;
  for (const ProfileLine& line : lines) total += line.seconds;
  const double each = static_cast<double>(times);
  std::vector<std::vector<std::string>> cells = {
      {"operation", fmt::format("calls/{}", of), fmt::format("ms/{}", of), "share", "GFLOP/s"}};
  double shown = 0;
  for (const ProfileLine& line : lines) {
    if (cells.size() > kShown) break;
    shown += line.seconds;
    cells.push_back({line.operation, fmt::format("{:.1f}", static_cast<double>(line.calls) / each),
                     fmt::format("{:.2f}", line.seconds * 1e3 / each),
                     fmt::format("{:.1f}%", line.seconds / total * 100),
                     line.flops > 0 ? fmt::format("{:.0f}", line.flops / line.seconds * 1e-9) : ""});
  }
  if (lines.size() > kShown)
    cells.push_back({fmt::format("{} others", lines.size() - kShown), "",
                     fmt::format("{:.2f}", (total - shown) * 1e3 / each),
                     fmt::format("{:.1f}%", (total - shown) / total * 100), ""});
  cells.push_back({"all", "", fmt::format("{:.2f}", total * 1e3 / each), "100%", ""});
  print_columns(cells, to);
  fmt::print(to, "trace: {} (ui.perfetto.dev opens it)\n", trace.string());
}

}  // namespace graft
