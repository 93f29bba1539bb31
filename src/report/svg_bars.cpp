#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

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

// What the width of the drawing stands for.
struct Scale {
  bool percent = true;
  double top = 1;
  std::vector<double> ticks = {0, 0.25, 0.5, 0.75, 1};

  // Of the width, 0…1.
  double at(double value) const { return std::isfinite(value) ? std::clamp(value / top, 0.0, 1.0) : 0; }
  std::string text(double value) const { return percent ? graft::percent(value) : number(value); }
  std::string tick(double value) const { return percent ? graft::percent(value, 0) : number(value); }
};

Scale scale_of(const IntervalChart& chart) {
  if (chart.percent) return {};
  double top = 0;
  for (const BarGroup& group : chart.groups) {
    for (const Bar& one : group.bars) {
      for (const double value : {one.value, one.high}) top = std::isfinite(value) ? std::max(top, value) : top;
    }
  }
  Scale scale{false, top, nice_ticks(0, top > 0 ? top : 1, 6)};
  scale.top = scale.ticks.back();
  return scale;
}

// Room for the names on the left.
double name_width(const IntervalChart& chart) {
  std::size_t longest = 0;
  for (const BarGroup& group : chart.groups)
    for (const Bar& one : group.bars) longest = std::max(longest, shown_characters(one.name));
  return std::max(64.0, 16 + kLetter * static_cast<double>(std::min(longest, kLongestName)));
}

std::string bar(const Bar& bar, const Scale& scale, double left, double width, double y) {
  const double value = left + width * scale.at(bar.value);
  const double low = left + width * scale.at(bar.low);
  const double high = left + width * scale.at(bar.high);
  const double middle = y + kBarHeight / 2;
  std::string out = fmt::format("<text class=\"tick end\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", left - 8, middle + 4,
                                escape(excerpt_middle(bar.name, kLongestName)));
  out += fmt::format(
      "<rect class=\"bar b{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.0f}\" "
      "rx=\"3\"><title>{}</title></rect>",
      bar.colour, left, y, value - left, kBarHeight,
      fmt::format("{} ({} to {})", scale.text(bar.value), scale.text(bar.low), scale.text(bar.high)));
  out += fmt::format("<path class=\"whisker\" d=\"M{0:.1f} {2:.1f}H{1:.1f}M{0:.1f} {3:.1f}v8M{1:.1f} {3:.1f}v8\"/>",
                     low, high, middle, middle - 4);
  out += fmt::format("<text class=\"value\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", left + width + 10, middle + 4,
                     scale.text(bar.value));
  return out;
}

std::string reference_line(double x, double top, double bottom) {
  return fmt::format("<line class=\"reference\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>", x, top,
                     bottom);
}

}  // namespace

std::string draw(const IntervalChart& chart) {
  const Scale scale = scale_of(chart);
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
      bars += bar(one, scale, left, width, y);
      y += kBarPitch;
      description += fmt::format("{} {}: {}, interval {} to {}. ", group.name, one.name, scale.text(one.value),
                                 scale.text(one.low), scale.text(one.high));
    }
    if (chart.reference) {
      bars += reference_line(left + width * scale.at(*chart.reference), first - 3, y - kBarPitch + kBarHeight + 3);
    }
    y += kGroupGap;
  }
  if (bars.empty()) return "";
  const double bottom = y - kGroupGap / 2;
  std::string grid;
  for (const double tick : scale.ticks) {
    const double x = left + width * scale.at(tick);
    grid += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>", x,
                        4 + kGroupHead - 4, bottom);
    grid += fmt::format("<text class=\"tick middle\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", x, bottom + 16,
                        scale.tick(tick));
  }
  double height = bottom + 24;
  if (chart.reference) {
    height += 18;
    bars += fmt::format(
        "<path class=\"reference\" d=\"M{:.1f} {:.1f}h18\"/><text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\">{} "
        "{}</text>",
        left, height - 8, left + 24, height - 4, escape(excerpt(chart.reference_name, 40)),
        scale.text(*chart.reference));
    description += fmt::format("{} is {}.", chart.reference_name, scale.text(*chart.reference));
  }
  return fmt::format(
      "<svg class=\"chart\" role=\"img\" viewBox=\"0 0 {} {:.0f}\"><title>{}</title><desc>{}</desc>{}{}</svg>",
      chart.width, height, escape(chart.title), escape(description), grid, bars);
}

}  // namespace graft
