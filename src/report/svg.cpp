#include "report/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <set>

#include "report/markup.h"
#include "report/svg_parts.h"

namespace graft {
namespace {

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();
  void include(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
};

/// From values to the drawing's units.
struct Frame {
  double left, top, right, bottom;
  std::vector<double> x_ticks, y_ticks;
  Range x, y;
  bool log_x = false;
  double shift = 0;  // of x, before its logarithm is taken
  double along(double value) const { return log_x ? std::log(value + shift) : value; }
  double at_x(double value) const {
    if (!(x.high > x.low)) return (left + right) / 2;
    return left + (right - left) * (along(value) - along(x.low)) / (along(x.high) - along(x.low));
  }
  double at_y(double value) const { return bottom - (bottom - top) * (value - y.low) / (y.high - y.low); }
};

std::string tick_label(double value, double step, bool as_percent) {
  if (as_percent) return fmt::format("{:.{}f}%", 100 * value, step < 0.01 - 1e-9 ? 1 : 0);
  if (std::abs(value) >= 1e4) return si(value);
  if (value != 0 && std::abs(step) < 1e-3) return fmt::format("{:.3g}", value);
  const int decimals = std::clamp(static_cast<int>(std::ceil(-std::log10(step) - 1e-9)), 0, 4);
  return fmt::format("{:.{}f}", value, decimals);
}

/// Keeps the lowest and the highest point of each of `buckets` runs, so that peaks survive and a million steps stay a
/// small file.
std::vector<Point> thinned(const std::vector<Point>& points, std::size_t buckets) {
  if (points.size() <= 2 * buckets) return points;
  std::vector<Point> kept;
  for (std::size_t bucket = 0; bucket < buckets; ++bucket) {
    const auto first = points.begin() + static_cast<std::ptrdiff_t>(points.size() * bucket / buckets);
    const auto last = points.begin() + static_cast<std::ptrdiff_t>(points.size() * (bucket + 1) / buckets);
    auto [low, high] = std::minmax_element(first, last, [](const Point& a, const Point& b) { return a.y < b.y; });
    if (high < low) std::swap(low, high);
    kept.push_back(*low);
    if (low != high) kept.push_back(*high);
  }
  return kept;
}

std::string path_of(const Frame& frame, const std::vector<Point>& points) {
  std::string path;
  bool pen_down = false;
  for (const Point& point : points) {
    if (!std::isfinite(point.y)) {
      pen_down = false;
      continue;
    }
    path += fmt::format("{}{:.1f} {:.1f}", pen_down ? "L" : "M", frame.at_x(point.x), frame.at_y(point.y));
    pen_down = true;
  }
  return path;
}

Range range_of(const LineChart& chart, bool x) {
  Range range;
  for (const Series& series : chart.series) {
    for (const Point& point : series.points) {
      if (std::isfinite(point.y)) range.include(x ? point.x : point.y);
    }
    if (x) continue;
    for (const auto& [low, high] : series.band) {
      range.include(low);
      range.include(high);
    }
  }
  return range;
}

std::string description_of(const LineChart& chart) {
  std::string text = chart.description;
  if (!text.empty()) return text;
  for (const Series& series : chart.series) {
    const auto finite = [](const Point& point) { return std::isfinite(point.y); };
    const auto first = std::find_if(series.points.begin(), series.points.end(), finite);
    const auto last = std::find_if(series.points.rbegin(), series.points.rend(), finite);
    if (first == series.points.end()) continue;
    const auto show = [&](double value) { return chart.percent ? percent(value) : number(value); };
    text += fmt::format("{} goes from {} at {} to {} at {}. ", series.name, show(first->y), number(first->x),
                        show(last->y), number(last->x));
  }
  return text;
}

std::string grid(const LineChart& chart, const Frame& frame) {
  std::string out;
  const double y_step = frame.y_ticks.size() > 1 ? frame.y_ticks[1] - frame.y_ticks[0] : 1;
  for (double tick : frame.y_ticks) {
    const double y = frame.at_y(tick);
    out += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/>", frame.left,
                       frame.right, y);
    out += fmt::format("<text class=\"tick end\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", frame.left - 8, y + 4,
                       tick_label(tick, y_step, chart.percent));
  }
  const double x_step = frame.x_ticks.size() > 1 ? frame.x_ticks[1] - frame.x_ticks[0] : 1;
  for (double tick : frame.x_ticks) {
    if (tick < frame.x.low - 1e-9 * x_step || tick > frame.x.high + 1e-9 * x_step) continue;
    out += fmt::format("<text class=\"tick middle\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", frame.at_x(tick),
                       frame.bottom + 18, tick_label(tick, x_step, false));
  }
  out += fmt::format("<line class=\"axis\" x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/>", frame.left,
                     frame.right, frame.bottom);
  out += fmt::format("<text class=\"label middle\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", (frame.left + frame.right) / 2,
                     frame.bottom + 38, escape(chart.x_label));
  return out;
}

// From quartile to quartile, along the upper ones and back along the lower ones.
std::string band(const Frame& frame, const Series& series, int colour) {
  std::vector<Point> upper, lower;
  for (std::size_t i = 0; i < std::min(series.band.size(), series.points.size()); ++i) {
    const auto& [low, high] = series.band[i];
    if (!std::isfinite(low) || !std::isfinite(high)) continue;
    upper.push_back({series.points[i].x, high});
    lower.push_back({series.points[i].x, low});
  }
  if (upper.size() < 2) return "";
  upper.insert(upper.end(), lower.rbegin(), lower.rend());
  return fmt::format("<path class=\"band s{}\" d=\"{}Z\"/>", colour % kColours, path_of(frame, upper));
}

std::string curve(const Frame& frame, const Series& series, int colour) {
  const std::string kind = fmt::format("s{}", colour % kColours);
  const auto buckets = static_cast<std::size_t>(frame.right - frame.left);
  std::string out;
  if (series.smooth && series.points.size() >= 8) {
    const std::size_t half = std::max<std::size_t>(2, series.points.size() / 20);
    out += fmt::format("<path class=\"raw {}\" d=\"{}\"/>", kind, path_of(frame, thinned(series.points, buckets)));
    out += fmt::format("<path class=\"line {}\" d=\"{}\"/>", kind,
                       path_of(frame, thinned(smoothed(series.points, half), buckets)));
  } else {
    out += fmt::format("<path class=\"line {}\" d=\"{}\"/>", kind, path_of(frame, thinned(series.points, buckets)));
  }
  if (!series.markers && series.points.size() > 1) return out;
  for (const Point& point : series.points) {
    if (!std::isfinite(point.y)) continue;
    out += fmt::format("<circle class=\"dot {}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\"><title>{}: {}</title></circle>",
                       kind, frame.at_x(point.x), frame.at_y(point.y), number(point.x), number(point.y));
  }
  return out;
}

/// Legend rows above the plot; returns the height they take.
double legend(const LineChart& chart, std::string& out) {
  double x = 4;
  double y = 14;
  for (std::size_t i = 0; i < chart.series.size(); ++i) {
    const std::string name = excerpt(chart.series[i].name, 32);
    const double width = 26 + kCharacterWidth * static_cast<double>(shown_characters(name)) + 16;
    if (x > 4 && x + width > chart.width) {
      x = 4;
      y += 18;
    }
    out += fmt::format("<path class=\"line s{}\" d=\"M{:.1f} {:.1f}h18\"/>", i % kColours, x, y - 4);
    out += fmt::format("<text class=\"legend\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", x + 24, y, escape(name));
    x += width;
  }
  return y + 10;
}

// The points' own, as far as their labels have room.
std::vector<double> ticks_at_points(const LineChart& chart, const Frame& frame) {
  constexpr double kRoom = 34;
  std::set<double> places;
  for (const Series& series : chart.series)
    for (const Point& point : series.points) places.insert(point.x);
  std::vector<double> ticks;
  for (const double place : places) {
    if (ticks.empty() || frame.at_x(place) - frame.at_x(ticks.back()) >= kRoom) ticks.push_back(place);
  }
  return ticks;
}

Frame frame_of(const LineChart& chart, Range x, Range y, double top) {
  // Steps are counted from one; an axis that begins at zero has its first tick there.
  if (!chart.log_x && x.low > 0 && x.low <= 0.1 * (x.high - x.low)) x.low = 0;
  if (chart.from_zero) y.include(0);
  if (y.low == y.high) {
    const double margin = y.low == 0 ? 1 : std::abs(y.low) * 0.1;
    y = {y.low - margin, y.high + margin};
  }
  Frame frame{60, top, chart.width - 14.0, chart.height - 46.0, {}, {}, x, y};
  frame.y_ticks = nice_ticks(y.low, y.high, 6);
  frame.x_ticks = nice_ticks(x.low, x.high, 7);
  if (chart.log_x) {
    frame.log_x = true;
    frame.shift = x.low > 0 ? 0 : 1;
    frame.x_ticks = ticks_at_points(chart, frame);
  }
  if (chart.whole_x) std::erase_if(frame.x_ticks, [](double tick) { return std::abs(tick - std::round(tick)) > 1e-9; });
  frame.y = {frame.y_ticks.front(), frame.y_ticks.back()};
  return frame;
}

}  // namespace

