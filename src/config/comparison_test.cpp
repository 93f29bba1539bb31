#include "config/comparison.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "base/error_test_support.h"
#include "config/shipped.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string comparison_error(const std::string& yaml) {
  return graft::error_of([&] { parse_comparison(yaml, "c.yaml"); });
}

std::vector<std::string> names(const Comparison& comparison) {
  std::vector<std::string> result;
  for (const auto& variant : comparison.variants) result.push_back(variant.name);
  return result;
}

constexpr const char* kTwo = R"(recipe: lora
variants:
  rank4: {method: {options: {rank: 4}}}
  ia3: {method: {name: ia3}, optimizer: {lr: 3e-3}}
)";

TEST(Comparison, AVariantIsARecipeOverTheRecipe) {
  const Comparison comparison = parse_comparison(kTwo, "c.yaml");
  EXPECT_THAT(names(comparison), ElementsAre("rank4", "ia3"));
  const RunConfig recipe = load_recipe(comparison.recipe);
  const RunConfig rank4 = with_settings(comparison.variants[0].settings, recipe);
  EXPECT_EQ(rank4.method.name, "lora");
  EXPECT_EQ(rank4.method.options.at("rank"), "4");
  EXPECT_EQ(rank4.method.options.at("alpha"), recipe.method.options.at("alpha"));
  const RunConfig ia3 = with_settings(comparison.variants[1].settings, recipe);
  EXPECT_EQ(ia3.method.name, "ia3");
  EXPECT_TRUE(ia3.method.options.empty()) << "LoRA's rank is not (IA)³'s";
  EXPECT_EQ(ia3.optimizer.lr, 3e-3);
  EXPECT_EQ(ia3.train.steps, recipe.train.steps);
}

TEST(Comparison, SeveralNumbersOfExamplesAscend) {
  EXPECT_TRUE(parse_comparison(kTwo, "c.yaml").shots.empty());
  EXPECT_THAT(parse_comparison(std::string("shots: [16, 4, 4]\n") + kTwo, "c.yaml").shots, ElementsAre(4, 16));
  EXPECT_THAT(comparison_error(std::string("shots: 8\n") + kTwo),
              HasSubstr("c.yaml:1: 'shots' must be a list of numbers"));
  EXPECT_THAT(comparison_error(std::string("shots: [4, 0]\n") + kTwo), HasSubstr("from 1 on"));
  EXPECT_THAT(comparison_error(std::string("shots: [four]\n") + kTwo), HasSubstr("shots"));
}

TEST(Comparison, SaysHowManySeeds) {
  EXPECT_EQ(parse_comparison(kTwo, "c.yaml").seeds, 3);
  EXPECT_EQ(parse_comparison(std::string("seeds: 7\n") + kTwo, "c.yaml").seeds, 7);
  for (const char* wrong : {"0", "1000001"}) {
    EXPECT_THAT(comparison_error(std::string("seeds: ") + wrong + "\n" + kTwo),
                HasSubstr("c.yaml:1: 'seeds' counts the runs"));
  }
  EXPECT_THAT(comparison_error(std::string("seeds: [1]\n") + kTwo), HasSubstr("seeds"));
  for (const char* published : {"tfew-methods", "tfew-losses", "tfew-pretraining", "tfew-ablation"})
    EXPECT_EQ(load_comparison(published).seeds, 5) << published;
}

// As the configurations have it that the paper's authors released.
TEST(Comparison, TfewsAuthorsWarmUpAndScaleAlike) {
  for (const char* published : {"tfew-methods", "tfew-losses", "tfew-pretraining", "tfew-ablation"}) {
    const Comparison comparison = load_comparison(published);
    for (const Variant& variant : comparison.variants) {
      SCOPED_TRACE(fmt::format("{} {}", published, variant.name));
      const RunConfig config = with_settings(variant.settings, load_recipe(comparison.recipe));
      EXPECT_EQ(100 * config.optimizer.warmup_steps, 6 * config.train.steps);
      EXPECT_EQ(config.optimizer.scale_parameter, config.method.name != "prompt_tuning");
      EXPECT_EQ(config.optimizer.clip_norm, 1);
      if (config.method.name == "lora+layernorm") {
        EXPECT_EQ(config.method.options.at("lora.alpha"), "1") << "B A / rank";
      }
    }
  }
}

TEST(Comparison, SlipsNameTheLine) {
  EXPECT_THAT(comparison_error("variants:\n  a: {optimiser: {lr: 1}}\n"), HasSubstr("c.yaml:2: unknown setting"));
  EXPECT_THAT(comparison_error("variants:\n  a: {optimizer: {lr: 99}}\n"),
              HasSubstr("c.yaml:2: 'optimizer.lr' must be"));
  EXPECT_THAT(comparison_error("variants: {}\n"), HasSubstr("must be a map of names and settings"));
  EXPECT_THAT(comparison_error("variant:\n  a: {}\n"), HasSubstr("variants"));
  EXPECT_THAT(comparison_error("variants:\n  ../a: {}\n"), HasSubstr("'../a' cannot name a variant"));
  EXPECT_THAT(comparison_error("variants:\n  a: 7\n"), HasSubstr("c.yaml:2: must be a map of settings"));
}

TEST(Comparison, VariantsAreChosenByName) {
  Comparison comparison = parse_comparison(kTwo, "c.yaml");
  keep_variants(comparison, {"ia3"});
  EXPECT_THAT(names(comparison), ElementsAre("ia3"));
  EXPECT_THROW(keep_variants(comparison, {"rank4"}), Error);
}

TEST(Comparison, MethodsAreVariants) {
  const Comparison comparison = compare_methods({"ia3", "lora+bitfit"});
  EXPECT_THAT(names(comparison), ElementsAre("ia3", "lora+bitfit"));
  EXPECT_EQ(with_settings(comparison.variants[1].settings, {}).method.name, "lora+bitfit");
  EXPECT_THROW(compare_methods({"ia3", "ia3"}), Error);
}

TEST(Comparison, ShippedOnesFitTheirRecipes) {
  const auto shipped = shipped_names("comparisons");
  EXPECT_FALSE(shipped.empty());
  for (const auto& name : shipped) {
    const Comparison comparison = load_comparison(name);
    EXPECT_FALSE(comparison.description.empty()) << name;
    for (const auto& variant : comparison.variants)
      EXPECT_NO_THROW(with_settings(variant.settings, load_recipe(comparison.recipe))) << name;
  }
}

}  // namespace
}  // namespace graft
