// Every metric of texts, in all settings, against the programs whose values tests/golden/texts.py wrote.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "../compat/metric_variants.h"
#include "base/file.h"
#include "folder.h"

namespace graft {
namespace {

using Json = nlohmann::json;

// Both sides compute in double, in another order; the largest gap that was seen is 9e-13.
constexpr double kTolerance = 1e-9;
constexpr std::size_t kCases = 1000, kTerCases = 60;

std::vector<double> values_of(const Json& scores) {
  std::vector<double> values = {scores.at("corpus").get<double>()};
  if (!scores.contains("each")) return values;
  for (const Json& value : scores.at("each")) values.push_back(value.get<double>());
  return values;
}

class MetricsGolden : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto file = goldens() / "metrics.json";
    if (!std::filesystem::exists(file))
      GTEST_SKIP() << "no metrics in " << goldens() << "; ./check makes them where GRAFT_DATA holds e2e";
    all_ = Json::parse(read_file(file));
  }

  // Cases, by the name of their group, and the programs' values of them.
  void read(const std::string& group) {
    group_ = all_.at(group);
    hypotheses_.clear();
    references_.clear();
    for (const Json& one : group_.at("cases")) {
      hypotheses_.push_back(one.at(0).get<std::string>());
      references_.push_back(one.at(1).get<std::vector<std::string>>());
    }
    const bool of_ter = group == "two references" || group == "short";
    ASSERT_EQ(hypotheses_.size(), of_ter ? kTerCases : kCases) << group;
  }

  // `count`: values that the program has of a case; 0: of the corpus alone.
  void expect_equal(const std::string& name, const MetricVariant& variant, std::size_t count) const {
    const auto expected = values_of(group_.at("scores").at(name)), found = values_of(variant(cases()));
    ASSERT_EQ(expected.size(), 1 + count * hypotheses_.size()) << name;
    ASSERT_EQ(found.size(), expected.size()) << name;
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (std::abs(found[i] - expected[i]) <= kTolerance * std::max(1.0, std::abs(expected[i]))) continue;
      if (++wrong <= 3)
        ADD_FAILURE() << name << ": " << found[i] << " in place of " << expected[i] << ": "
                      << (i == 0 ? "all cases" : group_.at("cases").at((i - 1) / count).dump());
    }
    EXPECT_EQ(wrong, 0u) << name << ": values that differ";
  }

  void expect_equal(const std::vector<std::string>& names, std::size_t count) const {
    const auto variants = metric_variants();
    for (const std::string& name : names) expect_equal(name, variants.at(name), count);
  }

  TextCases cases() const { return {hypotheses_, references_}; }

 private:
  Json all_, group_;
  std::vector<std::string> hypotheses_;
  std::vector<std::vector<std::string>> references_;
};

TEST_F(MetricsGolden, Bleu) {
  read("varied");
  expect_equal({"bleu none", "bleu 13a", "bleu intl", "bleu lower", "bleu smooth none", "bleu smooth floor",
                "bleu smooth floor 0.5", "bleu smooth add-k", "bleu order 2"},
               1);
  read("plain");
  expect_equal({"bleu_e2e"}, 0);
}

TEST_F(MetricsGolden, Chrf) {
  read("varied");
  expect_equal({"chrf", "chrf++", "chrf lower whitespace beta 3", "chrf eps"}, 1);
}

TEST_F(MetricsGolden, Ter) {
  read("two references");
  expect_equal({"ter"}, 1);
  read("short");
  expect_equal({"ter case", "ter normalised", "ter no punctuation"}, 1);
}

TEST_F(MetricsGolden, Rouge) {
  read("varied");
  expect_equal(
      {"rouge1", "rouge1 stem", "rouge2", "rouge2 stem", "rougeL", "rougeL stem", "rougeLsum", "rougeLsum stem"}, 3);
  expect_equal({"rougeL_coco"}, 1);
}

TEST_F(MetricsGolden, Meteor) {
  read("varied");
  expect_equal({"meteor", "meteor 0.8 1.5 0.3"}, 1);
}

TEST_F(MetricsGolden, Cider) {
  read("varied");
  expect_equal({"cider"}, 1);
}

TEST_F(MetricsGolden, Nist) {
  read("one reference");
  const auto score = [](const TextCases& of) { return corpus_nist(of); };
  expect_equal("nist", of_corpus_and_each(score, score), 1);
}

}  // namespace
}  // namespace graft
