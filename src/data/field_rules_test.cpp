#include "data/field_rules.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include "data/data_test_support.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string task_with(const std::string& rules) {
  return "name: mine\nformat: jsonl\nsplits: {pool: a.jsonl}\n" + rules +
         "label: label\nlabels: [no, yes]\ntemplates:\n  - prompt: \"{text}\"\n";
}

std::string rules_error(const std::string& rules) {
  return error_of([&] { parse_task(task_with(rules), "mine.yaml"); });
}

std::vector<Row> made(const std::string& rules, std::map<std::string, std::string> fields) {
  std::vector<Row> rows(1);
  rows[0].fields = std::move(fields);
  rows[0].where = "a.jsonl:1";
  make_fields(parse_task(task_with(rules), "mine.yaml").field_rules, "jsonl", rows);
  return rows;
}

TEST(FieldRules, CutAtAMarkFromEitherEnd) {
  const auto front = made("parts: {code: {at: \"-\", into: [a, b]}}\n", {{"code", "x-y-z"}});
  EXPECT_EQ(front[0].fields.at("a"), "x");
  EXPECT_EQ(front[0].fields.at("b"), "y-z") << "the last part keeps what is left";
  const auto back = made("parts: {code: {at: \"-\", from_end: true, into: [a, b]}}\n", {{"code", "x-y-z"}});
  EXPECT_EQ(back[0].fields.at("a"), "x-y");
  EXPECT_EQ(back[0].fields.at("b"), "z");
  const auto three = made("parts: {code: {at: \"-\", from_end: true, into: [a, b, c]}}\n", {{"code", "w-x-y-z"}});
  EXPECT_EQ(three[0].fields.at("a"), "w-x");
  EXPECT_EQ(three[0].fields.at("b"), "y");
  EXPECT_THAT(error_of([] {
                made("parts: {code: {at: \"-\", into: [a, b]}}\n", {{"code", "xyz"}});
              }),
              HasSubstr("a.jsonl:1: 'code' has too few '-' to be cut into 2 parts"));
  EXPECT_THAT(error_of([] {
                made("parts: {code: {at: \"-\", into: [a, b]}}\n", {{"cod", "x-y"}});
              }),
              HasSubstr("has no field 'code'"));
}

TEST(FieldRules, CutAtAPlaceCountsCharacters) {
  const std::string rules = "parts: {text: {at_character: place, skip: word, into: [a, b]}}\n";
  const auto rows = made(rules, {{"text", "äö it ü"}, {"place", "3"}, {"word", "it"}});
  EXPECT_EQ(rows[0].fields.at("a"), "äö ");
  EXPECT_EQ(rows[0].fields.at("b"), " ü");
  for (const char* place : {"8", "6", "-1", "x", ""}) {
    EXPECT_THAT(error_of([&] {
                  made(rules, {{"text", "äö it ü"}, {"place", place}, {"word", "it"}});
                }),
                HasSubstr("which is no place in 'text' (7 characters)"))
        << place;
  }
}

TEST(FieldRules, DefaultsStandWhereARowLacksAField) {
  const std::string rules = "defaults: {label: \"1\"}\n";
  EXPECT_EQ(made(rules, {})[0].fields.at("label"), "1");
  EXPECT_EQ(made(rules, {{"label", "0"}})[0].fields.at("label"), "0");
}

TEST(FieldRules, ANumberFromItsThresholdOnIsOne) {
  const std::string rules = "thresholds: {label: 0.5, far: -2}\n";
  const auto label = [&](const std::string& told) { return made(rules, {{"label", told}})[0].fields.at("label"); };
  for (const char* one : {"0.5", "1", "0.9999999317236823", "5e-1"}) EXPECT_EQ(label(one), "1") << one;
  for (const char* zero : {"0.49999", "0", "-1", "1e-05"}) EXPECT_EQ(label(zero), "0") << zero;
  const auto rows = made(rules, {{"far", "-2.5"}});
  EXPECT_EQ(rows[0].fields.at("far"), "0");
  EXPECT_EQ(rows[0].fields.count("label"), 0u) << "what a row lacks it lacks still";
  EXPECT_EQ(label(""), "");
  for (const char* told : {"yes", "0,7", "0.7 ", "nan"}) {
    EXPECT_THAT(error_of([&] { label(told); }),
                HasSubstr(fmt::format("a.jsonl:1: 'label' is '{}', and the task compares it with 0.5", told)));
  }
}

