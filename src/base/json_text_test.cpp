#include "base/json_text.h"

#include <gtest/gtest.h>

namespace graft {
namespace {

TEST(JsonText, WritesWhatIsNoUtf8) {
  const nlohmann::ordered_json value = {{"path", "caf\xE9.csv"}, {"caf\xC3\xA9", 1}};
  EXPECT_EQ(json_text(value), "{\"path\":\"caf\xEF\xBF\xBD.csv\",\"caf\xC3\xA9\":1}");
  EXPECT_EQ(json_text(nlohmann::json{{"a", "\xFF"}}, 2), "{\n  \"a\": \"\xEF\xBF\xBD\"\n}");
}

}  // namespace
}  // namespace graft
