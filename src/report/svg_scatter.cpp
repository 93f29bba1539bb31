#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>

#include "report/markup.h"
#include "report/svg.h"
#include "report/svg_parts.h"

namespace graft {
namespace {

constexpr double kLineHeight = 13;
constexpr double kRadius = 4.5;
constexpr double kGapOfNames = 10;  // between those that stand side by side on a line

struct Box {
  double left, top, right, bottom;
  bool touches(const Box& other) const {
    return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
  }
};

struct ScatterFrame {
  Box plot;
  double first_decade, last_decade;
  std::vector<double> y_ticks;
  double at_x(double value) const {
    return plot.left + (plot.right - plot.left) * (std::log10(value) - first_decade) / (last_decade - first_decade);
  }
  double at_y(double value) const {
    return plot.bottom - (plot.bottom - plot.top) * (value - y_ticks.front()) / (y_ticks.back() - y_ticks.front());
  }
};

bool drawable(const ScatterPoint& point) {
  return point.x > 0 && std::isfinite(point.x) && std::isfinite(point.y) && std::isfinite(point.low) &&
         std::isfinite(point.high);
}

// What of a plot can be drawn; at least one point.
struct ScatterParts {
  std::vector<ScatterPoint> points;
  std::vector<ScatterLine> lines;
};

ScatterFrame frame_of(const ScatterPlot& plot, const ScatterParts& drawn) {
  const auto& points = drawn.points;
  double low = points.front().y, high = low, least = 1, most = 0;
  for (const auto& line : drawn.lines) {
    low = std::min(low, line.y);
    high = std::max(high, line.y);
  }
  for (const auto& point : points) {
    low = std::min({low, point.y, point.low});
    high = std::max({high, point.y, point.high});
    least = std::min(least, point.x);
    most = std::max(most, point.x);
  }
  const double margin = std::max((high - low) * 0.08, plot.percent ? 0.01 : 1e-6 * std::max(1.0, std::abs(high)));
  std::vector<double> ticks = nice_ticks(low - margin, high + margin, 8);
  if (plot.percent) std::erase_if(ticks, [](double tick) { return tick < -1e-9 || tick > 1 + 1e-9; });
  const double first = std::floor(std::log10(least) + 1e-9),
               last = std::max(first + 1, std::ceil(std::log10(most) - 1e-9));
  return {{60, plot.y_label.empty() ? 10.0 : 26.0, plot.width - 20.0, plot.height - 46.0}, first, last, ticks};
}

std::string value_text(const ScatterPlot& plot, double value) {
  return plot.percent ? percent(value) : number(value);
}

std::string grid(const ScatterPlot& plot, const ScatterFrame& frame) {
  std::string out;
  if (!plot.y_label.empty())
    out += fmt::format("<text class=\"label\" x=\"4\" y=\"12\">{}</text>", escape(plot.y_label));
  for (const double tick : frame.y_ticks) {
    const double y = frame.at_y(tick);
    out += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/>",
                       frame.plot.left, frame.plot.right, y);
    out += fmt::format("<text class=\"tick end\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", frame.plot.left - 8, y + 4,
                       value_text(plot, tick));
  }
  for (double decade = frame.first_decade; decade <= frame.last_decade; ++decade) {
    const double x = frame.at_x(std::pow(10, decade));
    out += fmt::format("<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\"/>", x,
                       frame.plot.top, frame.plot.bottom);
    out += fmt::format("<text class=\"tick middle\" x=\"{:.1f}\" y=\"{:.1f}\">{:.4g}%</text>", x,
                       frame.plot.bottom + 18, 100 * std::pow(10, decade));
  }
  out += fmt::format("<line class=\"axis\" x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/>",
                     frame.plot.left, frame.plot.right, frame.plot.bottom);
  return out + fmt::format("<text class=\"label middle\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>",
                           (frame.plot.left + frame.plot.right) / 2, frame.plot.bottom + 38, escape(plot.x_label));
}

std::string dashed_lines(const ScatterPlot& plot, const ScatterFrame& frame, const std::vector<ScatterLine>& lines) {
  std::string out;
  for (const auto& line : lines) {
    out += fmt::format(
        "<line class=\"reference\" x1=\"{0:.1f}\" x2=\"{1:.1f}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"><title>{3}: "
        "{4}</title></line>",
        frame.plot.left, frame.plot.right, frame.at_y(line.y), escape(line.name), value_text(plot, line.y));
  }
  return out;
}

std::optional<Box> first_free(const ScatterFrame& frame, const std::vector<Box>& places,
                              const std::vector<Box>& taken) {
  for (const Box& place : places) {
    const bool inside = place.left >= frame.plot.left && place.right <= frame.plot.right + 16 &&
                        place.top >= frame.plot.top - 8 && place.bottom <= frame.plot.bottom;
    const auto hits = [&](const Box& other) { return place.touches(other); };
    if (inside && std::none_of(taken.begin(), taken.end(), hits)) return place;
  }
  return std::nullopt;
}

// Where a name may stand beside its point; the first free place is taken, the first one where none is free.
Box place_name(const ScatterFrame& frame, double x, double y, double width, const std::vector<Box>& taken) {
  const double gap = kRadius + 4;
  std::vector<Box> places;
  for (const double down : {0.0, 12.0, -12.0, 24.0, -24.0, 36.0, -36.0}) {
    const double top = y + down - kLineHeight / 2;
    places.push_back({x + gap, top, x + gap + width, top + kLineHeight});
    places.push_back({x - gap - width, top, x - gap, top + kLineHeight});
  }
  return first_free(frame, places, taken).value_or(places.front());
}

// From left to right above a line, then below it, `rows` rows of names away from it.
std::vector<Box> along_line(const ScatterFrame& frame, double y, double width, int rows) {
  constexpr double kStep = 12;
  std::vector<Box> places;
  for (const double top : {y - 2 - (rows + 1) * kLineHeight, y + 2 + rows * kLineHeight}) {
    double x = frame.plot.left + 4;
    do {
      places.push_back({x, top, x + width, top + kLineHeight});
      x += kStep;
    } while (x + width <= frame.plot.right);
  }
  return places;
}

// Close to its line, which lies across: on no other line where that can be, never on a name or a point while there is
// room.
Box place_on_line(const ScatterFrame& frame, double y, double width, const std::vector<Box>& taken,
                  const std::vector<Box>& lines) {
  constexpr int kRowsAway = 4;
  const std::vector<Box> beside = along_line(frame, y, width, 0);
  std::vector<Box> all = taken;
  all.insert(all.end(), lines.begin(), lines.end());
  if (const auto place = first_free(frame, beside, all)) return *place;
  for (int rows = 0; rows <= kRowsAway; ++rows) {
    if (const auto place = first_free(frame, along_line(frame, y, width, rows), taken)) return *place;
  }
  return beside.front();
}

std::string mark(const ScatterPlot& plot, const ScatterFrame& frame, const ScatterPoint& point, std::size_t index) {
  const double x = frame.at_x(point.x), y = frame.at_y(point.y);
  return fmt::format(
      "<path class=\"line s{0}\" d=\"M{1:.1f} {2:.1f}V{3:.1f}\"/><circle class=\"dot s{0}\" cx=\"{1:.1f}\" "
      "cy=\"{4:.1f}\" "
      "r=\"{5}\"><title>{6}: {7} ({8} to {9}), {10:.3g}%</title></circle>",
      index % kColours, x, frame.at_y(point.low), frame.at_y(point.high), y, kRadius, escape(point.name),
      value_text(plot, point.y), value_text(plot, point.low), value_text(plot, point.high), 100 * point.x);
}

std::vector<Box> boxes_of_points(const ScatterFrame& frame, const std::vector<ScatterPoint>& points) {
  std::vector<Box> boxes;
  for (const auto& point : points) {
    const double x = frame.at_x(point.x), y = frame.at_y(point.y);
    boxes.push_back({x - kRadius, y - kRadius, x + kRadius, y + kRadius});
    boxes.push_back({x - 1, frame.at_y(point.high), x + 1, frame.at_y(point.low)});
  }
  return boxes;
}

std::vector<Box> boxes_of_lines(const ScatterFrame& frame, const std::vector<ScatterLine>& lines) {
  std::vector<Box> boxes;
  for (const auto& line : lines) {
    const double y = frame.at_y(line.y);
    boxes.push_back({frame.plot.left, y - 1, frame.plot.right, y + 1});
  }
  return boxes;
}

std::string name_in(const Box& box, const char* kind, const std::string& name) {
  return fmt::format("<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", kind, box.left, box.bottom - 3,
                     escape(name));
}

// Those of points first, which have fewer places.
std::string names(const ScatterFrame& frame, const ScatterParts& drawn) {
  const auto width_of = [](const std::string& name) {
    return kCharacterWidth * static_cast<double>(shown_characters(name));
  };
  std::vector<Box> taken = boxes_of_points(frame, drawn.points);
  std::string out;
  for (const auto& point : drawn.points) {
    const std::string name = excerpt(point.name, 24);
    taken.push_back(place_name(frame, frame.at_x(point.x), frame.at_y(point.y), width_of(name), taken));
    out += name_in(taken.back(), "legend", name);
  }
  const std::vector<Box> lines = boxes_of_lines(frame, drawn.lines);
  for (const auto& line : drawn.lines) {
    const std::string name = excerpt(line.name, 24);
    taken.push_back(place_on_line(frame, frame.at_y(line.y), width_of(name) + kGapOfNames, taken, lines));
    out += name_in(taken.back(), "tick", name);
  }
  return out;
}

std::string description_of(const ScatterPlot& plot, const ScatterParts& drawn) {
  std::string text;
  for (const auto& point : drawn.points)
    text += fmt::format("{}: {} at {:.3g}%. ", point.name, value_text(plot, point.y), 100 * point.x);
  for (const auto& line : drawn.lines) text += fmt::format("{}: {}. ", line.name, value_text(plot, line.y));
  return text;
}

}  // namespace

std::string draw(const ScatterPlot& plot) {
  ScatterParts drawn;
  std::copy_if(plot.points.begin(), plot.points.end(), std::back_inserter(drawn.points), drawable);
  std::copy_if(plot.lines.begin(), plot.lines.end(), std::back_inserter(drawn.lines),
               [](const ScatterLine& line) { return std::isfinite(line.y); });
  if (drawn.points.empty()) return "";
  const ScatterFrame frame = frame_of(plot, drawn);
  std::string body = grid(plot, frame) + dashed_lines(plot, frame, drawn.lines);
  for (std::size_t i = 0; i < drawn.points.size(); ++i) body += mark(plot, frame, drawn.points[i], i);
  return fmt::format(
      "<svg class=\"chart\" role=\"img\" viewBox=\"0 0 {} {}\"><title>{}</title><desc>{}</desc>{}{}</svg>", plot.width,
      plot.height, escape(plot.title), escape(description_of(plot, drawn)), body, names(frame, drawn));
}

}  // namespace graft
