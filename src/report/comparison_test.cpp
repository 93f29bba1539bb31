#include "report/comparison.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "report/evaluation.h"
#include "report/markup.h"
#include "report/well_formed.h"

namespace graft {
namespace {

ComparisonReport two_tasks() {
  ComparisonReport report;
  report.model = "tiny & co";
  report.seeds = 2;
  report.tasks = {{"rte", "accuracy", true, 0.5}, {"cb", "accuracy", true, 0.3}};
  report.variants = {{"ia3",
                      "ia3",
                      1000,
                      1e-4,
                      1.5,
                      {ReportScore{0.6, 0.55, 0.65}, ReportScore{0.8, 0.7, 0.9}},
                      ReportScore{0.7, 0.625, 0.775}},
                     {"<full>", "full", 10'000'000, 1, 9, {ReportScore{0.7, 0.7, 0.7}, std::nullopt}, std::nullopt}};
  report.runs = {{"rte", "ia3", 0, 0.5, 0.6, "runs/rte.ia3.seed0/report.html", ""},
                 {"cb", "<full>", 1, 0.3, std::nullopt, "", "loss of step 3 is not finite"}};
  return report;
}

TEST(ComparisonPage, ShowsPlotsTableAndRuns) {
  const std::string html = render_comparison(two_tasks());
  EXPECT_EQ(markup_problem(html), "");
  EXPECT_EQ(count(html, "<svg"), 3u) << "the mean and a plot for each task";
  EXPECT_NE(html.find("href=\"runs/rte.ia3.seed0/report.html\""), std::string::npos);
  EXPECT_NE(html.find("loss of step 3 is not finite"), std::string::npos);
  EXPECT_NE(html.find("&lt;full&gt;"), std::string::npos);
  EXPECT_EQ(html.find("<full>"), std::string::npos);
  EXPECT_NE(html.find("70.0%"), std::string::npos) << "the mean of 60 and 80";
  EXPECT_NE(html.find("base model"), std::string::npos);
}

TEST(ComparisonPage, WhatTrainsNothingLiesAcrossThePlots) {
  ComparisonReport report = two_tasks();
  EXPECT_EQ(count(render_comparison(report), "class=\"reference\""), 3u) << "the base model in each";
  report.variants.push_back({"8-shot",
                             "in_context",
                             0,
                             0,
                             0,
                             {ReportScore{0.55, 0.5, 0.6}, ReportScore{0.45, 0.4, 0.5}},
                             ReportScore{0.5, 0.45, 0.55}});
  const std::string html = render_comparison(report);
  EXPECT_EQ(markup_problem(html), "");
  EXPECT_EQ(count(html, "class=\"reference\""), 6u);
  for (const char* part : {"<title>8-shot: 55.0%</title>", "<title>8-shot: 45.0%</title>",
                           "<title>8-shot: 50.0%</title>", "<title>base model: 40.0%</title>"})
    EXPECT_NE(html.find(part), std::string::npos) << part;
  EXPECT_EQ(count(html, ">8-shot</text>"), 3u);
  EXPECT_NE(html.find("<th scope=\"row\" class=\"nowrap\">8-shot</th>"), std::string::npos)
      << "not broken at the hyphen";
  EXPECT_NE(html.find(".nowrap{white-space:nowrap}"), std::string::npos);
}

TEST(ComparisonPage, SaysWhyThereIsNoPlotWhereNothingTrains) {
  const std::string told = "No variant that trains parameters has a score";
  ComparisonReport report = two_tasks();
  EXPECT_EQ(render_comparison(report).find(told), std::string::npos);
  for (auto& variant : report.variants) variant.parameters = 0;
  const std::string html = render_comparison(report);
  EXPECT_EQ(markup_problem(html), "");
  EXPECT_EQ(count(html, "<svg"), 0u);
  EXPECT_EQ(count(html, "grid2 plots"), 0u) << "nothing stands in it";
  EXPECT_EQ(count(html, told + ", so"), 1u);
  report.variants[0].shots = report.variants[1].shots = 16;
  EXPECT_EQ(count(render_comparison(report), told + " with 16 examples a class, so"), 1u);
}

TEST(ComparisonPage, TellsWhatTheQuestionsShareWithTheTuningSetByTask) {
  EXPECT_EQ(render_comparison(two_tasks()).find("share a 13-gram"), std::string::npos);
  ComparisonReport report = two_tasks();
  report.tasks[1].overlap = "2 of <9> held-out examples share a 13-gram with the tuning examples";
  const std::string html = render_comparison(report);
  EXPECT_EQ(markup_problem(html), "");
  EXPECT_NE(html.find("cb: 2 of &lt;9&gt; held-out examples share a 13-gram with the tuning examples."),
            std::string::npos);
}

TEST(ComparisonPage, OneTaskNeedsNoMean) {
  ComparisonReport report = two_tasks();
  report.tasks.pop_back();
  for (auto& variant : report.variants) variant.scores.pop_back();
  report.runs.pop_back();
  const std::string html = render_comparison(report);
  EXPECT_EQ(markup_problem(html), "");
  EXPECT_EQ(count(html, "<svg"), 1u);
  EXPECT_EQ(html.find(">mean<"), std::string::npos);
}

TEST(ComparisonPage, SeveralNumbersOfExamplesMakeALearningCurve) {
  ComparisonReport report = two_tasks();
  report.variants[0].shots = report.variants[1].shots = 4;
  for (std::size_t v = 0; v < 2; ++v) {
    report.variants.push_back(report.variants[v]);
    report.variants.back().shots = 16;
    report.variants.back().scores[0] = ReportScore{0.9, 0.85, 0.95};
  }
  report.runs[0].shots = 16;
  const std::string html = render_comparison(report);
  EXPECT_EQ(markup_problem(html), "");
  EXPECT_EQ(count(html, "<svg"), 5u) << "a curve and a scatter plot for each task, and the mean";
  for (const char* part : {"training examples a class", "class=\"band s0\"", "examples<br>a class", ">16</td>",
                           "ia3, 16 examples a class", "rte: accuracy, 16 examples a class", "<h1>2 variants"})
    EXPECT_NE(html.find(part), std::string::npos) << part;
  EXPECT_EQ(render_comparison(two_tasks()).find("examples a class"), std::string::npos);
  report.shots_in_all = true;
  const std::string in_all = render_comparison(report);
  EXPECT_EQ(in_all.find("a class"), std::string::npos) << "which they are not of";
  for (const char* part : {"ia3, 16 examples<", "rte: accuracy, 16 examples<", ">examples</th>"})
    EXPECT_NE(in_all.find(part), std::string::npos) << part;
}

TEST(ComparisonPage, TellsHowSureItIsAndWhatItTakes) {
  ComparisonReport report = two_tasks();
  EXPECT_TRUE(cost_lines(report).empty());
  EXPECT_EQ(render_comparison(report).find("what it takes"), std::string::npos);
  ComparedCost base{"rte", "", 0, 200, ReportScore{0.5, 0.43, 0.57}, 0.431, 0.569};
  base.seconds = 0.02;
  ComparedCost tuned{"rte", "<full>", 0, 200, ReportScore{0.6, 0.53, 0.67}, 0.531, 0.665};
  tuned.train_seconds = 200;
  tuned.train_flops = 2.5e13;
  ComparedCost shown{"rte", "8-shot", 0, 200, ReportScore{0.55, 0.48, 0.62}, 0.481, 0.617};
  shown.difference = ReportScore{-0.05, -0.1, 0.01};
  shown.mcnemar_p = 0.1234;
  shown.train_seconds = shown.train_flops = 0;
  shown.flops = 2e9;
  shown.flops_alone = 9e10;
  report.costs = {base, tuned, shown};
  const auto lines = cost_lines(report);
  ASSERT_EQ(lines.size(), 4u);
  for (const auto& line : lines) EXPECT_EQ(line.size(), lines.front().size());
  EXPECT_EQ(lines[0], (std::vector<std::string>{"task", "variant", "questions", "accuracy", "Wilson 95%",
                                                "bootstrap 95%", "to the first (95%)", "McNemar p", "training",
                                                "training FLOPs", "s a question", "FLOPs", "alone"}));
  EXPECT_EQ(lines[1], (std::vector<std::string>{"rte", "(base)", "200", "50.0%", "43.1–56.9", "43.0–57.0", "-", "-",
                                                "-", "-", "0.02", "-", "-"}));
  EXPECT_EQ(lines[2][9], si(2.5e13));
  EXPECT_EQ(lines[3],
            (std::vector<std::string>{"rte", "8-shot", "200", "55.0%", "48.1–61.7", "48.0–62.0",
                                      points_text({-0.05, -0.1, 0.01}), "0.123", "0", "0", "-", si(2e9), si(9e10)}));
  const std::string html = render_comparison(report);
  EXPECT_EQ(markup_problem(html), "");
  EXPECT_NE(html.find("How sure it is, and what it takes"), std::string::npos);
  EXPECT_NE(html.find("48.1–61.7"), std::string::npos);
  EXPECT_NE(html.find("<td class=\"nowrap\">8-shot</td>"), std::string::npos);
  report.costs[2].shots = 16;
  EXPECT_EQ(cost_lines(report)[0][2], "shots");
  EXPECT_EQ(cost_lines(report)[3][2], "16");
}

TEST(ComparisonPage, TellsWhatMayMislead) {
  ComparisonReport report = two_tasks();
  report.costs = {{"rte", "", 0, 29, ReportScore{0.5, 0.43, 0.57}, 0.431, 0.569},
                  {"rte", "<full>", 0, 29, ReportScore{0.6, 0.53, 0.67}, 0.531, 0.665},
                  {"cb", "<full>", 0, 30, ReportScore{0.6, 0.53, 0.67}, 0.531, 0.665},
                  {"cb", "32-shot", 0, 30, ReportScore{0.6, 0.53, 0.67}, 0.531, 0.665}};
  report.costs[3].dropped = 2500;
  report.costs[3].lost_questions = 1000;
  const auto notes = cost_notes(report);
  ASSERT_EQ(notes.size(), 2u);
  EXPECT_TRUE(notes[0].starts_with("rte: bootstrap intervals of fewer than 30 questions are too narrow")) << notes[0];
  EXPECT_TRUE(notes[1].starts_with("cb, 32-shot: 1,000 answers stand behind 2.5 demonstrations fewer")) << notes[1];
  const std::string html = render_comparison(report);
  for (const auto& note : notes) EXPECT_NE(html.find(escape(note) + ".</p>"), std::string::npos) << note;
}

TEST(ComparisonPage, WhatDoesNotTrainTakesNoStep) {
  ComparisonReport report = two_tasks();
  report.variants[1].step_seconds = 0;
  EXPECT_EQ(count(render_comparison(report), "<td class=\"n\">–</td></tr>"), 1u);
}

TEST(ComparisonPage, MetricsThatAreNoFractionsKeepTheirUnit) {
  EXPECT_EQ(compared_value({"e2e", "bleu", false, std::nullopt}, 41.267), "41.27");
  EXPECT_EQ(compared_value({"rte", "accuracy", true, std::nullopt}, 0.865), "86.5%");
}

}  // namespace
}  // namespace graft
