#include "report/evaluation.h"

#include <gtest/gtest.h>

#include "report/well_formed.h"

namespace graft {
namespace {

EvaluatedRow row(const std::string& name, std::int64_t shots, double accuracy) {
  EvaluatedRow made;
  made.name = name;
  made.shots = shots;
  made.accuracy = {accuracy, accuracy - 0.05, accuracy + 0.05};
  made.wilson_low = accuracy - 0.06;
  made.wilson_high = accuracy + 0.06;
  made.metrics = {{accuracy - 0.1, accuracy - 0.2, accuracy}};
  made.seconds = 0.02;
  made.flops_shared = 1.5e9;
  made.flops_alone = 2.5e9;
  return made;
}

EvaluationReport report() {
  EvaluatedTask task;
  task.name = "rte & <more>";
  task.examples = 1277;
  task.chance = 0.5;
  task.runs = "3 seeds";
  task.metrics = {"macro_f1"};
  task.rows = {row("0-shot", 0, 0.5), row("1-shot", 1, 0.55), row("8-shot", 8, 0.6), row("runs/<rte> (ia3)", 0, 0.7)};
  task.rows[1].spread = ReportScore{0.54, 0.52, 0.56};
  task.rows[2].difference = EvaluatedDifference{{0.1, -0.01, 0.21}, 0.08, 0.0004, 12, 34};
  task.rows[2].dropped = 1234;
  task.rows[3].adapter = task.rows[3].name;
  task.rows[3].cut = 7;
  task.notes = {"2 of 9 rows <repeat>"};
  EvaluationReport made;
  made.model = "tiny & co";
  made.version = "0";
  made.tasks = {task};
  made.commands = {{"The same again", "graft eval --task 'a b'"}};
  made.reproducibility = {{"base weights", "sha256 abc"}};
  return made;
}

TEST(EvaluationPage, ShowsEverySettingWithIntervalsAndTests) {
  const std::string html = render_evaluation(report());
  EXPECT_EQ(markup_problem(html), "");
  EXPECT_EQ(count(html, "<svg"), 2u) << "bars, and a curve over three numbers of demonstrations";
  EXPECT_NE(html.find("class=\"band s0\""), std::string::npos) << "from quartile to quartile";
  for (const char* part : {"8-shot", "+10.0 (−1.0 to +21.0)", "&lt;0.001", "12:34", "over 3 seeds", "macro_f1",
                           "1,234 demonstrations did not fit", "7 prompts alone are too long", "1.5 G", "2.5 G",
                           "sha256 abc", "&lt;repeat&gt;", "1,277 questions, 50.0% by chance"})
    EXPECT_NE(html.find(part), std::string::npos) << part;
  EXPECT_EQ(html.find("<rte>"), std::string::npos);
  EXPECT_EQ(html.find("<more>"), std::string::npos);
}

TEST(EvaluationPage, TextsThatWereWrittenAreShown) {
  EvaluationReport made = report();
  EvaluatedTask& task = made.tasks[0];
  task.text_metric = "bleu";
  task.rows[1].text_difference = EvaluatedTextDifference{{1.5, -0.25, 3}, 0.02};
  task.texts = {{"Name: <x>", "test.txt:3", {"a reference", "another"}, {"zero", "<one>", "eight", "tuned"}}};
  const std::string html = render_evaluation(made);
  EXPECT_EQ(markup_problem(html), "");
  for (const char* part : {"bleu<br>difference", "+1.5 (−0.25 to +3)", "Texts that were written", "Name: &lt;x&gt;",
                           "<li>another</li>", "<td>&lt;one&gt;</td>"})
    EXPECT_NE(html.find(part), std::string::npos) << part;
  EXPECT_EQ(render_evaluation(report()).find("Texts that were written"), std::string::npos);
}

TEST(EvaluationPage, DrawingsOfTextsAreOfTheirFirstMetric) {
  EvaluationReport made = report();
  EvaluatedTask& task = made.tasks[0];
  EXPECT_EQ(drawn_metric(task), "accuracy");
  task.chance = 0;
  task.percent = false;
  task.metrics = {"bleu"};
  task.text_metric = "bleu";
  for (auto& row : task.rows) row.metrics = {{12.5, 11, 14}};
  task.rows[1].text_spread = ReportScore{13.5, 13, 13.75};
  EXPECT_EQ(drawn_metric(task), "bleu");
  ASSERT_TRUE(score_of(task, task.rows[0], "bleu").has_value());
  EXPECT_EQ(score_of(task, task.rows[0], "bleu")->value, 12.5);
  EXPECT_EQ(score_of(task, task.rows[0], "accuracy")->value, 0.5);
  EXPECT_FALSE(score_of(task, task.rows[0], "ter").has_value());
  Series series;
  add_over_runs(series, task, task.rows[1], "bleu");
  add_over_runs(series, task, task.rows[1], "ter");
  ASSERT_EQ(series.points.size(), 1u);
  EXPECT_EQ(series.points[0].y, 13.5) << "the median";
  EXPECT_EQ(series.band[0].second, 13.75);
  const std::string html = render_evaluation(made);
  EXPECT_EQ(markup_problem(html), "");
  for (const char* part : {"bleu, 95% bootstrap intervals over the examples", "12.5 (11 to 14)",
                           "bleu by the number of demonstrations: median over 3 seeds, with quartiles"})
    EXPECT_NE(html.find(part), std::string::npos) << part;
}

TEST(EvaluationPage, MetricsAreComparedInATable) {
  EvaluationReport made = report();
  EvaluatedTask& task = made.tasks[0];
  task.metrics = {"macro_f1", "choice_entropy"};
  for (auto& row : task.rows) row.metrics = {{0.5, 0.25, 0.75}, {0.75, 0.5, 1}};
  EXPECT_TRUE(metric_lines(task).empty()) << "as a folder of an earlier version tells it";
  for (auto& row : task.rows) row.further.resize(2);
  EXPECT_TRUE(metric_lines(task).empty());
  task.rows[1].further[0] = {ReportScore{0.625, 0.5, 0.75}, std::nullopt,
                             EvaluatedTextDifference{{0.125, -0.25, 0.5}, 0.25}};
  task.rows[2].further[1].difference = EvaluatedTextDifference{{-0.5, -0.75, 0.25}, 0.0001};
  using Line = std::vector<std::string>;
  const auto lines = metric_lines(task);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0], (Line{"metric", "setting", "difference (95%)", "p", "median (quartiles) over 3 seeds"}));
  EXPECT_EQ(lines[1], (Line{"macro_f1", "1-shot", points_text({0.125, -0.25, 0.5}), "0.250", "62.5% (50.0–75.0)"}));
  EXPECT_EQ(lines[2], (Line{"choice_entropy", "8-shot", "−0.5 (−0.75 to +0.25)", "<0.001", "-"})) << "in bits";
  const std::string html = render_evaluation(made);
  EXPECT_EQ(markup_problem(html), "");
  EXPECT_NE(html.find("Metrics side by side"), std::string::npos);
  Series series;
  add_over_runs(series, task, task.rows[1], "macro_f1");
  ASSERT_EQ(series.points.size(), 1u);
  EXPECT_EQ(series.points[0].y, 0.625) << "the median";
  EXPECT_EQ(series.band[0].first, 0.5);
}

