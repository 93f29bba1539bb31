#include "report/markup.h"

#include <gtest/gtest.h>

#include <limits>

namespace graft {
namespace {

TEST(Markup, EscapesEveryCharacterThatCouldLeaveItsPlace) {
  EXPECT_EQ(escape("</script><b a=\"1\" c='2'>&amp;"),
            "&lt;/script&gt;&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;");
}

TEST(Markup, ShowsControlCharactersInsteadOfSendingThem) {
  EXPECT_EQ(escape(std::string_view("a\0b\x1b[31m\x7f\n\tc\r", 13)), "a␀b␛[31m␡\n\tc␍");
  EXPECT_EQ(escape("a\r\nb"), "a\nb");                    // a line end, however it was written
  EXPECT_EQ(escape("\xC2\x85"), "\xEF\xBF\xBD");          // a C1 control
  EXPECT_EQ(escape("x\xE2\x80\xAEy"), "x\xEF\xBF\xBDy");  // right-to-left override
}

TEST(Markup, ReplacesInvalidUtf8AndKeepsTheRest) {
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(escape("é世🙂"), "é世🙂");
  EXPECT_EQ(escape("a\xFFz"), "a" + bad + "z");
  EXPECT_EQ(escape("\xC0\xBC"), bad + bad);            // an overlong "<"
  EXPECT_EQ(escape("\xE0\x80\xBC"), bad + bad + bad);  // and a longer one
  EXPECT_EQ(escape("\xED\xA0\x80"), bad + bad + bad);  // a surrogate
  EXPECT_EQ(escape("\xF4\x90\x80\x80"), bad + bad + bad + bad);
  EXPECT_EQ(escape("\xE4\xB8"), bad + bad);  // cut at the end
  EXPECT_EQ(escape("\xE4<"), bad + "&lt;");  // a lead byte swallows nothing
}

TEST(Markup, CutsBetweenCodePoints) {
  EXPECT_EQ(excerpt("世界人", 3), "世界人");
  EXPECT_EQ(excerpt("世界人", 2), "世界…");
  EXPECT_EQ(excerpt("", 0), "");
  EXPECT_EQ(excerpt_middle("card_世界_70", 6), "car…70");
  EXPECT_EQ(excerpt_middle("card", 4), "card");
  EXPECT_EQ(shown_characters("a世🙂\xFF"), 4u);
}

TEST(Markup, FormatsNumbers) {
  EXPECT_EQ(percent(0.865), "86.5%");
  EXPECT_EQ(percent(std::numeric_limits<double>::quiet_NaN()), "–");
  EXPECT_EQ(si(6.8e13), "68 T");
  EXPECT_EQ(si(999.9), "1 k");
  EXPECT_EQ(si(12), "12");
  EXPECT_EQ(si(std::numeric_limits<double>::infinity()), "–");
  EXPECT_EQ(number(0.003), "0.003");
}

}  // namespace
}  // namespace graft
