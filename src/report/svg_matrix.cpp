#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "report/markup.h"
#include "report/svg.h"

namespace graft {
namespace {

constexpr std::size_t kCountedClasses = 12;
constexpr std::size_t kLabelCharacters = 24;
constexpr double kStrongest = 0.75;  // text stays readable on the strongest cell, in light and dark

/// Sizes in drawing units, chosen so that the labels never overlap.
struct Layout {
  std::size_t classes;
  double cell;
  double font;
  double labels;
  bool counts;
};

std::string label_of(const ConfusionChart& matrix, std::size_t index) {
  return index < matrix.labels.size() ? matrix.labels[index] : std::to_string(index);
}

std::int64_t count_at(const ConfusionChart& matrix, std::size_t truth, std::size_t prediction) {
  const auto& row = matrix.counts[truth];
  return prediction < row.size() ? row[prediction] : 0;
}

Layout layout_of(const ConfusionChart& matrix) {
  const std::size_t classes = matrix.counts.size();
  const bool counts = classes <= kCountedClasses;
  const double cell = counts ? std::clamp(330.0 / static_cast<double>(classes), 34.0, 56.0) : classes <= 30 ? 20 : 11;
  const double font = counts ? 12 : classes <= 30 ? 11 : 9;
  std::size_t longest = 1;
  for (std::size_t i = 0; i < classes; ++i) longest = std::max(longest, shown_characters(label_of(matrix, i)));
  const double text = font * 0.62 * static_cast<double>(std::min(longest, kLabelCharacters)) + 12;
  return {classes, cell, font, std::max(text, 84.0), counts};  // room for the two words in the corner
}

std::string cell(const ConfusionChart& matrix, const Layout& layout, std::size_t truth, std::size_t prediction,
                 std::int64_t total) {
  const std::int64_t count = count_at(matrix, truth, prediction);
  if (count <= 0) return "";
  const double share = static_cast<double>(count) / static_cast<double>(total);
  const double x = layout.labels + layout.cell * static_cast<double>(prediction);
  const double y = layout.labels + layout.cell * static_cast<double>(truth);
  // A floor of colour, so that one mistake among hundreds is still seen.
  const double opacity = kStrongest * (0.12 + 0.88 * std::sqrt(share));
  std::string out = fmt::format(
      "<rect class=\"{}\" fill-opacity=\"{:.2f}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\">"
      "<title>{} → {}: {} ({})</title></rect>",
      truth == prediction ? "hit" : "miss", opacity, x, y, layout.cell - 1, layout.cell - 1,
      escape(label_of(matrix, truth)), escape(label_of(matrix, prediction)), count, percent(share));
  if (layout.counts) {
    out += fmt::format("<text class=\"cell\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", x + layout.cell / 2 - 0.5,
                       y + layout.cell / 2 + 4, count < 10000 ? std::to_string(count) : si(static_cast<double>(count)));
  }
  return out;
}

/// Lines that lead the eye from a far cell back to its labels.
std::string guides(const Layout& layout) {
  std::string out;
  const double end = layout.labels + layout.cell * static_cast<double>(layout.classes);
  for (std::size_t i = 5; !layout.counts && i < layout.classes; i += 5) {
    const double at = layout.labels + layout.cell * static_cast<double>(i) - 0.5;
    out += fmt::format("<path class=\"grid\" d=\"M{0:.1f} {1:.1f}V{2:.1f}M{1:.1f} {0:.1f}H{2:.1f}\"/>", at,
                       layout.labels, end);
  }
  return out;
}

std::string labels(const ConfusionChart& matrix, const Layout& layout) {
  std::string out;
  for (std::size_t i = 0; i < layout.classes; ++i) {
    const std::string text = escape(excerpt_middle(label_of(matrix, i), kLabelCharacters));
    const double middle = layout.labels + layout.cell * (static_cast<double>(i) + 0.5);
    out += fmt::format("<text class=\"name end\" font-size=\"{:.1f}\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>", layout.font,
                       layout.labels - 7, middle + layout.font * 0.35, text);
    out += fmt::format(
        "<text class=\"name\" font-size=\"{0:.1f}\" transform=\"translate({1:.1f} {2:.1f}) rotate(-90)\">{3}</text>",
        layout.font, middle + layout.font * 0.35, layout.labels - 7, text);
  }
  return out;
}

}  // namespace

std::string draw(const ConfusionChart& matrix) {
  if (matrix.counts.empty()) return "";
  const Layout layout = layout_of(matrix);
  const double side = layout.cell * static_cast<double>(layout.classes);
  std::string body =
      fmt::format("<rect class=\"field\" x=\"{0:.1f}\" y=\"{0:.1f}\" width=\"{1:.1f}\" height=\"{1:.1f}\"/>",
                  layout.labels - 0.5, side);
  body += guides(layout);
  std::int64_t hits = 0;
  std::int64_t examples = 0;
  for (std::size_t truth = 0; truth < layout.classes; ++truth) {
    std::int64_t total = 0;
    for (std::size_t prediction = 0; prediction < layout.classes; ++prediction) {
      total += std::max<std::int64_t>(0, count_at(matrix, truth, prediction));
    }
    examples += total;
    hits += std::max<std::int64_t>(0, count_at(matrix, truth, truth));
    for (std::size_t prediction = 0; prediction < layout.classes; ++prediction) {
      body += cell(matrix, layout, truth, prediction, total);
    }
  }
  const double extent = layout.labels + side + 2;
  // Large matrices keep their size and scroll; small ones shrink with the page.
  return fmt::format(
      "<svg class=\"chart{}\" role=\"img\" viewBox=\"0 0 {:.0f} {:.0f}\" "
      "style=\"max-width:{:.0f}px{}\"><title>{}</title>"
      "<desc>{} classes, rows are the truth, columns the prediction; {} of {} examples on the diagonal.</desc>{}{}"
      "<text class=\"tick end\" x=\"{:.1f}\" y=\"12\">prediction →</text><text class=\"tick\" x=\"2\" "
      "y=\"{:.1f}\">truth ↓</text></svg>",
      layout.counts ? "" : " large", extent, extent + 0.0, extent * (layout.counts ? 1.15 : 1.0),
      layout.counts ? "" : fmt::format(";min-width:{:.0f}px", extent), escape(matrix.title), layout.classes, hits,
      examples, body, labels(matrix, layout), layout.labels - 7, layout.labels - 7);
}

}  // namespace graft
