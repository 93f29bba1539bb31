#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "report/markup.h"
#include "report/svg.h"

namespace graft {
namespace {

constexpr std::size_t kShown = 32;
constexpr double kSide = 260;  // of the longer side, in drawing units
constexpr double kLeft = 44, kTop = 26, kBelow = 74;

// Which of `count` are shown: the last one is always among them.
std::vector<std::size_t> shown(std::size_t count) {
  const std::size_t step = (count + kShown - 1) / kShown;
  std::vector<std::size_t> indices;
  for (std::size_t i = count; i > 0; i -= std::min(step, i)) indices.push_back(i - 1);
  std::reverse(indices.begin(), indices.end());
  return indices;
}

std::string square(double x, double y, double side, double value, const std::string& tooltip) {
  return fmt::format(
      "<rect class=\"b1\" fill-opacity=\"{:.3f}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\">"
      "<title>{}</title></rect>",
      value, x, y, side, side, tooltip);
}

// A number now and then, and the last one.
bool numbered(std::size_t place, std::size_t count) {
  const std::size_t step = (count + 7) / 8;
  return (count - 1 - place) % step == 0;
}

std::string numbers(const std::vector<std::size_t>& rows, const std::vector<std::size_t>& columns, double cell) {
  std::string out;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (numbered(i, rows.size()))
      out += fmt::format("<text class=\"tick end\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", kLeft - 6,
                         kTop + cell * (static_cast<double>(i) + 0.5) + 4, rows[i] + 1);
  }
  for (std::size_t i = 0; i < columns.size(); ++i) {
    if (numbered(i, columns.size()))
      out += fmt::format("<text class=\"tick middle\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>",
                         kLeft + cell * (static_cast<double>(i) + 0.5),
                         kTop + cell * static_cast<double>(rows.size()) + 15, columns[i] + 1);
  }
  return out;
}

// What the colours mean: six squares from 0 to 1.
std::string legend(double x, double y) {
  std::string out = fmt::format("<text class=\"tick end\" x=\"{:.1f}\" y=\"{:.1f}\">0</text>", x - 5, y + 10);
  for (int i = 0; i < 6; ++i) out += square(x + 14 * i, y, 13, i / 5.0, fmt::format("{:.1f}", i / 5.0));
  return out + fmt::format("<text class=\"tick\" x=\"{:.1f}\" y=\"{:.1f}\">1</text>", x + 14 * 6 + 5, y + 10);
}

}  // namespace

std::string draw(const HeatMap& map) {
  if (map.values.empty() || map.values.front().empty()) return "";
  const auto rows = shown(map.values.size()), columns = shown(map.values.front().size());
  const double cell = std::min(34.0, kSide / static_cast<double>(std::max(rows.size(), columns.size())));
  const double width = cell * static_cast<double>(columns.size()), height = cell * static_cast<double>(rows.size());
  std::string cells;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t c = 0; c < columns.size(); ++c) {
      const double value = map.values[rows[r]][columns[c]];
      if (!std::isfinite(value)) continue;
      cells +=
          square(kLeft + cell * static_cast<double>(c), kTop + cell * static_cast<double>(r), cell - 1,
                 std::clamp(value, 0.0, 1.0), fmt::format("{}, {}: {}", rows[r] + 1, columns[c] + 1, number(value)));
    }
  }
  const double whole_width = kLeft + std::max(width, 150.0) + 12, whole_height = kTop + height + kBelow;
  return fmt::format(
      "<svg class=\"chart\" role=\"img\" viewBox=\"0 0 {0:.0f} {1:.0f}\" "
      "style=\"max-width:{2:.0f}px\"><title>{3}</title>"
      "<desc>{4} by {5} values from 0 to 1; the last one is {6}.</desc>"
      "<rect class=\"field\" x=\"{7:.1f}\" y=\"{8:.1f}\" width=\"{9:.1f}\" height=\"{10:.1f}\"/>{11}{12}"
      "<text class=\"label\" x=\"4\" y=\"12\">{13}</text><text class=\"label\" x=\"{7:.1f}\" y=\"{14:.1f}\">{15}</text>"
      "{16}</svg>",
      whole_width, whole_height, whole_width * 1.2, escape(map.title), map.values.size(), map.values.front().size(),
      number(map.values.back().back()), kLeft - 0.5, kTop - 0.5, width, height, cells, numbers(rows, columns, cell),
      escape(map.y_label), kTop + height + 34, escape(map.x_label), legend(kLeft + 8, kTop + height + 48));
}

}  // namespace graft
