#include "report/similarity.h"

#include <fmt/format.h>

#include "report/html_parts.h"
#include "report/markup.h"
#include "report/svg.h"

namespace graft {
namespace {

std::string role_figure(const RoleSimilarity& role) {
  const HeatMap map{fmt::format("Similarity of the updates of {}", role.role), "directions of the second, j",
                    "directions of the first, i", role.grid};
  const double largest =
      static_cast<double>(std::max(role.grid.size(), role.grid.empty() ? 0 : role.grid.front().size()));
  return figure(draw(map), fmt::format("{}: mean over {} maps; random updates have {} at the last corner",
                                       escape(role.role), role.maps, number(largest / static_cast<double>(role.in))));
}

std::string result_section(const SimilarityReport& report) {
  std::string body =
      "<p class=\"note\">φ(i, j): how much of the space of the i strongest input directions of one update lies in that "
      "of the j strongest of the other; 1 where the smaller lies in the larger (Hu et al. 2021, section 7.2).</p>"
      "<div class=\"grid2 plots\">";
  for (const auto& role : report.roles) body += role_figure(role);
  return section("result", "By role", body + "</div>");
}

std::string table_section(const SimilarityReport& report) {
  std::string rows;
  for (const auto& site : report.sites) {
    rows += fmt::format(
        "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
        escape(site.site), number(site.first), number(site.whole), number(site.chance));
  }
  if (rows.empty()) return "";
  return section("maps", "By map",
                 "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">map</th><th scope=\"col\" "
                 "class=\"n\">strongest direction, φ(1, 1)</th><th scope=\"col\" class=\"n\">all directions</th><th "
                 "scope=\"col\" class=\"n\">random ones</th></tr></thead><tbody>" +
                     rows + "</tbody></table></div>");
}

}  // namespace

std::string render_similarity(const SimilarityReport& report) {
  const std::string header =
      "<header><p class=\"brand\">graft similarity</p><h1>Two LoRA adapters</h1>" +
      fact_list({{"Model", report.model}, {"First, in rows", report.first}, {"Second, in columns", report.second}}) +
      "</header>";
  return page({"graft similarity",
               header,
               {{"By role", result_section(report)}, {"By map", table_section(report)}},
               report.version,
               ""});
}

}  // namespace graft
