// Options of methods: what is given is read as it was meant, or refused.
#include "adapters/core/options.h"

#include <gtest/gtest.h>

#include "adapters/core/method.h"
#include "base/rng.h"
#include "checkpoint/fixture_test.h"
#include "config/model_config.h"
#include "config/published_test_support.h"

namespace graft::adapters {
namespace {

using nlohmann::json;
using testing::expect_error;

Options options_of(const json& given) {
  return Options("lora", given, {"alpha", "ranks", "alphas"});
}

const std::vector<Role> kTrained = {Role::Q, Role::V};

TEST(Options, NumbersOfSingleRolesAreReadAsTheyAre) {
  const Options options = options_of({{"ranks", {{"q", 16}, {"v", 1}}}, {"alphas", {{"v", 0.5}}}});
  EXPECT_EQ(options.integers_by_role("ranks", 1, kTrained),
            (std::map<Role, std::int64_t>{{Role::Q, 16}, {Role::V, 1}}));
  EXPECT_EQ(options.positives_by_role("alphas", 100, kTrained), (std::map<Role, double>{{Role::V, 0.5}}));
  EXPECT_TRUE(options_of(json::object()).integers_by_role("ranks", 1, kTrained).empty());
}

TEST(Options, NumbersOfSingleRolesThatMeanNothingAreRefused) {
  const auto ranks = [](const json& given) { options_of({{"ranks", given}}).integers_by_role("ranks", 1, kTrained); };
  const auto alphas = [](const json& given) {
    options_of({{"alphas", given}}).positives_by_role("alphas", 9, kTrained);
  };
  const auto refused = [](const char* says, const auto& action) {
    SCOPED_TRACE(says);
    expect_error(Category::InvalidArgument, says, action);
  };
  refused("whole numbers of at least 1", [&] { ranks({{"q", 1.9}}); });
  refused("whole numbers of at least 1", [&] { ranks({{"q", 0}}); });
  refused("method.options.ranks", [&] { ranks(8); });
  refused("k is none of the roles that are trained", [&] { ranks({{"k", 8}}); });
  refused("'down'", [&] { ranks({{"dow", 8}}); });
  refused("above 0 and at most 9", [&] { alphas({{"q", 0}}); });
  refused("above 0 and at most 9", [&] { alphas({{"q", 10}}); });
  refused("above 0 and at most 9", [&] { alphas({{"q", "2"}}); });
  refused("o is none of the roles", [&] { alphas({{"o", 2}}); });
}

TEST(Options, APositiveNumberIsNotZero) {
  EXPECT_EQ(options_of(json::object()).positive("alpha", 3, 10), 3);
  EXPECT_EQ(options_of({{"alpha", 1e-3}}).positive("alpha", 3, 10), 1e-3);
  for (const json& wrong : {json(0), json(-1), json(10.5), json("1"), json(true)})
    expect_error(Category::InvalidArgument, "above 0 and at most 10", [&] {
      options_of({{"alpha", wrong}}).positive("alpha", 3, 10);
    });
}

TEST(Options, WhatIsOfAnEncoderDecoderIsRefusedElsewhere) {
  const auto gpt2 = outline_model(model_config_from_json(gpt(64, 2, 4, 128), "config.json")),
             t5 = outline_model(model_config_from_json(t5_v11(64, 128, 4), "config.json"));
  Rng rng(0);
  const std::vector<std::pair<const char*, json>> cases = {{"prompt_tuning", {{"decoder", true}}},
                                                           {"prefix_tuning", {{"layout", "peft"}}},
                                                           {"adapter", {{"cross", true}}},
                                                           {"compacter", {{"cross", true}}}};
  for (const auto& [method, options] : cases) {
    SCOPED_TRACE(method);
    const Method& found = find(method);
    const json given = options;
    expect_error(Category::InvalidArgument, "this model has no encoder", [&] { found.create(*gpt2, given, rng); });
    EXPECT_NE(trainable_elements(*found.create(*t5, given, rng)),
              trainable_elements(*found.create(*t5, json::object(), rng)));
  }
  for (const char* placement : {"pfeiffer", "parallel"}) {
    const json given = {{"cross", true}, {"placement", placement}};
    expect_error(Category::InvalidArgument, "goes with placement=houlsby",
                 [&] { find("adapter").create(*t5, given, rng); });
  }
}

}  // namespace
}  // namespace graft::adapters
