#include "adapters/core/target_modules.h"

#include <gtest/gtest.h>

#include <string>

#include "checkpoint/fixture_test.h"

namespace graft::adapters {
namespace {

using nlohmann::json;
using testing::expect_error;

const std::string kField = "adapter_config.json: target_modules";
const std::string kQuery = "model.layers.0.self_attn.q_proj";

bool picks(const json& value, const std::string& module) {
  return TargetModules(value, kField).pick(module);
}

TEST(TargetModules, AListNamesModulesByTheirLastParts) {
  EXPECT_TRUE(picks(json::array({"v_proj", "q_proj"}), kQuery));
  EXPECT_TRUE(picks(json::array({"self_attn.q_proj"}), kQuery));
  EXPECT_TRUE(picks(json::array({kQuery}), kQuery));
  EXPECT_FALSE(picks(json::array({"proj", "_proj", "q.proj", ".*q_proj"}), kQuery));
  EXPECT_FALSE(picks(json::array(), kQuery));
  EXPECT_FALSE(picks(json(), kQuery));
}

TEST(TargetModules, APatternMatchesTheWholeName) {
  EXPECT_TRUE(picks(R"(model\.layers\.\d+\.self_attn\.(?P<which>q|v)_proj)", kQuery));
  EXPECT_TRUE(picks(".*q_proj", kQuery));
  EXPECT_TRUE(picks("(?i).*Q_PROJ", kQuery));
  EXPECT_FALSE(picks("q_proj", kQuery));
  EXPECT_FALSE(picks("model.*q", kQuery));
  EXPECT_FALSE(picks("", kQuery));
  // Both ends hold for each side of a bar, and a shorter side does not hide a longer one.
  EXPECT_FALSE(picks("model|q_proj", kQuery));
  EXPECT_TRUE(picks("q|q_proj", "q_proj"));
  EXPECT_FALSE(picks("q_proj", "q_proj\n"));
}

TEST(TargetModules, WhatIsNoPatternIsToldWithItsField) {
  for (const char* pattern : {"(q|v", "a)(b", "[q", "*", "(?<q", R"(\C)"}) {
    SCOPED_TRACE(pattern);
    expect_error(Category::Corruption, kField, [&] { picks(pattern, kQuery); });
    expect_error(Category::Corruption, pattern, [&] { picks(pattern, kQuery); });
  }
  expect_error(Category::Corruption, "7 is not the name of a module", [] { picks(json::array({"q", 7}), kQuery); });
}

// Each more letter would double the steps.
TEST(TargetModules, APatternThatTakesForEverGivesUp) {
  const std::string module = std::string(200, 'a') + ".x";
  expect_error(Category::ResourceExhausted, kField, [&] { picks("(a|aa)+x", module); });
}

}  // namespace
}  // namespace graft::adapters