TEST(EvaluationPage, SlicesAreTablesByField) {
  EvaluationReport made = report();
  EvaluatedTask& task = made.tasks[0];
  const std::vector<EvaluatedSliceScore> scores(4, {{0.25, 0.125, 0.5}, std::nullopt});
  task.slices = {{"<gender>", "female", 0, 1200, scores},
                 {"<gender>", "", 0, 70, scores},
                 {"<gender>", "", 3, 7, scores},
                 {"place", "here", 0, 1277, scores}};
  EXPECT_EQ(sliced_fields(task), (std::vector<std::string>{"<gender>", "place"}));
  using Line = std::vector<std::string>;
  const auto lines = slice_lines(task, "<gender>");
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[0], (Line{"<gender>", "questions", "0-shot", "1-shot", "8-shot", "runs/<rte> (ia3)"}));
  EXPECT_EQ(lines[1][0], "female");
  EXPECT_EQ(lines[1][1], "1,200");
  EXPECT_EQ(lines[1][2], "25.0% (12.5–50.0)");
  EXPECT_EQ(lines[2][0], "(none)");
  EXPECT_EQ(slice_name("two\nlines\x1b[2J", 0), "two lines [2J") << "a cell, whatever a row says";
  EXPECT_EQ(lines[3][0], "3 other values");
  const std::string html = render_evaluation(made);
  EXPECT_EQ(markup_problem(html), "");
  for (const char* part : {"<h3>By &lt;gender&gt;</h3>", "<h3>By place</h3>", "3 other values", "25.0% (12.5–50.0)"})
    EXPECT_NE(html.find(part), std::string::npos) << part;
  task.text_metric = "bleu";
  for (auto& slice : task.slices) slice.rows[0].metric = ReportScore{31.5, 30, 33};
  const auto written = slice_lines(task, "place");
  EXPECT_EQ(written[0][2], "0-shot accuracy");
  EXPECT_EQ(written[0][3], "0-shot bleu");
  EXPECT_EQ(written[1][3], "31.5 (30–33)");
  EXPECT_EQ(written[1][5], "-");
}