TEST(FieldRules, ALabelOfRowsToAnswerIsNotComparedWithItsThreshold) {
  const Folder folder;
  folder.file("new.jsonl", "{\"text\": \"Who?\", \"label\": \"unknown\"}\n");
  const Task task = parse_task(task_with("thresholds: {label: 0.5}\n"), "mine.yaml");
  const auto rows = read_unlabelled(task, folder.path() / "new.jsonl");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].fields.count("label"), 0u);
  EXPECT_THAT(error_of([&] { read_split(task, folder.path() / "new.jsonl", "pool"); }),
              HasSubstr("'label' is 'unknown', and the task compares it with 0.5"));
}

TEST(FieldRules, TurnsAreRowsBehindThoseBefore) {
  const std::string rules = "turns: {fields: {q: qs, a: as.text}, earlier: \"{q}? {a}. \"}\n";
  const auto rows =
      made(rules, {{"text", "t"}, {"qs.0", "who"}, {"qs.1", "why"}, {"as.text.0", "I"}, {"as.text.1", "so"}});
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].fields.at("earlier"), "");
  EXPECT_EQ(rows[1].fields.at("earlier"), "who? I. ");
  EXPECT_EQ(rows[1].fields.at("q"), "why");
  EXPECT_EQ(rows[1].fields.at("text"), "t");
  EXPECT_EQ(rows[1].fields.count("qs.0"), 0u) << "each row holds its own turn";
  EXPECT_EQ(rows[1].where, "a.jsonl:1 turn 2");
  EXPECT_THAT(error_of([&] { made(rules, {{"qs.0", "who"}}); }), HasSubstr("each turn needs one of both"));
  EXPECT_THAT(error_of([&] { made(rules, {{"text", "t"}}); }), HasSubstr("is empty or absent"));
}

TEST(FieldRules, TurnsTakeNoMemoryWithoutEnd) {
  std::map<std::string, std::string> fields = {{"text", std::string(1 << 20, 'x')}};
  for (int i = 0; i < 200; ++i) fields[fmt::format("qs.{}", i)] = "q";
  EXPECT_THAT(error_of([&] { made("turns: {fields: {q: qs}}\n", fields); }),
              HasSubstr("a.jsonl:1: its 200 turns make rows of more than 134217728 bytes together"));
}

TEST(FieldRules, SpansAreTextsAtTheirPlacesOnce) {
  const std::string rules = "spans: {names: {text: text, places: marks, first: start, last: end}}\n";
  const auto rows = made(rules, {{"text", "Zoë met Ann, Zoë ran"},
                                 {"marks.0.start", "0"},
                                 {"marks.0.end", "2"},
                                 {"marks.1.start", "8"},
                                 {"marks.1.end", "10"},
                                 {"marks.2.start", "13"},
                                 {"marks.2.end", "15"}});
  EXPECT_THAT(list_of(rows[0], "names"), ElementsAre("Zoë", "Ann")) << "characters are counted, both ends belong to it";
  EXPECT_THAT(list_of(made(rules, {{"text", "t"}, {"names.0", "Eve"}})[0], "names"), ElementsAre("Eve"))
      << "a flat row has the list itself";
  const auto told = [&](const std::string& start, const std::string& end) {
    return error_of([&] { made(rules, {{"text", "Zoë"}, {"marks.0.start", start}, {"marks.0.end", end}}); });
  };
  EXPECT_THAT(told("0", "3"),
              HasSubstr("a.jsonl:1: 'marks.0.end' is '3', which is no place in a text of 3 characters"));
  EXPECT_THAT(told("x", "1"), HasSubstr("'marks.0.start' is 'x'"));
  EXPECT_THAT(told("2", "1"), HasSubstr("'marks.0.end' is 1, in front of 'marks.0.start', which is 2"));
  EXPECT_THAT(error_of([&] {
                made(rules, {{"text", "Zoë"}, {"marks.0.start", "0"}});
              }),
              HasSubstr("has no field 'marks.0.end'"));
}

