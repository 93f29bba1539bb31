// The shipped comparisons, dry: every variant makes an adapter on a gated T5 of the papers' kind, or on a GPT where it
// is for decoder-only models.
#include <gtest/gtest.h>

#include "base/error.h"
#include "cli/core/tune_settings.h"
#include "config/comparison.h"
#include "config/published_test_support.h"
#include "config/shipped.h"

namespace graft {
namespace {

TEST(ShippedComparisons, EveryVariantMakesAnAdapter) {
  const auto t5 = outline_model(model_config_from_json(t5_v11(64, 128, 4), "config.json")),
             gpt2 = outline_model(model_config_from_json(gpt(64, 2, 4, 128), "config.json"));
  for (const auto& name : shipped_names("comparisons")) {
    const Comparison comparison = load_comparison(name);
    const Model& model = name == "prefix-placements" ? *gpt2 : *t5;
    for (const auto& variant : comparison.variants) {
      const RunConfig config = with_settings(variant.settings, load_recipe(comparison.recipe));
      try {
        EXPECT_GT(trainable_elements(*counted_adapter(config, model)), 0) << name << ": " << variant.name;
      } catch (const Error& error) {
        ADD_FAILURE() << name << ": " << variant.name << ": " << error.what();
      }
    }
  }
}

}  // namespace
}  // namespace graft
