#include "text/normalizer.h"

#include <gtest/gtest.h>

namespace graft::text {
namespace {

std::string normal(const char* type, std::string_view text) {
  const Json component = {{"type", type}};
  std::string out;
  make_normalizer(component, "test")->apply(text, out);
  return out;
}

// Each is what the reference gives, whose tables are those of Unicode 9.0.
TEST(Normalizer, FormsAreThoseOfUnicode9) {
  EXPECT_EQ(normal("NFC", "e\u0301 a\u0301\u0323"), "\u00E9 \u1EA1\u0301");
  EXPECT_EQ(normal("NFD", "\u00E9"), "e\u0301");
  EXPECT_EQ(normal("NFC", "\u00E9"), "\u00E9");
  EXPECT_EQ(normal("NFC", "\u09FE\u09CDe\u0301"), "\u09FE\u09CD\u00E9") << "U+09FE is of Unicode 11 and moves nowhere";
  EXPECT_EQ(normal("NFC", "e\u09FE\u0301"), "e\u09FE\u0301");
  EXPECT_EQ(normal("NFD", "\U00011938\u00E9"), "\U00011938e\u0301") << "U+11938 is of Unicode 13";
  EXPECT_EQ(normal("NFKC", "\u337E\u32FF"), "\u660E\u6CBB\u32FF") << "U+32FF is of Unicode 12.1";
  EXPECT_EQ(normal("StripAccents", "e\u0301\u1CF2\u09FE"), "e\u09FE");
}

}  // namespace
}  // namespace graft::text