TEST(EvaluationPage, PartsAreTablesBehindTheSlices) {
  EvaluationReport made = report();
  EvaluatedTask& task = made.tasks[0];
  const std::vector<EvaluatedSliceScore> scores(4, {{0.25, 0.125, 0.5}, std::nullopt});
  task.slices = {{"place", "here", 0, 1277, scores}};
  task.parts = {{"prompt template", "first", 0, 1277, scores},
                {"prompt template", "second", 0, 1277, scores},
                {"13-gram shared with <a>", "no", 0, 1200, scores},
                {"13-gram shared with <a>", "yes", 0, 77, scores}};
  EXPECT_EQ(part_fields(task), (std::vector<std::string>{"prompt template", "13-gram shared with <a>"}));
  EXPECT_EQ(sliced_fields(task), (std::vector<std::string>{"place", "prompt template", "13-gram shared with <a>"}));
  const auto lines = slice_lines(task, "13-gram shared with <a>");
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[2][0], "yes");
  EXPECT_EQ(lines[2][1], "77");
  const std::string html = render_evaluation(made);
  EXPECT_EQ(markup_problem(html), "");
  for (const char* part : {"<h3>By place</h3>", "<h3>By prompt template</h3>", "By 13-gram shared with &lt;a&gt;"})
    EXPECT_NE(html.find(part), std::string::npos) << part;
}

TEST(EvaluationPage, CalibrationAndOrdersHaveColumnsAndDrawings) {
  EvaluationReport made = report();
  auto& rows = made.tasks[0].rows;
  ReportCalibration calibration{0.125, 0.4375, std::vector<ReportCalibration::Bin>(15)};
  calibration.bins[9] = {30, 0.62, 0.75};
  rows[2].calibration = calibration;
  rows[2].orders = ReportScore{0.6, 0.41, 0.73};
  rows.insert(rows.begin() + 3, rows[2]);
  rows[3].name = "8-shot calibrated";
  rows[3].calibrated = true;
  const std::string html = render_evaluation(made);
  EXPECT_EQ(markup_problem(html), "");
  EXPECT_EQ(count(html, "<svg"), 3u) << "and a reliability diagram";
  for (const char* part :
       {"ECE", "12.5%", "0.438", "over orders", "41.0%–73.0%", "8-shot calibrated", "as right as sure", "0.62: 0.75"})
    EXPECT_NE(html.find(part), std::string::npos) << part;
  const std::string curve = html.substr(html.find("Accuracy by the number of demonstrations"));
  EXPECT_NE(curve.find(">calibrated</text>"), std::string::npos);
}