TEST(FieldRules, RowsThatDifferInOneFieldArePairs) {
  const FieldRules rules =
      parse_task(task_with("pairs: {by: who, same: [story], fields: [text]}\n"), "mine.yaml").field_rules;
  const auto row = [](const char* story, const char* who, const char* text) {
    return Row{{{"story", story}, {"who", who}, {"text", text}}, std::string("a.jsonl ") + text};
  };
  std::vector<Row> rows = {row("s", "he", "He ran"), row("t", "he", "He sat"), row("s", "she", "She ran"),
                           row("t", "she", "She sat")};
  make_fields(rules, "jsonl", rows);
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].fields.at("text.he"), "He ran");
  EXPECT_EQ(rows[0].fields.at("text.she"), "She ran");
  EXPECT_EQ(rows[0].fields.count("text"), 0u);
  EXPECT_EQ(rows[0].fields.count("who"), 0u) << "it is of neither alone";
  EXPECT_EQ(rows[1].fields.at("text.she"), "She sat");
  std::vector<Row> twice = {row("s", "he", "one"), row("s", "he", "two")};
  EXPECT_THAT(error_of([&] { make_fields(rules, "jsonl", twice); }),
              HasSubstr("a.jsonl two: is the second row of a pair whose 'who' is 'he'; the first is a.jsonl one"));
  std::vector<Row> bare = {Row{{{"story", "s"}, {"text", "x"}}, "a.jsonl:1"}};
  EXPECT_THAT(error_of([&] { make_fields(rules, "jsonl", bare); }), HasSubstr("has no field 'who'"));
}

TEST(FieldRules, BadRulesAreToldWithTheirLine) {
  EXPECT_THAT(rules_error("pairs: {by: a, same: [], fields: [b]}\n"), HasSubstr("mine.yaml:4: 'pairs' needs"));
  EXPECT_THAT(rules_error("spans: {a: {text: b, places: c, first: d}}\n"), HasSubstr("lacks the key 'last'"));
  EXPECT_THAT(rules_error("thresholds: {label: high}\n"), HasSubstr("mine.yaml:4: 'label' must be a number"));
  EXPECT_THAT(rules_error("thresholds: {label: inf}\n"), HasSubstr("mine.yaml:4: the threshold of 'label' is inf"));

  EXPECT_THAT(rules_error("turns: {fields: {earlier: qs}}\n"), HasSubstr("mine.yaml:4: 'earlier' is what the turns"));
  EXPECT_THAT(rules_error("parts: {text: {into: [a, b]}}\n"), HasSubstr("mine.yaml:4: the parts of 'text' need 'at'"));
  EXPECT_THAT(rules_error("parts: {text: {at: x, at_character: y, into: [a, b]}}\n"), HasSubstr("one of them"));
  EXPECT_THAT(rules_error("parts: {text: {at: x, skip: y, into: [a, b]}}\n"), HasSubstr("'skip' goes with"));
  EXPECT_THAT(rules_error("parts: {text: {at_character: y, from_end: true, into: [a, b]}}\n"),
              HasSubstr("'from_end' goes with"));
  EXPECT_THAT(rules_error("parts: {text: {at: x, into: [a, a]}}\n"), HasSubstr("two or more different names"));
  EXPECT_THAT(rules_error("parts: {text: {at_character: x, into: [a, b, c]}}\n"), HasSubstr("two different names"));
  EXPECT_THAT(rules_error("parts: {text: {att: x, into: [a, b]}}\n"), HasSubstr("did you mean 'at'?"));
  EXPECT_THAT(rules_error("turns: {fields: {}}\n"), HasSubstr("'turns' names no list"));
  EXPECT_THAT(rules_error("turns: {fields: {q: qs}, earlier: \"{a}\"}\n"), HasSubstr("none of the fields of a turn"));
}

TEST(FieldRules, AGapInAListIsToldOf) {
  Row row;
  row.where = "a.jsonl:1";
  row.fields = {{"a.0", "x"}, {"a.1", "y"}, {"a.1.b", "u"}, {"ab.7", "v"}, {"c.1", "z"}};
  EXPECT_THAT(list_of(row, "a"), ElementsAre("x", "y"));
  EXPECT_TRUE(list_of(row, "b").empty());
  EXPECT_THAT(error_of([&] { list_of(row, "c"); }), HasSubstr("a.jsonl:1: item 0 of the list 'c'"));
  row.fields["a.3"] = "z";
  EXPECT_THAT(error_of([&] { list_of(row, "a"); }), HasSubstr("item 2 of the list 'a' (counted from 0) is null"));
}

}  // namespace
}  // namespace graft
