#include "data/template.h"

#include <gmock/gmock.h>

#include "data/data_test_support.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string rendered(const std::string& source) {
  return TextTemplate(source, "t").render([](const std::string& name) { return "<" + name + ">"; });
}

std::string template_error(const std::string& source) {
  return error_of([&] { TextTemplate(source, "rte.yaml: template 'a'"); });
}

TEST(TextTemplate, PutsFieldsInPlace) {
  EXPECT_EQ(rendered("{a} and {b c}\n{a}"), "<a> and <b c>\n<a>");
  EXPECT_EQ(rendered(""), "");
  EXPECT_EQ(rendered("no field"), "no field");
  EXPECT_THAT(TextTemplate("{x}{y}{x}", "t").fields(), ElementsAre("x", "y", "x"));
}

TEST(TextTemplate, DoubledBracesAreLiteral) {
  EXPECT_EQ(rendered("{{a}}"), "{a}");
  EXPECT_EQ(rendered("{{{a}}}"), "{<a>}");
  EXPECT_EQ(rendered("}}{{"), "}{");
}

TEST(TextTemplate, ValuesAreNotReadAsTemplates) {
  const TextTemplate made("{a}", "t");
  EXPECT_EQ(made.render([](const std::string&) { return "{b} }} {"; }), "{b} }} {");
}

TEST(TextTemplate, BadBracesNameTheColumn) {
  EXPECT_EQ(template_error("ab {text"),
            "InvalidArgument rte.yaml: template 'a': '{' in column 4 is not closed; write {field}, or {{ for a literal "
            "brace");
  EXPECT_THAT(template_error("{a{b}"), HasSubstr("column 1 is not closed"));
  EXPECT_THAT(template_error("a } b"), HasSubstr("'}' in column 3 closes nothing; write }} for a literal brace"));
  EXPECT_THAT(template_error("{}"), HasSubstr("{} in column 1 names no field"));
  EXPECT_THAT(template_error("{"), HasSubstr("column 1 is not closed"));
}

}  // namespace
}  // namespace graft
