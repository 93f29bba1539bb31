#include "report/html.h"

#include <fmt/format.h>

#include "base/progress.h"
#include "report/html_parts.h"
#include "report/markup.h"
#include "report/svg.h"

namespace graft {
namespace {

std::string or_else(const std::string& text, const char* instead) {
  return text.empty() ? instead : text;
}

std::string header(const ReportData& data) {
  return fmt::format(
      "<header><p class=\"brand\">graft report</p><h1>{} <span class=\"on\">on</span> {}</h1>{}</header>",
      escape(or_else(data.model, "Unnamed model")), escape(or_else(data.task, "an unnamed task")),
      fact_list({{"Model", data.model},
                 {"Task", data.task},
                 {"Method", data.method},
                 {"Steps", data.steps > 0 ? grouped(data.steps) : ""},
                 {"Started", data.started}}));
}

std::string navigation(const std::vector<std::pair<const char*, std::string>>& sections) {
  std::string links;
  for (const auto& [name, body] : sections) {
    if (body.empty()) continue;
    const std::size_t start = body.find("id=\"") + 4;
    links += fmt::format("<a href=\"#{}\">{}</a>", body.substr(start, body.find('"', start) - start), name);
  }
  return "<nav aria-label=\"Sections\">" + links + "</nav>";
}

}  // namespace

std::string section(std::string_view id, std::string_view title, std::string_view body) {
  if (body.empty()) return "";
  return fmt::format("<section id=\"{0}\" aria-labelledby=\"{0}-title\"><h2 id=\"{0}-title\">{1}</h2>{2}</section>\n",
                     id, title, body);
}

std::string figure(std::string_view drawing, std::string_view caption) {
  if (drawing.empty()) return "";
  return fmt::format("<figure><figcaption>{}</figcaption><div class=\"scroll\">{}</div></figure>", caption, drawing);
}

std::string text_table(const std::vector<std::vector<std::string>>& lines, std::size_t names) {
  if (lines.size() < 2) return "";
  std::string rows;
  for (const auto& line : lines) {
    const bool first = &line == &lines.front();
    std::string cells;
    for (std::size_t c = 0; c < line.size(); ++c)
      cells += fmt::format("<{0}{1}{2}>{3}</{0}>", first ? "th" : "td", first ? " scope=\"col\"" : "",
                           c < names ? " class=\"nowrap\"" : " class=\"n\"", escape(line[c]));
    rows += first ? "<thead><tr>" + cells + "</tr></thead><tbody>" : "<tr>" + cells + "</tr>";
  }
  return "<div class=\"scroll\"><table>" + rows + "</tbody></table></div>";
}

std::string fact_list(const std::vector<std::pair<const char*, std::string>>& facts) {
  std::string items;
  for (const auto& [name, value] : facts) {
    if (!value.empty()) items += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>", name, escape(value));
  }
  return "<dl class=\"facts\">" + items + "</dl>";
}

std::string page(const Page& parts) {
  std::string body;
  for (const auto& [name, text] : parts.sections) body += text;
  const std::string script = parts.script.empty() ? "" : "<script>\n" + parts.script + "</script>\n";
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
      "script-src 'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n<style>\n{}{}</style>\n</head>\n"
      "<body>\n<main>\n{}{}{}</main>\n<footer>Made by graft {}. This file is complete in itself and needs no "
      "network.</footer>\n{}</body>\n</html>\n",
      escape(parts.title), chart_css(), page_css(), parts.header, navigation(parts.sections), body,
      escape(parts.version), script);
}

std::string render_report(const ReportData& data) {
  return page(
      {or_else(data.model, "Unnamed model") + " on " + or_else(data.task, "an unnamed task") + " – graft report",
       header(data),
       {{"Result", headline_section(data)},
        {"Tasks", tasks_section(data)},
        {"Templates", templates_section(data)},
        {"Slices", slices_section(data)},
        {"Training", training_section(data)},
        {"Confusion", confusion_section(data)},
        {"Calibration", calibration_section(data)},
        {"Samples", samples_section(data)},
        {"Mistakes", mistakes_section(data)},
        {"Cost", cost_section(data)},
        {"Try it", commands_section(data)},
        {"Reproduce", reproducibility_section(data)}},
       data.version,
       page_script()});
}

}  // namespace graft
