// The report of a generation task: its metrics, and samples of what was written.
#include <fmt/format.h>

#include "base/progress.h"
#include "report/html_parts.h"
#include "report/markup.h"

namespace graft {
namespace {

std::string references_of(const ReportSample& sample) {
  std::string items;
  for (const auto& reference : sample.references) items += "<li>" + escape(reference) + "</li>";
  return "<ul>" + items + "</ul>";
}

}  // namespace

std::string written_section(const ReportData& data) {
  std::string rows;
  for (const ReportTextScore& score : data.text_scores) {
    rows += fmt::format(
        "<tr><th scope=\"row\">{}</th><td class=\"n\">{:.4g}</td><td class=\"n\">{:.4g}</td><td>{}</td></tr>",
        escape(score.metric), score.before, score.after, escape(score.unit));
  }
  return section(
      "result", "Result",
      fmt::format("<p class=\"note\">What the model wrote for {} held-out prompt{}, against the references of each.</p>"
                  "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">Metric</th><th scope=\"col\" "
                  "class=\"n\">Before</th><th scope=\"col\" class=\"n\">After</th><th scope=\"col\">Range</th></tr>"
                  "</thead><tbody>{}</tbody></table></div>",
                  grouped(data.prompts), data.prompts == 1 ? "" : "s", rows) +
          overlap_note(data));
}

std::string samples_section(const ReportData& data) {
  std::string body;
  for (const ReportSample& sample : data.samples) {
    body += fmt::format("<tr><td><p>{}</p><p class=\"note\">{}</p></td><td>{}</td><td>{}</td><td>{}</td></tr>",
                        escape(sample.prompt), escape(sample.where), escape(sample.before), escape(sample.after),
                        references_of(sample));
  }
  if (body.empty()) return "";
  return section(
      "samples", "Samples",
      "<p class=\"note\">The first held-out prompts; predictions.jsonl has them all.</p><div class=\"scroll\">"
      "<table><thead><tr><th scope=\"col\">Prompt</th><th scope=\"col\">Before</th><th "
      "scope=\"col\">After</th><th scope=\"col\">References</th></tr></thead><tbody>" +
          body + "</tbody></table></div>");
}

}  // namespace graft
