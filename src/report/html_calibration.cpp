#include <fmt/format.h>

#include "report/html_parts.h"
#include "report/markup.h"
#include "report/svg.h"

namespace graft {
namespace {

std::string row(const char* name, const std::optional<ReportCalibration>& calibration) {
  if (!calibration) return "";
  return fmt::format("<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>", name,
                     percent(calibration->error), number(calibration->brier));
}

}  // namespace

std::string reliability_figure(std::string_view title,
                               const std::vector<std::pair<std::string, ReportCalibration>>& curves) {
  LineChart chart;
  chart.title = fmt::format("{}: share of right answers by their probability", title);
  chart.x_label = "probability of the answer";
  chart.y_label = "right";
  chart.percent = true;
  for (const auto& [name, calibration] : curves) {
    Series series{name, {}, false, true};
    for (const auto& bin : calibration.bins) {
      if (bin.count > 0) series.points.push_back({bin.confidence, bin.accuracy});
    }
    chart.series.push_back(std::move(series));
  }
  if (chart.series.empty()) return "";
  chart.series.push_back({"as right as sure", {{0, 0}, {1, 1}}, false, false});
  return figure(draw(chart), "Reliability: right answers by their probability");
}

std::string calibration_section(const ReportData& data) {
  std::vector<std::pair<std::string, ReportCalibration>> curves;
  if (data.calibration_after) curves.emplace_back("after", *data.calibration_after);
  if (data.calibration_before) curves.emplace_back("before", *data.calibration_before);
  const std::string drawing = reliability_figure("Held-out examples", curves);
  if (drawing.empty()) return "";
  return section(
      "calibration", "Calibration",
      "<p class=\"note\">Whether answers of a probability of 80% are right 80 times in 100. The expected calibration "
      "error is the mean distance from the diagonal, weighted by answers; Brier's score is the squared distance of all "
      "probabilities from the truth (spread evenly over the choices that are right), 0 to 2. Lower is better.</p><div "
      "class=\"grid2\">" +
          drawing +
          "<div class=\"scroll\"><table><thead><tr><th scope=\"col\"></th><th scope=\"col\" class=\"n\">Expected "
          "calibration error</th><th scope=\"col\" class=\"n\">Brier's score</th></tr></thead><tbody>" +
          row("Before", data.calibration_before) + row("After", data.calibration_after) +
          "</tbody></table></div></div>");
}

}  // namespace graft
