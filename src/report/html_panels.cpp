#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/progress.h"
#include "report/html_parts.h"
#include "report/markup.h"

namespace graft {
namespace {

std::string fact(const char* name, const std::string& value, const std::string& detail = "") {
  return fmt::format("<div class=\"tile\"><dt>{}</dt><dd>{}{}</dd></div>", name, value,
                     detail.empty() ? "" : "<small>" + detail + "</small>");
}

std::string small_fraction(double fraction) {
  const double value = 100 * fraction;
  return value >= 0.1 ? fmt::format("{:.2f}%", value) : fmt::format("{:.2g}%", value);
}

std::string tiles(const ReportCost& cost, double seconds) {
  std::string out;
  if (seconds > 0) out += fact("Total time", human_seconds(seconds));
  if (cost.tokens) out += fact("Tokens trained on", grouped(*cost.tokens));
  if (cost.tokens_per_second) out += fact("Training speed", si(*cost.tokens_per_second), "tokens per second");
  if (cost.flops) out += fact("Computation", si(*cost.flops) + "FLOP", "matrix products of training");
  if (cost.adapter_bytes) out += fact("Adapter on disk", human_bytes(static_cast<double>(*cost.adapter_bytes)));
  if (cost.adapter_parameters) {
    const bool share = cost.base_parameters && *cost.base_parameters > 0;
    out += fact("Trained parameters", grouped(*cost.adapter_parameters),
                share ? fmt::format("{} of {}",
                                    small_fraction(static_cast<double>(*cost.adapter_parameters) /
                                                   static_cast<double>(*cost.base_parameters)),
                                    si(static_cast<double>(*cost.base_parameters)))
                      : "");
  }
  if (cost.peak_memory_bytes) out += fact("Peak memory", human_bytes(static_cast<double>(*cost.peak_memory_bytes)));
  return out.empty() ? "" : "<dl class=\"tiles\">" + out + "</dl>";
}

std::string phases(const ReportCost& cost, double total) {
  if (!(total > 0)) return "";
  std::string rows;
  for (const auto& [name, seconds] : cost.seconds) {
    const double share = std::isfinite(seconds) ? std::clamp(seconds / total, 0.0, 1.0) : 0;
    rows += fmt::format(
        "<tr><th scope=\"row\">{}</th><td class=\"share\"><span class=\"track\"><i class=\"fill\" "
        "style=\"width:{:.1f}%\">"
        "</i></span></td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
        escape(name), 100 * share, std::isfinite(seconds) ? human_seconds(seconds) : "–", percent(share, 0));
  }
  return "<div class=\"scroll\"><table class=\"phases\"><caption>Time by phase</caption><tbody>" + rows +
         "</tbody></table></div>";
}

}  // namespace

std::string cost_section(const ReportData& data) {
  double seconds = 0;
  for (const auto& [name, value] : data.cost.seconds) seconds += std::isfinite(value) ? std::max(0.0, value) : 0;
  return section("cost", "Cost", tiles(data.cost, seconds) + phases(data.cost, seconds));
}

std::string reproducibility_section(const ReportData& data) {
  std::string rows;
  for (const auto& [name, value] : data.reproducibility) {
    rows += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
  }
  std::string body;
  if (!rows.empty()) body += "<dl class=\"rows\">" + rows + "</dl>";
  if (!data.config.empty()) {
    body += "<details class=\"config\"><summary>Resolved configuration</summary><pre><code>" + escape(data.config) +
            "</code></pre></details>";
  }
  return section("reproduce", "Reproducibility", body);
}

std::string commands_section(const ReportData& data) {
  std::string items;
  for (const ReportCommand& command : data.commands) {
    items += fmt::format("<div class=\"command\"><p>{}</p><pre><code>{}</code></pre></div>", escape(command.about),
                         escape(command.line));
  }
  return section("next", "Try it", items);
}

}  // namespace graft