std::vector<double> nice_ticks(double low, double high, int at_most) {
  if (!(std::isfinite(low) && std::isfinite(high)) || high < low) return {0, 1};
  const double span = high - low;
  // A span below the numbers' own precision would make ticks that differ by nothing.
  if (span <= 1e-12 * std::max(std::abs(low), std::abs(high)) || span < 1e-300 || span > 1e300) {
    return high > low ? std::vector<double>{low, high} : std::vector<double>{low};
  }
  const double rough = span / std::max(1, at_most - 2);
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (double multiple : {1.0, 2.0, 5.0}) {
    if (multiple * power >= rough * (1 - 1e-9)) {
      step = multiple * power;
      break;
    }
  }
  const double first = std::floor(low / step + 1e-9);
  const double last = std::ceil(high / step - 1e-9);
  std::vector<double> ticks;
  for (double i = first; i <= last; ++i) ticks.push_back(i * step);
  return ticks;
}

std::vector<Point> smoothed(const std::vector<Point>& points, std::size_t half) {
  std::vector<double> sums{0};
  std::vector<std::size_t> counts{0};
  for (const Point& point : points) {
    const bool finite = std::isfinite(point.y);
    sums.push_back(sums.back() + (finite ? point.y : 0));
    counts.push_back(counts.back() + (finite ? 1 : 0));
  }
  std::vector<Point> out = points;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (!std::isfinite(points[i].y)) continue;
    // As wide on one side as on the other, so that the ends are not drawn towards the middle.
    const std::size_t reach = std::min({half, i, points.size() - 1 - i});
    const std::size_t first = i - reach;
    const std::size_t last = i + reach + 1;
    out[i].y = (sums[last] - sums[first]) / static_cast<double>(counts[last] - counts[first]);
  }
  return out;
}

