// The table from models' configurations alone, at the sizes of Liu et al. 2022, Table 1 and section 4.2.
#include "train/cost_table.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "config/published_test_support.h"
#include "train/flops.h"
#include "train/footprint.h"

namespace graft {
namespace {

CostModel model_of(const nlohmann::json& json) {
  CostModel model{"config.json", {}, outline_model(model_config_from_json(json, "config.json"))};
  model.size = {static_cast<double>(model.outline->parameters().elements()), model.outline->encoder_decoder()};
  return model;
}

std::string printed(double value) {
  return fmt::format("{:.1e}", value);
}

class Table1 : public ::testing::Test {
 protected:
  Table1() {
    question_.model = model_of(t5_v11(4096, 10240, 64));
    question_.icl_model = model_of(gpt(12288, 96, 96, 2048));
    Rng rng(0);
    adapter_ = adapters::find("ia3").create(*question_.model.outline, nlohmann::json::object(), rng);
    question_.adapter = adapter_.get();
    question_.method = "ia3";
    question_.file = adapter_file_bytes(*adapter_);
    question_.tested = question_.trained = example_tokens(103, 98, 2);
    question_.shots = {41, 98};
    question_.training_examples = 1000 * 8;
  }

  CostQuestion question_;
  std::unique_ptr<Adapter> adapter_;
};

// The paper rounds N to 11 billion; the configuration has 1.2% more, and so has the training.
TEST_F(Table1, TfewOnT0) {
  const CostRow row = cost_table(question_).at(0);
  EXPECT_EQ(printed(row.inference.paper), "1.1e+12");
  EXPECT_NEAR(row.training.paper / 2.7e16, 1.02, 0.005);
  question_.model.size.parameters = 11e9;
  EXPECT_EQ(printed(cost_table(question_).at(0).training.paper), "2.7e+16");
}

// 4.2 MB are of 2^20 bytes, and of the file: T0-3B's, which the authors released (2,225,409 bytes), has 62,721 bytes
// besides its 540,672 values, and T0-11B's has as many tensors with the same names.
TEST_F(Table1, TheVectorsTake4Point2Megabytes) {
  const double values = *cost_table(question_).at(0).disk;
  EXPECT_DOUBLE_EQ(values, 4 * 1'081'344);
  EXPECT_EQ(fmt::format("{:.1f}", (values + 62'721) / (1 << 20)), "4.2");
}

// Section 4.2: T0's checkpoint has 41.5 GB (of 2^30), about as much as the vectors of 10,000 tasks.
TEST_F(Table1, TenThousandTasksTakeAboutAsMuchAsTheModel) {
  const auto rows = cost_table(question_);
  EXPECT_EQ(fmt::format("{:.1f}", *rows.at(1).memory / (1 << 30)), "41.5");
  EXPECT_NEAR(1e4 * *rows.at(0).disk / *rows.at(1).memory, 1, 0.05);
}

TEST_F(Table1, ZeroShotT0CostsNothingMore) {
  const CostRow row = cost_table(question_).at(1);
  EXPECT_EQ(printed(row.inference.paper), "1.1e+12");
  EXPECT_EQ(row.training.paper, 0);
  EXPECT_EQ(row.disk, 0);
}

TEST_F(Table1, InContextLearningWithGpt3) {
  const auto rows = cost_table(question_);
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(printed(rows.at(2).inference.paper), "1.4e+15");
  EXPECT_DOUBLE_EQ(*rows.at(2).disk, 16'072);
  EXPECT_NEAR(rows.at(2).inference.paper / rows.at(3).inference.paper, 40.0, 0.05);
  // Of 41 · 98 tokens, where section 2.1 has 32 · 512 and 144 GB.
  EXPECT_DOUBLE_EQ((*rows.at(3).memory - *rows.at(2).memory) / (1 << 30), 144.0 * (41 * 98) / (32 * 512));
}

// With embeddings and positions; the paper's N of 6.7 and 13 billion are rounded (see paper_rule_test.cpp).
TEST_F(Table1, InContextLearningWithTheSmallerGpt3) {
  question_.icl_model = model_of(gpt(4096, 32, 32, 2048));
  EXPECT_NEAR(cost_table(question_).at(2).inference.paper / 5.4e13, 1.016, 0.002);
  question_.icl_model = model_of(gpt(5120, 40, 40, 2048));
  EXPECT_NEAR(cost_table(question_).at(2).inference.paper / 1.0e14, 1.06, 0.005);
}

TEST_F(Table1, InContextLearningWithT5) {
  question_.icl_model = question_.model;
  question_.icl_model.size.parameters = 11e9;
  const auto rows = cost_table(question_);
  ASSERT_EQ(rows.size(), 3u);  // an encoder keeps nothing
  EXPECT_EQ(printed(rows.at(2).inference.paper), "4.5e+13");
}

// The paper's rule has embeddings in N and all of the decoder at every token; the two counts agree within that.
TEST_F(Table1, TheExactCountIsOfTheSameSize) {
  for (const auto& row : cost_table(question_)) {
    const double ratio = *row.inference.graft / row.inference.paper;
    EXPECT_GT(ratio, 0.8) << row.what;
    EXPECT_LT(ratio, 1.05) << row.what;
  }
  const CostRow adapted = cost_table(question_).front();
  // No gradient of frozen weights: two thirds.
  EXPECT_NEAR(*adapted.training.graft / *adapted.inference.graft / question_.training_examples, 2, 0.01);
}

TEST_F(Table1, OfASizeAloneOnlyThePapersRuleIsKnown) {
  CostQuestion q;
  q.model = {"11e9 parameters", {11e9, true}, nullptr};
  q.icl_model = {"175e9 parameters", {175e9, false}, nullptr};
  q.tested = q.trained = question_.tested;
  q.shots = question_.shots;
  q.training_examples = 8000;
  const auto rows = cost_table(q);
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(printed(rows.at(0).inference.paper), "1.1e+12");
  EXPECT_EQ(printed(rows.at(2).inference.paper), "1.4e+15");
  EXPECT_EQ(rows.at(2).disk, 16'072);
  for (const auto& row : rows) {
    EXPECT_FALSE(row.inference.graft || row.memory || row.training_memory) << row.what;
  }
  EXPECT_FALSE(rows.at(0).disk || rows.at(0).training.graft);
}

TEST_F(Table1, WithoutDemonstrationsThereIsNoInContextLearning) {
  question_.shots = {};
  EXPECT_EQ(cost_table(question_).size(), 2u);
}

TEST_F(Table1, TrainingMemoryCountsEveryStandingByte) {
  const TrainingMemory adafactor = training_memory(*question_.model.outline, at::kBFloat16, *adapter_, {"adafactor"});
  EXPECT_EQ(adafactor.weights, 2 * question_.model.outline->parameters().elements());
  EXPECT_EQ(adafactor.trained, 4 * 1'081'344);
  EXPECT_EQ(adafactor.gradients, adafactor.trained);
  EXPECT_EQ(adafactor.optimizer, adafactor.trained);  // vectors keep their squares whole
  EXPECT_EQ(training_memory(*question_.model.outline, at::kBFloat16, *adapter_, {"adamw"}).optimizer,
            2 * adafactor.trained);
  Rng rng(0);
  const auto lora = adapters::find("lora").create(*question_.model.outline, nlohmann::json::object(), rng);
  const TrainingMemory matrices = training_memory(*question_.model.outline, at::kFloat, *lora, {"adafactor"});
  EXPECT_LT(matrices.optimizer, matrices.trained / 2);  // a row and a column of each
  EXPECT_EQ(cost_table(question_).at(0).training_memory,
            static_cast<double>(training_memory(*question_.model.outline, at::kFloat, *adapter_, {}).total()));
}

// 13 MB beside 11 billion parameters, where these themselves would take 220 GB to train.
TEST_F(Table1, WhatStandsBesideTheWeightsIsOfWhatTrains) {
  const Model& model = *question_.model.outline;
  TrainSettings settings;
  settings.optimizer.name = "adafactor";
  const std::int64_t vectors = 4 * 1'081'344;
  EXPECT_EQ(standing_bytes(model, at::kBFloat16, *adapter_, settings), 3 * vectors);
  EXPECT_EQ(standing_bound(model, at::kBFloat16, *adapter_, settings), 3 * vectors);
  settings.eval_every = 5;
  EXPECT_EQ(standing_bound(model, at::kBFloat16, *adapter_, settings), 4 * vectors) << "the best so far is kept";
  settings.keep_best = false;
  EXPECT_EQ(standing_bound(model, at::kBFloat16, *adapter_, settings), 3 * vectors);
}

TEST_F(Table1, WhereParametersAreReplacedTheirCopiesStandToo) {
  const auto outline = outline_model(model_config_from_json(gpt(64, 2, 4, 128), "config.json"));
  const std::int64_t elements = outline->parameters().elements();
  TrainSettings settings;
  settings.optimizer.name = "adamw";
  Rng rng(0);
  const auto full = adapters::find("full").create(*outline, nlohmann::json::object(), rng);
  EXPECT_EQ(standing_bytes(*outline, at::kBFloat16, *full, settings), 4 * 4 * trainable_elements(*full) + 2 * elements);
  for (const char* method : {"full", "fish", "said"}) {
    const auto adapter = adapters::find(method).create(*outline, nlohmann::json::object(), rng);
    EXPECT_GE(standing_bound(*outline, at::kFloat, *adapter, settings), 32 * elements) << method;
  }
}

}  // namespace
}  // namespace graft
