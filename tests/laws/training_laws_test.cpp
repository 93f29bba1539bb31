// Training several adapters in one pass, on every golden model with every method.
#include "law_model.h"
#include "train/loop.h"

namespace graft::laws {
namespace {

// Sums in another order, and some steps of an optimiser after them.
constexpr double kTogether = 1e-3;

class TrainingLaw : public Law {
 protected:
  struct Trained {
    std::unique_ptr<Adapter> adapter;
    std::vector<ChoiceTokens> examples;
    TrainSettings settings;
    TrainCallbacks callbacks;
    std::vector<double> losses;
  };

  std::vector<ChoiceTokens> examples(std::size_t count) {
    std::vector<ChoiceTokens> made;
    for (std::size_t e = 0; e < count; ++e) {
      ChoiceTokens example;
      example.label = static_cast<std::int64_t>(e % 2);
      example.prompt = tokens(4 + static_cast<std::int64_t>(rng().below(6)));
      for (std::size_t c = 0; c < 2 + e % 2; ++c)
        example.choices.push_back({tokens(1 + static_cast<std::int64_t>(rng().below(3))), 1, 1});
      made.push_back(std::move(example));
    }
    return made;
  }

  // Its own data, seed, batch size, length and accumulation.
  static TrainSettings settings(std::int64_t number) {
    TrainSettings settings;
    settings.optimizer.name = "adamw";
    // Where a gradient is zero but for rounding, Adam would make a step of the rounding's sign.
    settings.optimizer.eps = 1e-3;
    settings.lr = 1e-2;
    settings.warmup_steps = 0;
    settings.steps = 3 + number % 2;
    settings.batch_size = 1 + number % 3;
    settings.accumulation = 1 + number % 2;
    settings.seed = static_cast<std::uint64_t>(number);
    return settings;
  }

  std::vector<Trained> fresh_of_every_method() {
    std::vector<Trained> all;
    for_every_method([&](const MethodChoice& method) {
      const auto number = static_cast<std::int64_t>(all.size());
      const auto options = method.name() == "lora" ? nlohmann::json{{"dropout", 0.3}} : nlohmann::json::object();
      auto adapter = fresh(method, model(), options);
      if (stands_alone(*adapter)) return;
      all.push_back({std::move(adapter), {}, settings(number), {}, {}});
    });
    return all;
  }

  void watch(Trained& trained) {
    trained.callbacks.on_step = [&trained](const StepReport& step) { trained.losses.push_back(step.loss); };
  }

  Training training(Trained& trained, const std::string& file) const {
    return {*trained.adapter, trained.examples, trained.settings, folder() / (file + ".safetensors"),
            trained.callbacks};
  }
};

TEST_P(TrainingLaw, AdaptersTrainedTogetherComeOutAsAlone) {
  auto alone = fresh_of_every_method(), together = fresh_of_every_method();
  ASSERT_GE(together.size(), 6u);
  std::vector<Training> trainings;
  for (std::size_t i = 0; i < alone.size(); ++i) {
    alone[i].examples = together[i].examples = examples(5);
    watch(alone[i]);
    watch(together[i]);
    train(model(), training(alone[i], fmt::format("alone-{}", i)));
    trainings.push_back(training(together[i], fmt::format("together-{}", i)));
  }
  train_together(model(), trainings);
  const Text input = text(12);
  for (std::size_t i = 0; i < alone.size(); ++i) {
    ASSERT_EQ(together[i].losses.size(), alone[i].losses.size());
    for (std::size_t step = 0; step < alone[i].losses.size(); ++step)
      EXPECT_NEAR(together[i].losses[step], alone[i].losses[step], 1e-3 * std::abs(alone[i].losses[step])) << i;
    EXPECT_NE(alone[i].losses.front(), alone[i].losses.back()) << i;
    EXPECT_LE(
        relative_gap(logits(model(), input, together[i].adapter.get()), logits(model(), input, alone[i].adapter.get())),
        kTogether)
        << i;
  }
}

// A constant schedule: the first steps are then those of the whole training.
TEST_P(TrainingLaw, OneThatStoppedEarlierGoesOnBesideTheOthers) {
  auto alone = fresh_of_every_method(), together = fresh_of_every_method();
  std::vector<Training> trainings;
  for (const std::size_t i : {0, 1}) {
    alone[i].examples = together[i].examples = examples(5);
    alone[i].settings.schedule = together[i].settings.schedule = "constant";
    train(model(), training(alone[i], fmt::format("alone-{}", i)));
    trainings.push_back(training(together[i], fmt::format("together-{}", i)));
  }
  const std::int64_t steps = together[1].settings.steps;
  together[1].settings.steps = 2;
  train(model(), trainings[1]);
  together[1].settings.steps = steps;
  std::int64_t from = 0;
  together[1].callbacks.on_resume = [&](std::int64_t step) { from = step; };
  train_together(model(), trainings);
  EXPECT_EQ(from, 2);
  const Text input = text(12);
  for (const std::size_t i : {0, 1}) {
    EXPECT_LE(
        relative_gap(logits(model(), input, together[i].adapter.get()), logits(model(), input, alone[i].adapter.get())),
        kTogether)
        << i;
  }
}

// Each layer that is recomputed goes backward by itself, down to the adapters' own tensors.
TEST_P(TrainingLaw, RecomputedLayersOfAMixedBatchGiveTheSameBits) {
  for (const char* name : {"ia3", "lora"}) {
    SCOPED_TRACE(name);
    Adapters adapters;
    ForwardOptions options;
    StepInput mixed;
    for (std::int32_t slot = 0; slot < 3; ++slot) {
      adapters.push_back(stirred(MethodChoice(name), 30 + slot));
      options.slots.push_back(adapters.back().get());
      add(mixed, text(5 + slot), slot);
    }
    const auto gradients_of = [&](bool recomputed) {
      options.checkpoint_layers = recomputed;
      logits(model(), mixed, options).square().sum().backward();
      std::vector<at::Tensor> gradients;
      for (const auto& adapter : adapters) {
        for (const auto& parameter : adapter->parameters()) {
          gradients.push_back(parameter.value.grad());
          parameter.value.mutable_grad() = at::Tensor();
        }
      }
      return gradients;
    };
    const auto kept = gradients_of(false), again = gradients_of(true);
    for (std::size_t i = 0; i < kept.size(); ++i) {
      ASSERT_TRUE(kept[i].defined() && again[i].defined()) << i;
      EXPECT_TRUE(at::equal(kept[i], again[i])) << i;
    }
  }
}

TEST_P(TrainingLaw, AMethodThatReplacesParametersIsTrainedAlone) {
  auto all = fresh_of_every_method();
  Trained full{fresh(MethodChoice("full"), model()), examples(3), settings(0), {}, {}};
  all[0].examples = examples(3);
  expect_error(Category::InvalidArgument, "run it alone", [&] {
    train_together(model(), {training(all[0], "first"), training(full, "second")});
  });
}

INSTANTIATE_TEST_SUITE_P(Golden, TrainingLaw, ::testing::ValuesIn(models()), title);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TrainingLaw);

}  // namespace
}  // namespace graft::laws
