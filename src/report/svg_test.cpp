#include "report/svg.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "report/well_formed.h"

namespace graft {
namespace {

constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();

TEST(NiceTicks, CoverTheRangeInRoundSteps) {
  EXPECT_EQ(nice_ticks(0, 10, 6), (std::vector<double>{0, 5, 10}));
  EXPECT_EQ(nice_ticks(1, 60, 7), (std::vector<double>{0, 20, 40, 60}));
  for (double low : {-3.7, 0.0, 1e-9, 12345.6}) {
    for (double span : {1e-6, 0.3, 7.0, 1e9}) {
      for (int at_most : {3, 4, 6, 9}) {
        const auto ticks = nice_ticks(low, low + span, at_most);
        ASSERT_GE(ticks.size(), 2u);
        EXPECT_LE(ticks.size(), static_cast<std::size_t>(at_most)) << low << " " << span;
        EXPECT_LE(ticks.front(), low + 1e-6 * span);
        EXPECT_GE(ticks.back(), low + span - 1e-6 * span);
      }
    }
  }
}

TEST(NiceTicks, EndForRangesThatCannotBeCut) {
  EXPECT_EQ(nice_ticks(5, 5).size(), 1u);
  EXPECT_LE(nice_ticks(1e16, 1e16 + 2).size(), 6u);
  EXPECT_LE(nice_ticks(-1e308, 1e308).size(), 6u);
  EXPECT_LE(nice_ticks(0, 5e-324).size(), 6u);
  EXPECT_EQ(nice_ticks(kNoNumber, 1), (std::vector<double>{0, 1}));
  EXPECT_EQ(nice_ticks(2, 1), (std::vector<double>{0, 1}));
}

TEST(Smoothed, AveragesAroundEachPointAndKeepsGaps) {
  const auto out = smoothed({{0, 1}, {1, 4}, {2, 1}, {3, kNoNumber}, {4, 3}}, 1);
  EXPECT_EQ(out[0].y, 1);  // ends are themselves
  EXPECT_EQ(out[1].y, 2);
  EXPECT_EQ(out[2].y, 2.5);  // the gap does not count
  EXPECT_TRUE(std::isnan(out[3].y));
  EXPECT_EQ(out[4].y, 3);
  EXPECT_TRUE(smoothed({}, 3).empty());
}

TEST(LineChart, DrawsAxesLegendAndText) {
  LineChart chart;
  chart.title = "Loss & <more>";
  chart.x_label = "step";
  chart.series = {{"a", {{0, 1}, {10, 2}}, false, false}, {"b", {{0, 3}, {10, 1}}, false, true}};
  const std::string svg = draw(chart);
  EXPECT_EQ(markup_problem(svg), "");
  EXPECT_NE(svg.find("Loss &amp; &lt;more&gt;"), std::string::npos);
  EXPECT_NE(svg.find("a goes from 1 at 0 to 2 at 10"), std::string::npos);
  EXPECT_NE(svg.find("class=\"dot s1\""), std::string::npos);
}

TEST(LineChart, StepsHaveWholeTicks) {
  for (const double last : {2.0, 3.0, 4.0, 7.0, 60.0, 1000.0}) {
    LineChart chart;
    chart.whole_x = true;
    chart.series = {{"a", {{1, 1}, {last, 2}}, false, false}};
    const std::string svg = draw(chart);
    std::size_t ticks = 0;
    for (std::size_t at = svg.find("tick middle"); at != std::string::npos; at = svg.find("tick middle", at + 1)) {
      const std::size_t begin = svg.find('>', at) + 1;
      const std::string label = svg.substr(begin, svg.find('<', begin) - begin);
      EXPECT_EQ(label.find('.'), std::string::npos) << label << " of " << last;
      ++ticks;
    }
    EXPECT_GE(ticks, 2u) << last;
  }
}

TEST(LineChart, ALogarithmicAxisHasItsTicksAtThePoints) {
  LineChart chart;
  chart.log_x = true;
  chart.series = {{"a", {{4, 1}, {8, 2}, {16, 3}}, false, true}};
  const std::string svg = draw(chart);
  EXPECT_EQ(markup_problem(svg), "");
  for (const char* label : {">4</text>", ">8</text>", ">16</text>"}) EXPECT_NE(svg.find(label), std::string::npos);
  EXPECT_NE(svg.find("cx=\"283.0\""), std::string::npos) << "8 is in the middle of 4 and 16: " << svg;
  chart.series[0].points = {{0, 1}, {1, 2}, {3, 3}};
  const std::string from_zero = draw(chart);
  EXPECT_NE(from_zero.find("cx=\"283.0\""), std::string::npos) << "by 1 + x: " << from_zero;
  EXPECT_EQ(from_zero.find("nan"), std::string::npos);
  chart.series[0].points.clear();
  for (int x = 1; x <= 200; ++x) chart.series[0].points.push_back({static_cast<double>(x), 1});
  const std::string many = draw(chart);
  std::size_t labels = 0;
  for (std::size_t at = many.find("tick middle"); at != std::string::npos; at = many.find("tick middle", at + 1))
    ++labels;
  EXPECT_LE(labels, 15u) << "they do not overlap";
}

TEST(LineChart, ABandReachesFromLowToHighAndWidensTheAxis) {
  LineChart chart;
  chart.series = {{"a", {{1, 1}, {2, 1}}, false, true, {{0, 5}, {1, 10}}}, {"b", {{1, 1}}, false, true, {{0, 2}}}};
  const std::string svg = draw(chart);
  EXPECT_EQ(markup_problem(svg), "");
  EXPECT_NE(svg.find("<path class=\"band s0\" d=\"M"), std::string::npos);
  EXPECT_EQ(svg.find("band s1"), std::string::npos) << "one point has no area";
  EXPECT_NE(svg.find(">10</text>"), std::string::npos) << "the axis holds the band";
}

TEST(LineChart, NothingToDrawIsNothing) {
  EXPECT_EQ(draw(LineChart{}), "");
  LineChart chart;
  chart.series = {{"a", {{0, kNoNumber}, {1, kNoNumber}}, true, true}};
  EXPECT_EQ(draw(chart), "");
  EXPECT_EQ(draw(IntervalChart{}), "");
  EXPECT_EQ(draw(ConfusionChart{}), "");
}

TEST(LineChart, AGapLiftsThePen) {
  LineChart chart;
  chart.series = {{"a", {{0, 1}, {1, 2}, {2, kNoNumber}, {3, 2}, {4, 1}}, false, false}};
  const std::string svg = draw(chart);
  const std::string path = svg.substr(svg.find("d=\"M"), 100);
  EXPECT_NE(path.find('M', 5), std::string::npos) << path;
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

TEST(LineChart, OnePointAndOneValueAreVisible) {
  LineChart chart;
  chart.series = {{"a", {{5, 0.25}}, true, false}};
  EXPECT_NE(draw(chart).find("<circle"), std::string::npos);
  chart.series = {{"a", {{1, 2}, {2, 2}, {3, 2}}, false, false}};
  EXPECT_EQ(draw(chart).find("nan"), std::string::npos);
}

TEST(LineChart, AMillionStepsStaySmallAndKeepTheirPeak) {
  Series series{"loss", {}, false, false};
  for (int i = 0; i < 1'000'000; ++i)
    series.points.push_back({static_cast<double>(i), i == 654321 ? 100.0 : std::sin(i)});
  LineChart chart;
  chart.series = {series};
  const std::string svg = draw(chart);
  EXPECT_LT(svg.size(), 40'000u);
  EXPECT_NE(svg.find(" 10.0L"), std::string::npos);  // the top of the plot
}

TEST(IntervalChart, NumbersHaveAScaleThatHoldsThemAll) {
  IntervalChart chart;
  chart.percent = false;
  chart.groups = {{"bleu", {{"0-shot", 12.5, 10, 15, 0}, {"8-shot", 31.25, 28, 42, 1}}}};
  const std::string svg = draw(chart);
  EXPECT_EQ(markup_problem(svg), "");
  EXPECT_EQ(svg.find("%"), std::string::npos);
  EXPECT_NE(svg.find("31.25 (28 to 42)"), std::string::npos);
  EXPECT_NE(svg.find(">60</text>"), std::string::npos) << "ticks to a round number above 42: " << svg;
  chart.groups = {{"bleu", {{"0-shot", 0, 0, 0, 0}, {"8-shot", kNoNumber, kNoNumber, kNoNumber, 1}}}};
  EXPECT_EQ(draw(chart).find("nan\""), std::string::npos);
}

TEST(IntervalChart, DrawsEveryBarWithinTheScale) {
  IntervalChart chart;
  chart.title = "t";
  chart.groups = {
      {"Accuracy",
       {{"before", 0.5, -0.2, 0.6, 0}, {"after", 1.5, 0.4, 7, 1}, {"none", kNoNumber, kNoNumber, kNoNumber, 1}}}};
  chart.reference = 0.2;
  chart.reference_name = "chance";
  const std::string svg = draw(chart);
  EXPECT_EQ(markup_problem(svg), "");
  EXPECT_NE(svg.find("chance is 20.0%"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("width=\"-"), std::string::npos);
}

TEST(ConfusionChart, SmallOnesShowCountsLargeOnesTooltips) {
  ConfusionChart matrix{"m", {"yes", "no"}, {{7, 2}, {0, 9}}};
  const std::string small = draw(matrix);
  EXPECT_EQ(markup_problem(small), "");
  EXPECT_NE(small.find(">7</text>"), std::string::npos);
  EXPECT_NE(small.find("yes → no: 2 (22.2%)"), std::string::npos);
  EXPECT_EQ(small.find(">0</text>"), std::string::npos);
  EXPECT_NE(small.find("16 of 18 examples on the diagonal"), std::string::npos);
  matrix.counts.assign(77, std::vector<std::int64_t>(77, 1));
  const std::string large = draw(matrix);
  EXPECT_EQ(markup_problem(large), "");
  EXPECT_EQ(large.find("class=\"cell\""), std::string::npos);
  EXPECT_NE(large.find("yes → 76: 1"), std::string::npos);
}

ScatterPlot scatter() {
  ScatterPlot plot;
  plot.title = "Score";
  plot.x_label = "trained";
  plot.percent = true;
  plot.points = {{"ia3", 1e-4, 0.7, 0.6, 0.8}, {"lora & co", 1e-3, 0.6, 0.6, 0.6}, {"full", 1, 0.75, 0.7, 0.8}};
  return plot;
}

double attribute(const std::string& svg, std::size_t at, const std::string& name) {
  const std::size_t begin = svg.find(name + "=\"", at) + name.size() + 2;
  return std::stod(svg.substr(begin, svg.find('"', begin) - begin));
}

TEST(ScatterPlot, XIsLogarithmic) {
  const std::string svg = draw(scatter());
  EXPECT_EQ(markup_problem(svg), "");
  std::vector<double> x;
  for (std::size_t at = svg.find("<circle"); at != std::string::npos; at = svg.find("<circle", at + 1))
    x.push_back(attribute(svg, at, "cx"));
  ASSERT_EQ(x.size(), 3u);
  EXPECT_NEAR((x[2] - x[1]) / (x[1] - x[0]), 3, 0.01) << "three decades against one";
  EXPECT_NE(svg.find(">0.01%</text>"), std::string::npos);
  EXPECT_NE(svg.find(">100%</text>"), std::string::npos);
  EXPECT_NE(svg.find("lora &amp; co: 60.0%"), std::string::npos);
}

TEST(ScatterPlot, NamesDoNotCover) {
  ScatterPlot plot = scatter();
  plot.points = {{"one", 1e-3, 0.5, 0.5, 0.5}, {"two", 1e-3, 0.5, 0.5, 0.5}, {"three", 1e-3, 0.501, 0.5, 0.51}};
  const std::string svg = draw(plot);
  std::set<std::pair<double, double>> places;
  for (std::size_t at = svg.find("\"legend\""); at != std::string::npos; at = svg.find("\"legend\"", at + 1))
    places.insert({attribute(svg, at, "x"), attribute(svg, at, "y")});
  EXPECT_EQ(places.size(), 3u);
}

struct NamedPlace {
  std::string name;
  double left, bottom;
  double right() const { return left + 6.9 * static_cast<double>(name.size()); }
  bool covers(const NamedPlace& other) const {
    return std::abs(bottom - other.bottom) < 12.5 && left < other.right() && other.left < right();
  }
};

// Of points and of lines.
std::vector<NamedPlace> names_in(const std::string& svg) {
  std::vector<NamedPlace> names;
  for (const char* kind : {"<text class=\"legend\" ", "<text class=\"tick\" "}) {
    for (std::size_t at = svg.find(kind); at != std::string::npos; at = svg.find(kind, at + 1)) {
      const std::size_t text = svg.find('>', at) + 1;
      names.push_back({svg.substr(text, svg.find('<', text) - text), attribute(svg, at, "x"), attribute(svg, at, "y")});
    }
  }
  return names;
}

TEST(ScatterPlot, LinesLieAcrossWithNamesThatDoNotCover) {
  ScatterPlot plot = scatter();
  plot.width = 520;
  plot.height = 320;
  plot.points[1] = {"lora", 1e-4, 0.652, 0.64, 0.66};
  plot.lines = {{"base", 0.65}, {"0-shot", 0.65}, {"8-shot", 0.655}, {"32-shot", 0.9}, {"gap", kNoNumber}};
  for (int i = 0; i < 9; ++i) plot.lines.push_back({"of a long name, like " + std::to_string(i), 0.65});
  const std::string svg = draw(plot);
  EXPECT_EQ(markup_problem(svg), "");
  EXPECT_EQ(count(svg, "<line class=\"reference\" x1=\"60.0\" x2=\"500.0\""), 13u) << "all but the gap";
  EXPECT_NE(svg.find("<title>8-shot: 65.5%</title>"), std::string::npos);
  EXPECT_NE(svg.find("32-shot: 90.0%. "), std::string::npos) << "in the description";
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  for (std::size_t at = svg.find("<line class=\"reference\""); at != std::string::npos;
       at = svg.find("<line class=\"reference\"", at + 1)) {
    EXPECT_GE(attribute(svg, at, "y1"), 10) << "above the plot";
    EXPECT_LE(attribute(svg, at, "y1"), 320 - 46) << "below it";
  }
  const auto names = names_in(svg);
  ASSERT_EQ(names.size(), 3u + 13u);
  for (std::size_t i = 0; i < names.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j)
      EXPECT_FALSE(names[i].covers(names[j])) << names[i].name << ", " << names[j].name;
  }
}

TEST(ScatterPlot, WhatCannotBeDrawnIsLeftOut) {
  ScatterPlot plot = scatter();
  plot.points = {{"none", 0, 0.5, 0.5, 0.5}, {"gap", 0.1, kNoNumber, kNoNumber, kNoNumber}};
  EXPECT_EQ(draw(plot), "");
  plot.points.push_back({"all", 1, 1, 1, 1});
  const std::string svg = draw(plot);
  EXPECT_EQ(markup_problem(svg), "");
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
}

TEST(HeatMap, ShowsEveryValueUpTo32AndTheLastAlways) {
  HeatMap map{"a < b", "columns", "rows", {{0, 0.5, kNoNumber}, {0.25, 2, 1}}};
  const std::string small = draw(map);
  EXPECT_EQ(markup_problem(small), "");
  EXPECT_NE(small.find("<title>1, 2: 0.5</title>"), std::string::npos) << small;
  EXPECT_EQ(small.find("<title>1, 3:"), std::string::npos) << "not a number";
  EXPECT_NE(small.find("fill-opacity=\"1.000\""), std::string::npos) << "2 is clamped";
  EXPECT_NE(small.find("a &lt; b"), std::string::npos);
  map.values.assign(100, std::vector<double>(70, 0.5));
  const std::string large = draw(map);
  EXPECT_EQ(markup_problem(large), "");
  EXPECT_NE(large.find("<title>100, 70: 0.5</title>"), std::string::npos);
  EXPECT_EQ(count(large, ": 0.5</title>"), 25u * 24u) << "every fourth row, every third column";
  EXPECT_TRUE(draw(HeatMap{}).empty());
}

TEST(SvgFile, StandsAlone) {
  LineChart chart;
  chart.title = "a > b";
  chart.series = {{"one", {{0, 1}, {1, 2}}, false, false}};
  const std::string file = svg_file(draw(chart));
  EXPECT_TRUE(
      file.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" "));
  EXPECT_EQ(count(file, "<svg"), 1u);
  EXPECT_EQ(count(file, "<style>"), 1u);
  EXPECT_NE(file.find("<title>a &gt; b</title>"), std::string::npos);
  EXPECT_EQ(markup_problem(file.substr(file.find("<svg"))), "");
}

}  // namespace
}  // namespace graft