TEST(EvaluationPage, OneRunNeedsNoSpread) {
  EvaluationReport one = report();
  one.tasks[0].runs.clear();
  one.tasks[0].rows.resize(2);
  const std::string html = render_evaluation(one);
  EXPECT_EQ(markup_problem(html), "");
  EXPECT_EQ(html.find("median, quartiles"), std::string::npos);
  EXPECT_EQ(count(html, "<svg"), 1u);
}

TEST(EvaluationPage, TextsHaveNoChanceAndNoPercent) {
  EvaluationReport texts = report();
  texts.tasks[0].chance = 0;
  texts.tasks[0].percent = false;
  texts.tasks[0].metrics = {"token_perplexity"};
  for (auto& row : texts.tasks[0].rows) row.metrics = {{12.5, 11.25, 14}};
  const std::string html = render_evaluation(texts);
  EXPECT_EQ(markup_problem(html), "");
  EXPECT_NE(html.find("right where greedy decoding begins with a reference"), std::string::npos);
  EXPECT_NE(html.find("12.5 <small>11.25–14</small>"), std::string::npos);
  EXPECT_EQ(html.find("chance"), std::string::npos);
}

TEST(EvaluationPage, SeveralTasksHaveATableOfAll) {
  EvaluationReport two = report();
  EXPECT_TRUE(overview_of(two.tasks).empty()) << "one task has its own table";
  two.tasks.push_back(two.tasks[0]);
  EvaluatedTask& other = two.tasks[1];
  other.name = "cb";
  other.rows = {row("0-shot", 0, 0.6), row("8-shot", 8, 0.9), row("runs/cb (ia3)", 0, 0.9)};
  other.rows[2].adapter = other.rows[2].name;
  other.rows[2].seconds = 0.04;
  const auto lines = overview_of(two.tasks);
  ASSERT_EQ(lines.size(), 1u + 4 + 3 + 3) << "headings, both tasks, and the means";
  for (const auto& line : lines) EXPECT_EQ(line.size(), lines[0].size());
  using Line = std::vector<std::string>;
  EXPECT_EQ(lines[3],
            (Line{"rte & <more>", "8-shot", "60.0%", "54.0–66.0", "+10.0 (−1.0 to +21.0)", "0.080", "0.02", "1.5 G"}));
  EXPECT_EQ(lines[8], (Line{"mean of 2", "0-shot", "55.0%", "-", "-", "-", "0.02", "1.5 G"}));
  EXPECT_EQ(lines[9][1], "8-shot") << "no mean where a task has no such row";
  EXPECT_EQ(lines[10], (Line{"mean of 2", "adapted", "80.0%", "-", "-", "-", "0.03", "1.5 G"}));
  const std::string html = render_evaluation(two);
  EXPECT_EQ(markup_problem(html), "");
  EXPECT_NE(html.find("<h2 id=\"overview-title\">All tasks</h2>"), std::string::npos);
  EXPECT_NE(html.find("mean of 2"), std::string::npos);
  other.percent = false;
  EXPECT_EQ(overview_of(two.tasks).size(), 8u) << "texts and choices have no mean";
}

TEST(EvaluationPage, AnAdapterForAllTasksHasItsMeanOnce) {
  EvaluationReport two = report();
  two.tasks.push_back(two.tasks[0]);
  const auto lines = overview_of(two.tasks);
  ASSERT_EQ(lines.size(), 1u + 4 + 4 + 4);
  EXPECT_EQ(lines.back()[1], "runs/<rte> (ia3)");
}

