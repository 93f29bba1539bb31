#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/markup.h"
#include "report/svg.h"

namespace graft {
namespace {

constexpr double kBarHeight = 18;
constexpr double kBarPitch = 24;
constexpr double kGroupHead = 22;
constexpr double kGroupGap = 14;
constexpr std::size_t kLongestName = 24;
constexpr double kLetter = 6.6;  // width of a letter, about

double clamped(double fraction) {
  return std::isfinite(fraction) ? std::clamp(fraction, 0.0, 1.0) : 0;
}

// Room for the names on the left.
double name_width(const IntervalChart& chart) {
  std::size_t longest = 0;
  for (const BarGroup& group : chart.groups)
    for (const Bar& one : group.bars) longest = std::max(longest, code_points(one.name));
  return std::max(64.0, 16 + kLetter * static_cast<double>(std::min(longest, kLongestName)));
}

std::string bar(const Bar& bar, double left, double width, double y) {
  const double value = left + width * clamped(bar.value);
  const double low = left + width * clamped(bar.low);
  const double high = left + width * clamped(bar.high);
  const double middle = y + kBarHeight / 2;
  std::string out = fmt::format("<text class=\"tick end\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", left - 8, middle + 4,
                                escape(excerpt_middle(bar.name, kLongestName)));
  out += fmt::format(
      "<rect class=\"bar b{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.0f}\" "
      "rx=\"3\"><title>{}</title></rect>",
      bar.colour, left, y, value - left, kBarHeight,
      fmt::format("{} ({} to {})", percent(bar.value), percent(bar.low), percent(bar.high)));
  out += fmt::format("<path class=\"whisker\" d=\"M{0:.1f} {2:.1f}H{1:.1f}M{0:.1f} {3:.1f}v8M{1:.1f} {3:.1f}v8\"/>",
                     low, high, middle, middle - 4);
  out += fmt::format("<text class=\"value\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", left + width + 10, middle + 4,
                     percent(bar.value));
  return out;
}

std::string reference_line(double x, double top, double bottom) {
  return fmt::format("<line class=\"reference\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>", x, top,
                     bottom);
}

}  // namespace

std::string draw(const IntervalChart& chart) {
  const double left = name_width(chart);
  const double width = chart.width - left - 66;
  double y = 4;
  std::string bars;
  std::string description;
  for (const BarGroup& group : chart.groups) {
    if (group.bars.empty()) continue;
    bars += fmt::format("<text class=\"legend strong\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", left, y + 13,
                        escape(group.name));
    y += kGroupHead;
    const double first = y;
    for (const Bar& one : group.bars) {
      bars += bar(one, left, width, y);
      y += kBarPitch;
      description += fmt::format("{} {}: {}, interval {} to {}. ", group.name, one.name, percent(one.value),
                                 percent(one.low), percent(one.high));
    }
    if (chart.reference) {
      bars += reference_line(left + width * clamped(*chart.reference), first - 3, y - kBarPitch + kBarHeight + 3);
    }
    y += kGroupGap;
  }
  if (bars.empty()) return "";
  const double bottom = y - kGroupGap / 2;
  std::string grid;
  for (int tick = 0; tick <= 100; tick += 25) {
    const double x = left + width * tick / 100;
    grid += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>", x,
                        4 + kGroupHead - 4, bottom);
    grid += fmt::format("<text class=\"tick middle\" x=\"{:.1f}\" y=\"{:.1f}\">{}%</text>", x, bottom + 16, tick);
  }
  double height = bottom + 24;
  if (chart.reference) {
    height += 18;
    bars += fmt::format(
        "<path class=\"reference\" d=\"M{:.1f} {:.1f}h18\"/><text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\">{} "
        "{}</text>",
        left, height - 8, left + 24, height - 4, escape(excerpt(chart.reference_name, 40)), percent(*chart.reference));
    description += fmt::format("{} is {}.", chart.reference_name, percent(*chart.reference));
  }
  return fmt::format(
      "<svg class=\"chart\" role=\"img\" viewBox=\"0 0 {} {:.0f}\"><title>{}</title><desc>{}</desc>{}{}</svg>",
      chart.width, height, escape(chart.title), escape(description), grid, bars);
}

}  // namespace graft
