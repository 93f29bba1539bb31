#include "generate/beam.h"

#include <gmock/gmock.h>

#include <cmath>

namespace graft {
namespace {

using ::testing::ElementsAre;

std::vector<float> log_of(const std::vector<double>& probabilities) {
  std::vector<float> logs;
  for (const double p : probabilities) logs.push_back(static_cast<float>(std::log(p)));
  return logs;
}

BeamOptions two() {
  BeamOptions options;
  options.beams = 2;
  return options;
}

TEST(Beams, TheBestPathIsNotTheGreedyOne) {
  Beams beams(two(), 2, {});
  EXPECT_THAT(beams.step(log_of({0.6, 0.4, 1e-9})), ElementsAre(0, 0));
  EXPECT_THAT(beams.texts(), ElementsAre(ElementsAre(0), ElementsAre(1)));
  beams.step(log_of({0.5, 0.3, 0.2, 0.9, 0.05, 0.05}));  // 0.6 · 0.5 against 0.4 · 0.9
  EXPECT_FALSE(beams.running());
  EXPECT_THAT(beams.best(), ElementsAre(1, 0));
}

TEST(Beams, RunningTextsSayWhichTheyContinue) {
  Beams beams(two(), 5, {});
  beams.step(log_of({0.6, 0.4, 1e-9}));
  EXPECT_THAT(beams.step(log_of({0.4, 0.3, 0.3, 0.6, 0.39, 0.01})), ElementsAre(0, 1))
      << "0.24 twice: the first beam's";
  EXPECT_THAT(beams.texts(), ElementsAre(ElementsAre(0, 0), ElementsAre(1, 0)));
}

TEST(Beams, AnEndOutsideTheBestIsDropped) {
  Beams beams(two(), 5, {2});
  beams.step(log_of({0.5, 0.4, 0.1}));
  EXPECT_THAT(beams.texts(), ElementsAre(ElementsAre(0), ElementsAre(1)));
  beams.step(log_of({0.2, 0.2, 0.6, 0.5, 0.4, 0.1}));  // 0.3 ends, 0.2 and 0.16 run on
  EXPECT_THAT(beams.best(), ElementsAre(0, 2));
  EXPECT_THAT(beams.texts(), ElementsAre(ElementsAre(1, 0), ElementsAre(1, 1)));
  EXPECT_TRUE(beams.running()) << "one text is finished, two are wanted";
}

// After [0, 2] of 0.3 and [1, 2] of 0.28 nothing of 0.2 can win without a penalty, and with one it may.
TEST(Beams, TheSearchEndsWhenNothingBetterIsInSight) {
  const auto runs_on = [](double length_penalty, EarlyStopping early) {
    BeamOptions options = two();
    options.length_penalty = length_penalty;
    options.early_stopping = early;
    Beams beams(options, 50, {2});
    beams.step(log_of({0.5, 0.4, 0.1}));
    beams.step(log_of({0.4, 0.0001, 0.6, 0.29, 0.01, 0.7}));
    return beams.running();
  };
  EXPECT_FALSE(runs_on(0, EarlyStopping::WhenUnlikely));
  EXPECT_FALSE(runs_on(1, EarlyStopping::WhenUnlikely));
  EXPECT_FALSE(runs_on(1, EarlyStopping::WhenFull));
  EXPECT_TRUE(runs_on(1, EarlyStopping::Never));
  EXPECT_FALSE(runs_on(0, EarlyStopping::Never));
}

TEST(Beams, APenaltyFavoursLongerTexts) {
  const auto best = [](double length_penalty) {
    BeamOptions options = two();
    options.length_penalty = length_penalty;
    options.early_stopping = EarlyStopping::Never;
    Beams beams(options, 3, {2});
    beams.step(log_of({0.6, 0.1, 0.3}));
    if (beams.running()) beams.step(log_of({0.5, 0.2, 0.3, 0.4, 0.3, 0.3}));
    if (beams.running()) beams.step(log_of({0.4, 0.3, 0.3, 0.4, 0.3, 0.3}));
    return beams.best().size();
  };
  EXPECT_EQ(best(0), 1u);
  EXPECT_EQ(best(3), 3u);
}

}  // namespace
}  // namespace graft
