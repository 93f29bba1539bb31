// Small drawings for reports: inline SVG whose colours are the CSS variables of chart_css(), so that they follow the
// reader's light or dark preference. Every drawing carries its own text alternative (<title> and <desc>).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace graft {

/// `y` at `x`; a NaN or infinite y is a gap in the line.
struct Point {
  double x = 0;
  double y = 0;
};

struct Series {
  std::string name;
  std::vector<Point> points;  ///< x ascending
  bool smooth = false;        ///< draw a centred moving average boldly over the raw line drawn faintly
  bool markers = false;       ///< a dot per point, for few points
  std::vector<std::pair<double, double>> band = {};  ///< low and high of every point, drawn as an area; empty: none
};

struct LineChart {
  std::string title;        ///< text alternative, not drawn
  std::string description;  ///< longer text alternative; empty: made from the series' first and last values
  std::string x_label;
  std::string y_label;
  std::vector<Series> series;
  bool percent = false;  ///< y is a fraction, drawn as percent
  bool whole_x = false;  ///< x counts: no ticks between whole numbers
  bool log_x = false;  ///< x, 0 or more, is drawn by its logarithm (of 1 + x where one is 0), with ticks at the points
  bool from_zero = false;
  int width = 520;
  int height = 280;
};

/// An empty string when no series has a finite point.
std::string draw(const LineChart& chart);

/// One measured value with its confidence interval.
struct Bar {
  std::string name;
  double value = 0;
  double low = 0;
  double high = 0;
  int colour = 1;  ///< 0: muted (before), 1: accent (after)
};

struct BarGroup {
  std::string name;
  std::vector<Bar> bars;
};

struct IntervalChart {
  std::string title;
  std::vector<BarGroup> groups;
  std::optional<double> reference;  ///< a dashed line, e.g. at chance level
  std::string reference_name;
  int width = 520;
  bool percent = true;  ///< values are fractions in 0…1; else numbers from 0 on
};

/// Horizontal bars with whiskers, from 0 to 100%, or to a round number that holds all; an empty string without bars.
std::string draw(const IntervalChart& chart);

/// Rows are the truth, columns the prediction, cells coloured by their share of the row. Up to 12 classes show every
/// count; more show colour alone, every nonzero cell with a tooltip.
struct ConfusionChart {
  std::string title;
  std::vector<std::string> labels;                ///< missing ones are numbered
  std::vector<std::vector<std::int64_t>> counts;  ///< [truth][prediction]; short rows are filled with zeros
};

/// An empty string for an empty matrix.
std::string draw(const ConfusionChart& matrix);

/// One measured thing in a scatter plot, with the spread of its y.
struct ScatterPoint {
  std::string name;
  double x = 0;  ///< above 0; others are not drawn
  double y = 0;
  double low = 0;
  double high = 0;
};

/// A value that no x belongs to.
struct ScatterLine {
  std::string name;
  double y = 0;  ///< not finite: not drawn
};

/// Points over a logarithmic x of fractions, from 0.001% to 100%, each named beside it; lines lie across, dashed, each
/// named on it. No name lies on another while there is room.
struct ScatterPlot {
  std::string title;  ///< text alternative, not drawn
  std::string x_label;
  std::string y_label;
  std::vector<ScatterPoint> points;
  std::vector<ScatterLine> lines = {};
  bool percent = false;  ///< y is a fraction, drawn as percent
  int width = 720;
  int height = 400;
};

/// An empty string without a point that can be drawn.
std::string draw(const ScatterPlot& plot);

/// Values in 0…1 over two counts that begin at 1. A map of more than 32 rows or columns shows every second one, or
/// fewer.
struct HeatMap {
  std::string title;  ///< text alternative, not drawn
  std::string x_label;
  std::string y_label;
  std::vector<std::vector<double>> values;  ///< [rows][columns], all rows of one length; others than 0…1 are clamped
};

/// An empty string for an empty map.
std::string draw(const HeatMap& map);

/// Up to `at_most` ticks at 1, 2 or 5 times a power of ten that cover [low, high]; first <= low, last >= high.
std::vector<double> nice_ticks(double low, double high, int at_most = 6);

/// Centred moving average over 2 * half + 1 points (fewer at the ends); gaps (not finite) are left out of the average
/// and stay gaps.
std::vector<Point> smoothed(const std::vector<Point>& points, std::size_t half);

/// A drawing as a file of its own, with its style and a background.
std::string svg_file(const std::string& drawing);

/// The CSS the drawings need: variables for light and dark, and their classes.
const char* chart_css();

}  // namespace graft