TEST(EvaluationPage, AdaptersBehindDemonstrationsHaveAMeanAsThose) {
  EvaluationReport two = report();
  two.tasks.push_back(two.tasks[0]);
  const char* const names[] = {"runs/rte (ia3)", "runs/cb (ia3)"};
  for (std::size_t t = 0; t < 2; ++t) {
    const std::string adapter = names[t];
    two.tasks[t].rows = {row("0-shot", 0, 0.5), row("8-shot a class", 8, 0.6), row(adapter, 0, 0.7),
                         row(adapter + ", 8-shot a class", 8, t == 0 ? 0.75 : 0.85)};
    for (const std::size_t r : {2u, 3u}) two.tasks[t].rows[r].adapter = adapter;
  }
  const auto lines = overview_of(two.tasks);
  ASSERT_EQ(lines.size(), 1u + 4 + 4 + 4);
  EXPECT_EQ(lines[11][1], "adapted");
  EXPECT_EQ(lines[11][2], "70.0%");
  EXPECT_EQ(lines[12][1], "adapted, 8-shot a class");
  EXPECT_EQ(lines[12][2], "80.0%");
}

TEST(EvaluationPage, AnAdapterBehindDemonstrationsHasACurve) {
  EvaluationReport made = report();
  EvaluatedTask& task = made.tasks[0];
  const auto across = adapter_curves(task, "accuracy");
  ASSERT_EQ(across.size(), 1u);
  EXPECT_EQ(across[0].points.size(), 1u);
  EXPECT_EQ(count(render_evaluation(made), "class=\"band"), 1u) << "that of the base model";
  task.rows.push_back(row("runs/<rte> (ia3), 8-shot", 8, 0.8));
  task.rows.push_back(row("runs/b (lora)", 0, 0.65));
  task.rows[4].adapter = task.rows[3].name;
  task.rows[4].spread = ReportScore{0.82, 0.78, 0.84};
  task.rows[5].adapter = task.rows[5].name;
  const auto curves = adapter_curves(task, "accuracy");
  ASSERT_EQ(curves.size(), 2u);
  EXPECT_EQ(curves[0].name, "runs/<rte> (ia3)");
  ASSERT_EQ(curves[0].points.size(), 2u);
  EXPECT_EQ(curves[0].points[0].x, 0);
  EXPECT_EQ(curves[0].points[0].y, 0.7);
  EXPECT_EQ(curves[0].points[1].x, 8);
  EXPECT_EQ(curves[0].points[1].y, 0.82) << "the median";
  EXPECT_EQ(curves[1].points.size(), 1u);
  const std::string html = render_evaluation(made);
  EXPECT_EQ(markup_problem(html), "");
  EXPECT_EQ(count(html, "class=\"band"), 2u);
}

TEST(EvaluationPage, EntropiesAreNoPercentages) {
  EvaluationReport bits = report();
  EXPECT_TRUE(in_percent(bits.tasks[0], "macro_f1"));
  bits.tasks[0].metrics = {"choice_entropy"};
  EXPECT_FALSE(in_percent(bits.tasks[0], "choice_entropy"));
  for (auto& row : bits.tasks[0].rows) row.metrics = {{0.875, 0.75, 0.9375}};
  const std::string html = render_evaluation(bits);
  EXPECT_NE(html.find("0.875 <small>0.75–0.9375</small>"), std::string::npos);
}

TEST(EvaluationPage, SmallProbabilitiesAreNotZero) {
  EXPECT_EQ(p_value_text(0.0344), "0.034");
  EXPECT_EQ(p_value_text(0.00004), "<0.001");
  EXPECT_EQ(p_value_text(1), "1.000");
  EXPECT_EQ(points_text({0.045, -0.01, 0.099}), "+4.5 (−1.0 to +9.9)");
}

}  // namespace
}  // namespace graft
