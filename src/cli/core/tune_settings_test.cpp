// Every setting of a recipe that training takes, from its name to its place.
#include "cli/core/tune_settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "base/error_test_support.h"
#include "config/run_config.h"

namespace graft {
namespace {

using ::testing::HasSubstr;

TrainSettings settings_with(const std::vector<std::string>& assignments, const Task& task = {}) {
  RunConfig config;
  for (const auto& assignment : assignments) set_run_field(config, assignment);
  return train_settings(config, task);
}

TEST(TuneSettings, WithoutARecipeTheyAreTheDefaultsOfThePaper) {
  const TrainSettings settings = settings_with({});
  EXPECT_FALSE(settings.lm.has_value());
  EXPECT_EQ(settings.loss.lm_weight, 1);
  EXPECT_EQ(settings.loss.unlikelihood_weight, 1);
  EXPECT_EQ(settings.loss.length_norm_weight, 1);
  EXPECT_FALSE(settings.loss.authors_unlikelihood);
  EXPECT_EQ(settings.optimizer.name, "adafactor");
  EXPECT_EQ(settings.lr, 3e-3);
  EXPECT_EQ(settings.schedule, "linear");
  EXPECT_EQ(settings.warmup_steps, 60);
  EXPECT_EQ(settings.steps, 1000);
  EXPECT_EQ(settings.batch_size, 8);
  EXPECT_EQ(settings.accumulation, 1);
  EXPECT_EQ(settings.save_every, 10);
}

TEST(TuneSettings, EveryLossHasItsOwnWeight) {
  const TfewSettings loss =
      settings_with({"objective.lm_weight=0.5", "objective.unlikelihood_weight=2", "objective.length_norm_weight=3.25"})
          .loss;
  EXPECT_EQ(loss.lm_weight, 0.5);
  EXPECT_EQ(loss.unlikelihood_weight, 2);
  EXPECT_EQ(loss.length_norm_weight, 3.25);
}

TEST(TuneSettings, ASwitchedOffLossWeighsNothingWhateverItsWeight) {
  const std::vector<std::string> weights = {"objective.lm_weight=0.5", "objective.unlikelihood_weight=2",
                                            "objective.length_norm_weight=3"};
  struct Case {
    std::string off;
    double lm, unlikelihood, length_norm;
  };
  for (const Case& expected : std::vector<Case>{{"objective.lm=false", 0, 2, 3},
                                                {"objective.unlikelihood=false", 0.5, 0, 3},
                                                {"objective.length_norm=false", 0.5, 2, 0}}) {
    std::vector<std::string> assignments = weights;
    assignments.push_back(expected.off);
    const TfewSettings loss = settings_with(assignments).loss;
    EXPECT_EQ(loss.lm_weight, expected.lm) << expected.off;
    EXPECT_EQ(loss.unlikelihood_weight, expected.unlikelihood) << expected.off;
    EXPECT_EQ(loss.length_norm_weight, expected.length_norm) << expected.off;
  }
}

TEST(TuneSettings, NoLossAtAllIsRefused) {
  const std::vector<std::string> one_left = {"objective.lm=false", "objective.unlikelihood=false"};
  EXPECT_EQ(settings_with(one_left).loss.length_norm_weight, 1);
  for (const char* last : {"objective.length_norm=false", "objective.length_norm_weight=0"}) {
    std::vector<std::string> none = one_left;
    none.push_back(last);
    EXPECT_THAT(error_of([&] { settings_with(none); }), HasSubstr("every loss is off or weighs 0")) << last;
    none.push_back("objective.name=lm");
    EXPECT_TRUE(settings_with(none).lm.has_value()) << "has a loss of its own";
  }
}

TEST(TuneSettings, TheVariantOfTheUnlikelihoodIsTheOneThatIsNamed) {
  EXPECT_TRUE(settings_with({"objective.unlikelihood_variant=authors"}).loss.authors_unlikelihood);
  EXPECT_FALSE(settings_with({"objective.unlikelihood_variant=paper"}).loss.authors_unlikelihood);
}

TEST(TuneSettings, TheMeanCrossEntropyComesWithItsSmoothing) {
  const TrainSettings settings = settings_with({"objective.name=lm", "objective.label_smoothing=0.125"});
  ASSERT_TRUE(settings.lm.has_value());
  EXPECT_EQ(settings.lm->label_smoothing, 0.125);
  EXPECT_FALSE(settings_with({"objective.name=tfew", "objective.label_smoothing=0.125"}).lm.has_value());
}

TEST(TuneSettings, EverySettingOfOptimiserAndTrainingArrives) {
  using Read = std::function<double(const TrainSettings&)>;
  struct Case {
    std::string assignment;
    Read read;
    double value;
  };
  const auto number = [](bool flag) { return flag ? 1.0 : 0.0; };
  // None of the values is the default.
  const std::vector<Case> cases = {
      {"optimizer.name=adamw", [&](const TrainSettings& s) { return number(s.optimizer.name == "adamw"); }, 1},
      {"optimizer.lr=0.25", [](const TrainSettings& s) { return s.lr; }, 0.25},
      {"optimizer.weight_decay=0.125", [](const TrainSettings& s) { return s.optimizer.weight_decay; }, 0.125},
      {"optimizer.beta1=0.5", [](const TrainSettings& s) { return s.optimizer.beta1; }, 0.5},
      {"optimizer.beta2=0.75", [](const TrainSettings& s) { return s.optimizer.beta2; }, 0.75},
      {"optimizer.eps=0.0625", [](const TrainSettings& s) { return s.optimizer.eps; }, 0.0625},
      {"optimizer.scale_parameter=true", [&](const TrainSettings& s) { return number(s.optimizer.scale_parameter); },
       1},
      {"optimizer.clip_norm=2.5", [](const TrainSettings& s) { return s.clip_norm; }, 2.5},
      {"optimizer.schedule=cosine", [&](const TrainSettings& s) { return number(s.schedule == "cosine"); }, 1},
      {"optimizer.warmup_steps=7", [](const TrainSettings& s) { return static_cast<double>(s.warmup_steps); }, 7},
      {"train.steps=33", [](const TrainSettings& s) { return static_cast<double>(s.steps); }, 33},
      {"train.batch_size=5", [](const TrainSettings& s) { return static_cast<double>(s.batch_size); }, 5},
      {"train.accumulation=6", [](const TrainSettings& s) { return static_cast<double>(s.accumulation); }, 6},
      {"train.eval_every=11", [](const TrainSettings& s) { return static_cast<double>(s.eval_every); }, 11},
      {"train.save_every=12", [](const TrainSettings& s) { return static_cast<double>(s.save_every); }, 12},
      {"train.seed=13", [](const TrainSettings& s) { return static_cast<double>(s.seed); }, 13},
      {"train.best_metric=last", [&](const TrainSettings& s) { return number(s.keep_best); }, 0},
      {"train.checkpoint_layers=true", [&](const TrainSettings& s) { return number(s.checkpoint_layers); }, 1}};
  for (const Case& one : cases) {
    EXPECT_EQ(one.read(settings_with({one.assignment})), one.value) << one.assignment;
    EXPECT_NE(one.read(settings_with({})), one.value) << one.assignment << " is the default: the test shows nothing";
  }
}

}  // namespace
}  // namespace graft