std::string draw(const LineChart& chart) {
  const Range x = range_of(chart, true);
  const Range y = range_of(chart, false);
  if (x.empty() || y.empty()) return "";
  std::string body;
  const double legend_height = chart.series.size() > 1 ? legend(chart, body) : 4;
  const double top = legend_height + (chart.y_label.empty() ? 6 : 22);
  if (!chart.y_label.empty()) {
    body +=
        fmt::format("<text class=\"label\" x=\"4\" y=\"{:.1f}\">{}</text>", legend_height + 8, escape(chart.y_label));
  }
  const Frame frame = frame_of(chart, x, y, top);
  body += grid(chart, frame);
  for (std::size_t i = 0; i < chart.series.size(); ++i) body += band(frame, chart.series[i], static_cast<int>(i));
  // Backwards, so that the first series, the one that matters, lies on top.
  for (std::size_t i = chart.series.size(); i-- > 0;) body += curve(frame, chart.series[i], static_cast<int>(i));
  return fmt::format("<svg class=\"chart\" role=\"img\" viewBox=\"0 0 {} {}\"><title>{}</title><desc>{}</desc>{}</svg>",
                     chart.width, chart.height, escape(chart.title), escape(description_of(chart)), body);
}

std::string svg_file(const std::string& drawing) {
  const std::string element = "<svg ";
  const std::size_t inside = drawing.find('>') + 1;
  return fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}xmlns=\"http://www.w3.org/2000/svg\" {}<style>{}</style>"
      "<rect width=\"100%\" height=\"100%\" style=\"fill:var(--card)\"/>{}\n",
      element, drawing.substr(element.size(), inside - element.size()), chart_css(), drawing.substr(inside));
}

}  // namespace graft
