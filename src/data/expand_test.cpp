#include "data/expand.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "data/data_test_support.h"
#include "data/reader.h"

namespace graft {
namespace {

using ::testing::HasSubstr;

std::string task_with_expand(const std::string& rules) {
  return "name: mine\nformat: jsonl\nsplits: {pool: a.jsonl}\n" + rules +
         "label: label\nlabels: [no, yes]\ntemplates:\n  - prompt: \"{text}\"\n";
}

std::vector<Row> expanded(const std::string& rules, const std::string& line) {
  std::vector<Row> rows = {jsonl_row(line, "a.jsonl:1")};
  make_fields(parse_task(task_with_expand(rules), "mine.yaml").field_rules, "jsonl", rows);
  return rows;
}

std::string expand_error(const std::string& rules, const std::string& line) {
  return error_of([&] { expanded(rules, line); });
}

const std::string kQuestions =
    "expand:\n  lists: [page.asked, page.asked.given]\n"
    "  fields: {question: page.asked.q, answer: page.asked.given.a, spans: page.asked.given.at.start}\n";

TEST(Expand, ARowForEachItemCarriesWhatStandsAroundIt) {
  const auto rows = expanded(
      kQuestions, R"({"idx": 7, "page": {"text": "t", "asked": [{"q": "who", "given": [{"a": "x"}, {"a": "y"}]}, )"
                  R"({"q": "why", "given": [{"a": "z", "at": [{"start": 3}, {"start": 5}]}]}]}})");
  ASSERT_EQ(rows.size(), 3u);
  for (const auto& row : rows) {
    EXPECT_EQ(row.fields.at("idx"), "7");
    EXPECT_EQ(row.fields.at("page.text"), "t");
  }
  EXPECT_EQ(rows[0].fields.at("question"), "who");
  EXPECT_EQ(rows[1].fields.at("answer"), "y");
  EXPECT_EQ(rows[1].where, "a.jsonl:1 item 1.2");
  EXPECT_EQ(rows[2].fields.at("question"), "why");
  EXPECT_EQ(rows[2].fields.at("spans.1"), "5") << "a list within keeps its numbers";
  EXPECT_EQ(rows[2].fields.count("page.asked.1.q"), 0u);
}

TEST(Expand, ItemsStandInTheirOrder) {
  std::string items;
  for (int i = 0; i < 12; ++i) items += fmt::format("{}\"w{}\"", i == 0 ? "" : ", ", i);
  const auto rows = expanded("expand: {lists: [words]}\n", "{\"words\": [" + items + "]}");
  ASSERT_EQ(rows.size(), 12u);
  for (int i = 0; i < 12; ++i)
    EXPECT_EQ(rows[static_cast<std::size_t>(i)].fields.at("words"), fmt::format("w{}", i)) << "an item may be a text";
}

TEST(Expand, AFlatRowStaysAsItIs) {
  const auto rows = expanded(kQuestions, R"({"question": "who", "answer": "x", "idx": {"page": 1}})");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].where, "a.jsonl:1");
  EXPECT_EQ(rows[0].fields.size(), 3u);
  EXPECT_EQ(rows[0].fields.at("answer"), "x");
}

TEST(Expand, WithoutListsFieldsHaveOtherNames) {
  const std::string rules = "expand: {fields: {text: premise}}\n";
  const auto rows = expanded(rules, R"({"premise": "p", "label": "no"})");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].fields.at("text"), "p");
  EXPECT_EQ(rows[0].fields.at("label"), "no");
  EXPECT_EQ(expanded(rules, R"({"text": "t"})").at(0).fields.at("text"), "t");
}

TEST(Expand, BadDataIsToldWithItsItem) {
  EXPECT_THAT(expand_error(kQuestions, R"({"page": {"asked": [{"q": "who", "given": [{"a": "x"}]}, {"q": "why"}]}})"),
              HasSubstr("a.jsonl:1 item 2: the list 'page.asked.given' is empty or absent"));
  EXPECT_THAT(expand_error(kQuestions, R"({"page": {"asked": {"first": "who"}}})"),
              HasSubstr("a.jsonl:1: 'page.asked' is no list, it has a field 'first'"));
}

TEST(Expand, ItemsTakeNoMemoryWithoutEnd) {
  std::string items;
  for (int i = 0; i < 200; ++i) items += i == 0 ? "1" : ", 1";
  EXPECT_THAT(expand_error("expand: {lists: [n]}\n",
                           fmt::format(R"({{"text": "{}", "n": [{}]}})", std::string(1 << 20, 'x'), items)),
              HasSubstr("a.jsonl:1: its items make rows of more than 134217728 bytes together"));
}

TEST(Expand, BadRulesAreToldWithTheirLine) {
  const auto told = [](const std::string& rules) {
    return error_of([&] { parse_task(task_with_expand(rules), "mine.yaml"); });
  };
  EXPECT_THAT(told("expand: {lists: []}\n"), HasSubstr("mine.yaml:4: 'expand' names no list"));
  EXPECT_THAT(told("expand: {lists: [a, b.c]}\n"), HasSubstr("the list 'b.c' is not within 'a'"));
  EXPECT_THAT(told("expand: {lists: [a], fields: {x: a.b, y: a.b}}\n"), HasSubstr("'a.b' is given two names"));
  EXPECT_THAT(told("expand: {list: [a]}\n"), HasSubstr("lacks the key 'lists'"));
  EXPECT_THAT(told("expand: {list: [a], fields: {x: a.b}}\n"), HasSubstr("did you mean 'lists'?"));
}

}  // namespace
}  // namespace graft
