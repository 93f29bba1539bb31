#include "text/document_template.h"

#include <gmock/gmock.h>

#include "base/error_test_support.h"

namespace graft {
namespace {

using OrderedJson = nlohmann::ordered_json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const OrderedJson kDocument = OrderedJson::parse(
    R"({"question": " Why? ", "choices": {"text": ["it's", "so"], "label": ["A", "B"]}, "answer": "B", "n": 2})");

std::string rendered_document(const std::string& source, const OrderedJson& document = kDocument) {
  return DocumentTemplate(source, "t.yaml:1: 'doc_to_text'").render(document);
}

TEST(DocumentTemplate, FillsFieldsOfEveryType) {
  EXPECT_EQ(rendered_document("Q: {{question.strip()}}\nA:"), "Q: Why?\nA:");
  EXPECT_EQ(rendered_document("{{choices.label.index(answer)}}"), "1");
  EXPECT_EQ(rendered_document("{{choices['text'][0]}} {{n + 1}}"), "it's 3");
  EXPECT_EQ(rendered_document("{{choices.text}}"), "[\"it's\", 'so']");
  EXPECT_EQ(rendered_document("{{question.split(' ')[:-1]|join('+')}}"), "+Why?");
  EXPECT_EQ(rendered_document("{% for c in choices.text %}{{loop.index}}. {{c}}\n{% endfor %}"), "1. it's\n2. so\n");
}

TEST(DocumentTemplate, WhiteSpaceStandsAsItIsWritten) {
  EXPECT_EQ(rendered_document("a\n"), "a\n") << "the line break at the end stays";
  EXPECT_EQ(rendered_document("{% if n %}\nb\n  {% endif %}\nc"), "\nb\n  \nc") << "no trim_blocks, no lstrip_blocks";
  EXPECT_EQ(rendered_document("{%- if n -%}\n b {%- endif %}"), "b");
}

TEST(DocumentTemplate, AFieldThatIsNotThereIsAnError) {
  EXPECT_EQ(error_of([] { rendered_document("{{quest}}"); }),
            "InvalidArgument t.yaml:1: 'doc_to_text': 'quest' is undefined, the text needs it");
  EXPECT_THAT(error_of([] { rendered_document("{{choices.labels}}"); }), HasSubstr("'labels' is undefined"));
  EXPECT_THAT(error_of([] { rendered_document("{{choices.label.index('C')}}"); }), HasSubstr("'C' is not in the list"));
  EXPECT_THAT(error_of([] { rendered_document("{{question"); }),
              StartsWith("InvalidArgument t.yaml:1: 'doc_to_text': line 1"));
  EXPECT_EQ(rendered_document("{% if quest is defined %}{{quest}}{% endif %}"), "");
}

TEST(PythonLiteral, ReadsWhatPythonWrites) {
  const auto list = python_literal(R"(["it's", 'so', "a\nb", 'q"q'])");
  ASSERT_TRUE(list.has_value());
  EXPECT_EQ(*list, (OrderedJson{"it's", "so", "a\nb", "q\"q"}));
  EXPECT_EQ(python_literal("[1, -2.5, True, None]")->dump(), "[1,-2.5,true,null]");
  EXPECT_EQ(python_literal("('a', 'b')")->size(), 2u);
  for (const char* other : {"[a, b]", "['a'", "", "}}", "a b", "['a'] ['b'"})
    EXPECT_FALSE(python_literal(other).has_value()) << other;
}

}  // namespace
}  // namespace graft
