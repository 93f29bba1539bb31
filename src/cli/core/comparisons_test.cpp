// The shipped comparisons, dry: every variant makes an adapter, and the tensors of its file, on a gated T5 of the
// papers' kind and on a GPT, which has queries, keys and values in one map, where it is for models of that kind.
#include <gtest/gtest.h>

#include "adapters/core/combination.h"
#include "base/error.h"
#include "cli/core/in_context_run.h"
#include "cli/core/tune_settings.h"
#include "config/comparison.h"
#include "config/published_test_support.h"
#include "config/shipped.h"

namespace graft {
namespace {

// Infixes are for decoder-only models, and the T-Few paper's methods for T0.
bool is_for(const std::string& comparison, const Model& model) {
  return comparison != (model.encoder_decoder() ? "prefix-placements" : "tfew-methods");
}

void expect_adapters(const Comparison& comparison, const Model& model) {
  for (const auto& variant : comparison.variants) {
    SCOPED_TRACE(variant.name);
    RunConfig config = with_settings(variant.settings, load_recipe(comparison.recipe));
    if (is_in_context(config)) {
      config.task.name = "rte";
      EXPECT_NO_THROW(in_context_settings(config));
      continue;
    }
    try {
      const auto adapter = counted_adapter(config, model);
      EXPECT_GT(trainable_elements(*adapter), 0);
      if (MethodChoice(config.method.name).has_adapter_file()) {
        EXPECT_FALSE(adapter->peft_tensors().empty());
      }
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
    }
  }
}

TEST(ShippedComparisons, EveryVariantMakesAnAdapter) {
  const auto t5 = outline_model(model_config_from_json(t5_v11(64, 128, 4), "config.json")),
             gpt2 = outline_model(model_config_from_json(gpt(64, 2, 4, 128), "config.json"));
  for (const auto& name : shipped_names("comparisons")) {
    const Comparison comparison = load_comparison(name);
    for (const Model* model : {t5.get(), gpt2.get()}) {
      SCOPED_TRACE(name + " of " + model->config().architecture);
      if (is_for(name, *model)) expect_adapters(comparison, *model);
    }
  }
}

}  // namespace
}  // namespace graft
