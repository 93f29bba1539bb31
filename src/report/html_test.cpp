#include "report/html.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <limits>
#include <set>

#include "base/file.h"
#include "report/sample_report.h"
#include "report/well_formed.h"

namespace graft {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr std::array kVoid = {"meta", "input", "br", "link"};

bool is_name(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || c == '-';
}

/// Reads the attributes from `at` to the tag's end; returns the position behind ">" or npos.
std::size_t skip_attributes(std::string_view page, std::size_t at, bool& self_closing) {
  while (at < page.size()) {
    while (at < page.size() && page[at] == ' ') ++at;
    self_closing = page.substr(at, 2) == "/>";
    if (self_closing) return at + 2;
    if (page.substr(at, 1) == ">") return at + 1;
    const std::size_t name = at;
    while (at < page.size() && is_name(page[at])) ++at;
    if (at == name || page.substr(at, 2) != "=\"") return std::string_view::npos;
    at = page.find('"', at + 2);
    if (at == std::string_view::npos) return at;
    ++at;
  }
  return std::string_view::npos;
}

bool is_reference(std::string_view text) {
  for (const char* known : {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"}) {
    if (text.starts_with(known)) return true;
  }
  return false;
}

void expect_sound(const std::string& html) {
  EXPECT_EQ(markup_problem(html), "");
  for (const char* outside : {"src=", "url(", "@import", "<link", "<img", "<iframe", "xlink", "//cdn"}) {
    EXPECT_EQ(html.find(outside), std::string::npos) << outside;
  }
  EXPECT_NE(html.find("default-src 'none'"), std::string::npos);
  EXPECT_EQ(html.find("nan"), std::string::npos) << "an unformatted number";
}

ReportData hostile(const std::string& text) {
  ReportData data = sample_report();
  for (std::string* field :
       {&data.model, &data.task, &data.method, &data.started, &data.version, &data.config, &data.overlap})
    *field = text;
  for (auto& label : data.labels) label = text;
  for (auto* curves : {&data.loss, &data.evaluations}) {
    for (auto& curve : *curves) curve.name = text;
  }
  for (auto& mistake : data.mistakes) {
    mistake.id = mistake.where = mistake.text = text;
    for (auto& choice : mistake.choices) choice = text;
  }
  for (auto& [name, seconds] : data.cost.seconds) name = text;
  data.reproducibility = {{text, text}};
  data.commands = {{text, text}};
  return data;
}

}  // namespace

std::string markup_problem(std::string_view page) {
  std::vector<std::string> open;
  std::size_t at = 0;
  const auto here = [&] { return " near: " + std::string(page.substr(at, 60)); };
  while (at < page.size()) {
    if (page[at] == '&' && !is_reference(page.substr(at))) return "a raw ampersand" + here();
    if (page[at] == '>') return "a raw >" + here();
    const auto byte = static_cast<unsigned char>(page[at]);
    if (byte < 0x20 && byte != '\n' && byte != '\t') return "a control character" + here();
    if (page[at] != '<') {
      ++at;
      continue;
    }
    if (page.substr(at, 9) == "<!DOCTYPE") {
      at = page.find('>', at) + 1;
      continue;
    }
    const bool closing = page.substr(at + 1, 1) == "/";
    std::size_t end = at + 1 + closing;
    const std::size_t start = end;
    while (end < page.size() && is_name(page[end])) ++end;
    const std::string tag(page.substr(start, end - start));
    if (tag.empty()) return "a raw <" + here();
    if (closing) {
      if (open.empty() || open.back() != tag) return "</" + tag + "> closes nothing" + here();
      open.pop_back();
      at = end + 1;
      continue;
    }
    bool self_closing = false;
    end = skip_attributes(page, end, self_closing);
    if (end == std::string_view::npos) return "a broken attribute" + here();
    at = end;
    if (self_closing || std::find(kVoid.begin(), kVoid.end(), tag) != kVoid.end()) continue;
    open.push_back(tag);
    if (tag == "style" || tag == "script") at = std::min(page.find("</" + tag, at), page.size());
  }
  return open.empty() ? "" : "<" + open.back() + "> is never closed";
}

TEST(WellFormed, CanFail) {
  EXPECT_EQ(markup_problem("<p class=\"a\">x &amp; y<br></p><g/>"), "");
  for (const char* bad :
       {"<p>", "</p>", "<p></b></p>", "a & b", "a > b", "a < b", "<p class=a></p>", "<p class=\"a></p>", "\x01"}) {
    EXPECT_NE(markup_problem(bad), "") << bad;
  }
}

TEST(Html, ShowsWhatTheRunDid) {
  const std::string html = render_report(sample_report());
  expect_sound(html);
  for (const char* part : {"SmolLM2-135M-Instruct",
                           "bbc_news",
                           "(IA)³",
                           "59.5%",
                           "88.5%",
                           "84.0% to 93.0%",
                           "+29.0 points",
                           "2 of 200 held-out examples share a 13-gram with the tuning examples.",
                           "Macro F1",
                           "Learning rate",
                           "Before tuning",
                           "After tuning",
                           "business/114.txt",
                           "right before tuning",
                           "65,280",
                           "0.049% of 135 M",
                           "135 kB",
                           "68 TFLOP",
                           "1.43 GB",
                           "graft verify runs/bbc",
                           "sha256 3a1f",
                           "learning_rate: 0.003"}) {
    EXPECT_NE(html.find(part), std::string::npos) << part;
  }
  EXPECT_EQ(html.find("http:"), std::string::npos);
  EXPECT_EQ(html.find("https:"), std::string::npos);
}

TEST(Html, WhatIsSharedWithTheTuningExamplesStandsBesideTheScores) {
  ReportData texts;
  texts.text_scores = {{"bleu", "0 to 100", 1, 2}};
  texts.overlap = "3 of 9 <share>";
  EXPECT_NE(render_report(texts).find("<p class=\"note\">3 of 9 &lt;share&gt;.</p>"), std::string::npos);
  ReportData unknown = sample_report();
  unknown.overlap.clear();
  EXPECT_EQ(render_report(unknown).find("13-gram"), std::string::npos);
}

TEST(Html, EveryDrawingHasATextAlternativeAndEveryIdIsUnique) {
  const std::string html = render_report(sample_report());
  EXPECT_EQ(count(html, "<svg "), 7u);
  EXPECT_EQ(count(html, "role=\"img\""), 7u);
  EXPECT_EQ(count(html, "<desc>"), 7u);
  EXPECT_EQ(count(html, "<figcaption>"), 7u);
  std::set<std::string> ids;
  for (std::size_t at = html.find(" id=\""); at != std::string::npos; at = html.find(" id=\"", at + 1)) {
    const std::string id = html.substr(at + 5, html.find('"', at + 5) - at - 5);
    EXPECT_TRUE(ids.insert(id).second) << id;
  }
  for (const char* id : {"result", "training", "confusion", "mistakes", "cost", "next", "reproduce"}) {
    EXPECT_EQ(count(html, std::string("href=\"#") + id + "\""), 1u) << id;
    EXPECT_TRUE(ids.contains(id)) << id;
  }
}

TEST(Html, HostileTextStaysText) {
  const std::string scripts = count(render_report(sample_report()), "<script") == 1 ? "one" : "several";
  EXPECT_EQ(scripts, "one");
  for (const std::string& text :
       {std::string("</script><script>alert(1)</script>"), std::string("\"><svg onload=alert(1)>' onclick='x"),
        std::string("</title></style><!--"), std::string("\0\x01\x1b\x7f\r", 5),
        std::string("\xff\xfe\xc0\xbc\xed\xa0\x80\xe4\xb8"), std::string("{} {0} %s &lt;"), std::string(20000, '<'),
        std::string("\xE2\x80\xAE]]>")}) {
    const std::string html = render_report(hostile(text));
    EXPECT_EQ(markup_problem(html), "") << text.substr(0, 40);
    EXPECT_EQ(count(html, "<script"), 1u);
    EXPECT_EQ(html.find("onload=alert(1)>"), std::string::npos);
  }
}

TEST(Html, SeveralTemplatesHaveATable) {
  ReportData data = sample_report();
  EXPECT_EQ(render_report(data).find("Prompt templates"), std::string::npos);
  data.templates = {{"<topic>", 0.25, 0.5}, {"about", 0.3, 0.9}};
  data.templates_before = {{0.275, 0.2625, 0.2875}};
  data.templates_after = {{0.7, 0.6, 0.8}};
  const std::string html = render_report(data);
  expect_sound(html);
  for (const char* part :
       {"href=\"#templates\"", "&lt;topic&gt;</th><td class=\"n\">25.0%</td><td class=\"n\">50.0%</td>",
        "Median (quartiles)", "70.0% (60.0% to 80.0%)"})
    EXPECT_NE(html.find(part), std::string::npos) << part;
}

TEST(Html, CalibrationIsDrawnAndTold) {
  ReportData data = sample_report();
  EXPECT_EQ(render_report(data).find("Brier"), std::string::npos);
  ReportCalibration calibration{0.125, 0.4375, std::vector<ReportCalibration::Bin>(15)};
  calibration.bins[9] = {30, 0.62, 0.7};
  calibration.bins[14] = {170, 0.97, 0.9};
  data.calibration_after = calibration;
  const std::string html = render_report(data);
  expect_sound(html);
  EXPECT_EQ(count(html, "<svg "), 8u);
  for (const char* part : {"href=\"#calibration\"", "12.5%", "0.4375", "as right as sure", "0.62: 0.7", "0.97: 0.9"})
    EXPECT_NE(html.find(part), std::string::npos) << part;
  EXPECT_EQ(html.find("<th scope=\"row\">Before</th>"), std::string::npos);
  data.calibration_before = calibration;
  EXPECT_NE(render_report(data).find("<th scope=\"row\">Before</th>"), std::string::npos);
}

TEST(Html, AnEmptyRunIsStillAPage) {
  const std::string html = render_report(ReportData{});
  expect_sound(html);
  EXPECT_NE(html.find("no held-out examples"), std::string::npos);
  for (const char* absent :
       {"<svg", "id=\"training\"", "id=\"confusion\"", "id=\"mistakes\"", "id=\"cost\"", "id=\"reproduce\""}) {
    EXPECT_EQ(html.find(absent), std::string::npos) << absent;
  }
}

TEST(Html, PartsMayBeMissing) {
  ReportData data = sample_report();
  data.before.reset();
  data.improvement.reset();
  data.after->macro_f1.reset();
  data.after->confusion.clear();
  data.cost = {};
  data.mistakes[0].choices.clear();
  data.mistakes[1].probabilities.resize(2);
  data.mistakes[2].truth = -1;
  data.mistakes[2].prediction = 99;
  const std::string html = render_report(data);
  expect_sound(html);
  EXPECT_EQ(html.find("→</span>"), std::string::npos);
  EXPECT_EQ(html.find("Macro F1"), std::string::npos);
  EXPECT_NE(html.find("should be</span> <bdi class=\"right\">unknown"), std::string::npos);
}

TEST(Html, NumbersThatAreNoneDoNotBreakThePage) {
  ReportData data = sample_report();
  for (auto& curve : data.loss) {
    for (std::size_t i = 10; i < curve.points.size(); ++i) curve.points[i].second = kNan;
  }
  data.evaluations[0].points.assign(1, {0, kNan});
  data.learning_rate.points.assign(1, {1, std::numeric_limits<double>::infinity()});
  data.after->accuracy = {kNan, kNan, kNan};
  data.improvement = ReportScore{kNan, kNan, kNan};
  data.mistakes[0].probabilities.assign(5, kNan);
  data.cost.seconds[0].second = kNan;
  data.cost.flops = kNan;
  data.cost.tokens_per_second = std::numeric_limits<double>::infinity();
  expect_sound(render_report(data));
}

TEST(Html, RaggedConfusionsAndTooFewLabelsAreShown) {
  ReportData data = sample_report();
  data.labels.resize(2);
  data.after->confusion = {{1}, {0, 2, 5, 7}, {}};
  data.before->confusion = {{-3, 1}, {0, 0}};
  expect_sound(render_report(data));
}

TEST(Html, AThousandMistakesAreCutAndCounted) {
  ReportData data = sample_report();
  const ReportMistake one = data.mistakes[0];
  data.mistakes.assign(1000, one);
  const std::string html = render_report(data);
  expect_sound(html);
  EXPECT_EQ(count(html, "<article "), kShownMistakes);
  EXPECT_NE(html.find("1,000 held-out examples"), std::string::npos);
  EXPECT_NE(html.find("first 200 are shown"), std::string::npos);
}

TEST(Html, SeventySevenClassesStayReadable) {
  ReportData data = sample_report();
  data.task = "banking77";
  data.labels.clear();
  for (int i = 0; i < 77; ++i) data.labels.push_back("card_payment_reason_number_" + std::to_string(i));
  for (auto* evaluation : {&*data.before, &*data.after}) {
    evaluation->confusion.assign(77, std::vector<std::int64_t>(77, 0));
    for (std::size_t i = 0; i < 77; ++i) {
      evaluation->confusion[i][i] = evaluation == &*data.after ? 36 : 15;
      evaluation->confusion[i][(i * 7 + 3) % 77] += 4;
      evaluation->confusion[i][(i * 5 + 11) % 77] += static_cast<std::int64_t>(i % 3);
    }
  }
  ReportMistake& mistake = data.mistakes[0];
  mistake.choices = data.labels;
  mistake.probabilities.assign(77, 0.005);
  mistake.probabilities[4] = 0.4;
  mistake.probabilities_before.assign(77, 1.0 / 77);
  mistake.truth = 70;
  const std::string html = render_report(data);
  write_file(std::string(GRAFT_BINARY_DIR) + "/sample-report-77.html", html);
  expect_sound(html);
  EXPECT_LT(html.size(), 400'000u);
  EXPECT_EQ(count(html, "chart large"), 2u);
  EXPECT_NE(html.find("Most frequent confusions"), std::string::npos);
  EXPECT_NE(html.find("70 other choices together"), std::string::npos);
}

}  // namespace graft
