// The sections of report.html; each returns an empty string when its data is missing.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "report/html.h"

namespace graft {

std::string headline_section(const ReportData& data);
/// Of a generation task: its metrics, and what was written for some prompts.
std::string written_section(const ReportData& data);
std::string samples_section(const ReportData& data);
std::string templates_section(const ReportData& data);
std::string tasks_section(const ReportData& data);
std::string slices_section(const ReportData& data);
std::string training_section(const ReportData& data);
std::string confusion_section(const ReportData& data);
std::string calibration_section(const ReportData& data);
std::string mistakes_section(const ReportData& data);
std::string cost_section(const ReportData& data);
std::string reproducibility_section(const ReportData& data);
std::string commands_section(const ReportData& data);

/// What the held-out examples and those that trained have in common, beside the scores; empty where it is not known.
std::string overlap_note(const ReportData& data);

/// `<dl>` of names and text values; those without a value are left out.
std::string fact_list(const std::vector<std::pair<const char*, std::string>>& facts);

/// A reliability diagram: the share of right answers over their probability, a curve for each name; empty without any.
std::string reliability_figure(std::string_view title,
                               const std::vector<std::pair<std::string, ReportCalibration>>& curves);

struct Page {
  std::string title;   ///< text
  std::string header;  ///< markup, as the sections are
  std::vector<std::pair<const char*, std::string>>
      sections;         ///< by their names in the navigation; empty ones are left out
  std::string version;  ///< of graft
  std::string script;
};

/// A whole page that forbids itself any outside resource.
std::string page(const Page& parts);

/// `<section id="id"><h2>title</h2>body</section>`; title and body are markup. Empty for an empty body.
std::string section(std::string_view id, std::string_view title, std::string_view body);
/// Lines of text cells as a table, the headings the first, no cell broken into lines; the first `names` columns from
/// the left, the others from the right. Empty without a line behind the headings.
std::string text_table(const std::vector<std::vector<std::string>>& lines, std::size_t names);
/// A drawing with its caption; empty for an empty drawing.
std::string figure(std::string_view drawing, std::string_view caption);

/// The page's own style, and the script that sorts and filters the mistakes.
const char* page_css();
const char* page_script();

}  // namespace graft
