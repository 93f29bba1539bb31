#include "adapters/core/peft_targets.h"

#include <gtest/gtest.h>

#include <string>

#include "checkpoint/fixture_test.h"

namespace graft::adapters {
namespace {

using Json = nlohmann::json;
using graft::testing::expect_error;

const char* const kQueryOfLayer1 = "model.layers.1.self_attn.q_proj";

PeftTargets targets_of(const Json& config) {
  return PeftTargets(config);
}

bool picks_map(const Json& config, const std::string& module) {
  return targets_of(config).pick(module, /*map=*/true);
}

TEST(PeftTargets, SayNothingWhereNoneAreStated) {
  EXPECT_FALSE(targets_of(Json::object()).stated());
  EXPECT_FALSE(targets_of({{"target_modules", nullptr}}).stated());
  EXPECT_TRUE(targets_of({{"target_modules", Json::array()}}).stated());
  EXPECT_FALSE(picks_map(Json::object(), kQueryOfLayer1));
}

TEST(PeftTargets, AllLinearMeansTheMapsOfLayers) {
  const PeftTargets targets = targets_of({{"target_modules", "All-Linear"}, {"exclude_modules", {"o_proj"}}});
  EXPECT_TRUE(targets.pick(kQueryOfLayer1, /*map=*/true));
  EXPECT_FALSE(targets.pick("model.layers.1.self_attn.o_proj", /*map=*/true));
  EXPECT_FALSE(targets.pick("lm_head", /*map=*/false));
  EXPECT_NO_THROW(targets.refuse_idle({kQueryOfLayer1}));
}

// In a list alone, where a name in full is that module whatever its layer.
TEST(PeftTargets, AreOfTheLayersThatAreTransformed) {
  for (const Json& layers : {Json(1), Json{0, 1}}) {
    const Json config = {{"target_modules", {"q_proj", "model.layers.7.self_attn.v_proj"}},
                         {"layers_to_transform", layers}};
    EXPECT_TRUE(picks_map(config, kQueryOfLayer1)) << layers;
    EXPECT_FALSE(picks_map(config, "model.layers.2.self_attn.q_proj")) << layers;
    EXPECT_FALSE(picks_map(config, "model.layers.11.self_attn.q_proj")) << layers;
    EXPECT_FALSE(picks_map(config, "layers.1.q_proj")) << "too few parts for PEFT to see a layer";
    EXPECT_TRUE(picks_map(config, "model.layers.7.self_attn.v_proj")) << layers;
  }
  EXPECT_TRUE(picks_map({{"target_modules", {"q_proj"}}, {"layers_to_transform", Json::array()}}, kQueryOfLayer1));
  EXPECT_TRUE(picks_map({{"target_modules", ".*q_proj"}, {"layers_to_transform", 7}}, kQueryOfLayer1));
}

TEST(PeftTargets, ALayersPatternSaysWhichNumberIsTheLayers) {
  const std::string module = "encoder.block.3.layer.0.SelfAttention.q";
  const auto picks = [&](const Json& pattern, int layer) {
    return picks_map({{"target_modules", {"q"}}, {"layers_to_transform", layer}, {"layers_pattern", pattern}}, module);
  };
  for (const Json& none : {Json(), Json(""), Json::array(), Json("block"), Json{"nowhere", "block"}}) {
    EXPECT_TRUE(picks(none, 3)) << none;
    EXPECT_FALSE(picks(none, 0)) << none;
  }
  EXPECT_TRUE(picks("layer", 0));
  EXPECT_FALSE(picks("layer", 3));
  EXPECT_FALSE(picks("nowhere", 3));
}

TEST(PeftTargets, AnEntryThatMeansNoModuleIsNamedWithTheNearest) {
  const std::vector<std::string> modules = {"model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj"};
  const auto refused = [&](const Json& targets, const std::string& told) {
    SCOPED_TRACE(targets.dump());
    const PeftTargets given = targets_of({{"target_modules", targets}});
    expect_error(Category::Corruption, "adapter_config.json: target_modules: ", [&] { given.refuse_idle(modules); });
    expect_error(Category::Corruption, told, [&] { given.refuse_idle(modules); });
  };
  refused({"q_proj", "q_porj"}, "'q_porj' is no module of this model (did you mean 'q_proj'?)");
  refused({"c_attn"}, "'c_attn' is no module of this model (known: q_proj, v_proj)");
  refused({"model.layers.9.self_attn.q_proj"}, "did you mean 'model.layers.0.self_attn.q_proj'?");
  refused("q_proj", "the pattern 'q_proj' matches no module of this model, whose names are such as model.layers.0.");
  refused({"bad\nname"}, "'bad\\x0aname' is no module");
  for (const Json& sound : {Json{"q_proj", "v_proj"}, Json("all-linear"), Json(".*_proj"), Json::array()})
    EXPECT_NO_THROW(targets_of({{"target_modules", sound}}).refuse_idle(modules)) << sound;
}

TEST(PeftTargets, AFieldOfTheWrongKindIsNamed) {
  const auto refused = [](const char* key, const Json& value) {
    Json config = {{"target_modules", {"q_proj"}}, {"layers_to_transform", 1}};
    config[key] = value;
    expect_error(Category::Corruption, std::string("adapter_config.json: ") + key, [&] { targets_of(config); });
  };
  refused("target_modules", {"q_proj", 7});
  refused("exclude_modules", "(q");
  refused("layers_pattern", Json{3});
  refused("layers_pattern", "(block");
  const Json words = {{"target_modules", {"q_proj"}}, {"layers_to_transform", {"one"}}};
  expect_error(Category::Corruption, "layers_to_transform: \"one\" is no number of a layer",
               [&] { targets_of(words); });
}

}  // namespace
}  // namespace graft::adapters
