#include "data/reader.h"

#include <gmock/gmock.h>

#include "data/data_test_support.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::StartsWith;

std::string csv_error(const std::string& text) {
  return error_of([&] { read_csv(text, "mine.csv"); });
}
std::string jsonl_error(const std::string& text) {
  return error_of([&] { read_jsonl(text, "mine.jsonl"); });
}

TEST(Csv, ReadsQuotesCommasAndLineBreaks) {
  const auto rows = read_csv("text,label\n\"a, \"\"b\"\"\nc\",x\nd,\n", "mine.csv");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].fields.at("text"), "a, \"b\"\nc");
  EXPECT_EQ(rows[0].where, "mine.csv:2");
  EXPECT_EQ(rows[1].fields.at("label"), "");
  EXPECT_EQ(rows[1].where, "mine.csv:4") << "the quoted line break counts";
}

TEST(Csv, ByteOrderMarkAndWindowsLineEndsAreNoContent) {
  const auto rows = read_csv("\xEF\xBB\xBFtext,label\r\na,x\r\n\"b\r\nc\",y\r\n", "mine.csv");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_THAT(rows[0].fields, ElementsAre(Pair("label", "x"), Pair("text", "a")));
  EXPECT_EQ(rows[1].fields.at("text"), "b\r\nc");
  EXPECT_EQ(rows[1].fields.at("label"), "y");
}

TEST(Csv, LastLineNeedsNoEnd) {
  EXPECT_EQ(read_csv("t\na\nb", "m")[1].fields.at("t"), "b");
  EXPECT_EQ(read_csv("t,u\na,\"b\"", "m")[0].fields.at("u"), "b");
  EXPECT_EQ(read_csv("t,u\na,", "m")[0].fields.at("u"), "");
}

TEST(Csv, BlankLinesAreFineAtTheEndOnly) {
  EXPECT_EQ(read_csv("t,u\na,b\n\n \r\n", "m").size(), 1u);
  EXPECT_EQ(csv_error("t,u\na,b\n\nc,d\n"), "InvalidArgument mine.csv:3: empty row; remove the blank line");
}

TEST(Csv, WrongNumberOfFieldsNamesTheLine) {
  EXPECT_THAT(csv_error("t,u\na,b\na,b,c\n"), StartsWith("InvalidArgument mine.csv:3: has 3 fields, the header has 2"));
  EXPECT_THAT(csv_error("t,u\na\n"), StartsWith("InvalidArgument mine.csv:2: has 1 fields"));
}

TEST(Csv, BrokenQuotesNameTheLineTheyOpenOn) {
  EXPECT_THAT(csv_error("t,u\na,b\n\"c,d\ne,f\n"),
              StartsWith("Corruption mine.csv:3: the quote opened on this line is not closed"));
  EXPECT_THAT(csv_error("t,u\n\"a\"x,b\n"), StartsWith("Corruption mine.csv:2: text stands behind a closing quote"));
}

TEST(Csv, HeaderIsChecked) {
  EXPECT_THAT(csv_error(""), HasSubstr("mine.csv:1: has no header line"));
  EXPECT_THAT(csv_error("\na,b\n"), HasSubstr("has no header line"));
  EXPECT_THAT(csv_error("a,b,a\n1,2,3\n"), HasSubstr("the column 'a' stands in the header twice"));
  EXPECT_THAT(csv_error("\xFF\xFEt\0"), HasSubstr("UTF-16"));
}

TEST(Csv, InvalidBytesAreReplacedAndQuotesInsideTextKept) {
  const auto rows = read_csv("t,u\n\xA3 5,5\" disk\n", "m");
  EXPECT_EQ(rows[0].fields.at("t"), "\xEF\xBF\xBD 5");
  EXPECT_EQ(rows[0].fields.at("u"), "5\" disk");
}

TEST(Tsv, QuotesAreText) {
  const auto rows = read_tsv("t\tu\r\n\"a\t\"b\r\n", "m");
  EXPECT_EQ(rows[0].fields.at("t"), "\"a");
  EXPECT_EQ(rows[0].fields.at("u"), "\"b");
  EXPECT_THAT(error_of([] { read_tsv("t\tu\na\n", "m.tsv"); }), HasSubstr("m.tsv:2: has 1 fields"));
}

TEST(Jsonl, FlattensNestedValues) {
  const auto rows = read_jsonl(
      "\xEF\xBB\xBF{\"a\": {\"b\": 1}, \"c\": [\"x\", \"y\"], \"d\": true, \"e\": null}\r\n{\"f\": 0.5}\n\n", "m");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_THAT(rows[0].fields, ElementsAre(Pair("a.b", "1"), Pair("c.0", "x"), Pair("c.1", "y"), Pair("d", "true")));
  EXPECT_EQ(rows[1].fields.at("f"), "0.5");
  EXPECT_EQ(rows[1].where, "m:2");
}

TEST(Jsonl, ListsOfObjectsAndNumbersAsTheyAreWritten) {
  const auto rows = read_jsonl(
      R"({"a": [{"x": 1, "y": [2, null, 3]}, "z"], "b": {"c": {}, "d": {"e": 1.50}}, "f": 123456789012345678901})",
      "m");
  EXPECT_THAT(rows[0].fields, ElementsAre(Pair("a.0.x", "1"), Pair("a.0.y.0", "2"), Pair("a.0.y.2", "3"),
                                          Pair("a.1", "z"), Pair("b.d.e", "1.50"), Pair("f", "123456789012345678901")));
}

TEST(Jsonl, BadLinesNameFileAndLine) {
  EXPECT_THAT(jsonl_error("{\"a\": 1}\n{\"a\": \n"), StartsWith("Corruption mine.jsonl:2: is not valid JSON"));
  EXPECT_THAT(jsonl_error("7\n"), StartsWith("Corruption mine.jsonl:1: must be a JSON object, it is a number"));
  EXPECT_THAT(jsonl_error("[1]\n"), StartsWith("Corruption mine.jsonl:1: must be a JSON object, it is a list"));
  EXPECT_EQ(jsonl_error("{\"a\": 1}\n\n{\"a\": 2}\n"),
            "InvalidArgument mine.jsonl:2: empty row; remove the blank line");
  EXPECT_THAT(jsonl_error("{\"a\": \"\\ud800\"}\n"), StartsWith("Corruption mine.jsonl:1"));
}

TEST(Jsonl, ALongNameOfManyItemsTakesNoMemoryWithoutEnd) {
  std::string items = "1";
  for (int i = 0; i < 1000; ++i) items += ",1";
  EXPECT_THAT(jsonl_error("{\"" + std::string(100000, 'k') + "\": [" + items + "]}\n"),
              StartsWith("InvalidArgument mine.jsonl:1: has field names of more than 67108864 bytes together"));
}

TEST(Jsonl, DeepNestingIsRefusedEarly) {
  EXPECT_THAT(jsonl_error("{\"a\": " + std::string(1000000, '[')),
              StartsWith("InvalidArgument mine.jsonl:1: is nested deeper"));
}

TEST(FolderReader, OneRowPerFileSortedByPath) {
  const Folder folder;
  folder.file("tech/b.txt", "second\xA3");
  folder.file("tech/a.txt",
              "\xEF\xBB\xBF"
              "first");
  folder.file("arts/z.txt", "third");
  folder.file("arts/notes.md", "no row");
  folder.file("_cache/x.txt", "no class");
  const auto rows = read_folder(folder.path());
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_THAT(rows[0].fields, ElementsAre(Pair("label", "arts"), Pair("text", "third")));
  EXPECT_EQ(rows[1].fields.at("text"), "first");
  EXPECT_EQ(rows[2].fields.at("text"), "second\xEF\xBF\xBD");
  EXPECT_EQ(rows[2].where, (folder.path() / "tech/b.txt").string());
}

TEST(FolderReader, MissingPartsAreNamed) {
  const Folder folder;
  EXPECT_THAT(error_of([&] { read_folder(folder.path()); }), HasSubstr("has no subfolders"));
  folder.file("tech/a.md", "x");
  EXPECT_THAT(error_of([&] { read_folder(folder.path()); }), HasSubstr("holds no .txt file"));
  EXPECT_THAT(error_of([&] { read_folder(folder.path() / "none"); }), StartsWith("NotFound"));
  const Folder tables;
  tables.file("a.csv", "text,label\n");
  EXPECT_THAT(error_of([&] { read_folder(tables.path()); }),
              HasSubstr("name the files, e.g. '" + (tables.path() / "*.csv").string() + "'"));
}

TEST(Lines, AreCutAtTheSeparator) {
  const auto rows = read_lines("a : b || Said so . \r\nc||d\n\n", "e2e.txt", "||", {"mr", "text"});
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].fields.at("mr"), "a : b");
  EXPECT_EQ(rows[0].fields.at("text"), "Said so .");
  EXPECT_EQ(rows[1].where, "e2e.txt:2");
  EXPECT_EQ(error_of([] {
              read_lines("a||b\nc\n", "e2e.txt", "||", {"mr", "text"});
            }),
            "InvalidArgument e2e.txt:2: has 1 fields, the task names 2 (mr, text); is a '||' missing or too many?");
  EXPECT_THAT(error_of([] { read_lines("a||b||c\n", "e2e.txt", "||", {"mr", "text"}); }), HasSubstr("has 3 fields"));
  EXPECT_THAT(error_of([] {
                read_lines("a||b\n\nc||d\n", "e2e.txt", "||", {"mr", "text"});
              }),
              HasSubstr("e2e.txt:2: empty row"));
}

const std::string kWebnlg = R"({"entries": [{"1": {"category": "Airport",
  "modifiedtripleset": [{"subject": "A_B", "property": "isIn", "object": "C"}, {"subject": "C", "property": "p", "object": "D"}],
  "lexicalisations": [{"comment": "good", "lex": "A B is in C."}, {"comment": "toFix", "lex": "x"}]}}]})";

TEST(Triples, WebnlgIsLinearisedAsThePaperDoes) {
  const auto rows = read_webnlg(kWebnlg, "dev.json");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].fields.at("triples"), " | A_B : isIn : C | C : p : D");
  EXPECT_EQ(rows[0].fields.at("text"), "A B is in C.");
  EXPECT_EQ(rows[0].fields.at("category"), "Airport");
  EXPECT_EQ(rows[0].where, "dev.json: entries[0].lexicalisations[0]");
}

TEST(Triples, WhatIsWrongIsNamedByItsPlace) {
  const auto changed = [](std::string from, const std::string& to) {
    std::string text = kWebnlg;
    text.replace(text.find(from), from.size(), to);
    return error_of([&] { read_webnlg(text, "dev.json"); });
  };
  EXPECT_EQ(changed("\"A_B\"", "7"),
            "InvalidArgument dev.json: entries[0].modifiedtripleset[0].subject: must be a text, it is number");
  EXPECT_EQ(changed("\"lex\"", "\"lx\""),
            "InvalidArgument dev.json: entries[0].lexicalisations[0]: has no field 'lex'");
  EXPECT_THAT(changed("\"entries\"", "\"entry\""), HasSubstr("dev.json: has no field 'entries'"));
  EXPECT_THAT(changed("]}}]}", "]}}]"), HasSubstr("Corruption dev.json: is not valid JSON"));
  EXPECT_THAT(error_of([] { read_webnlg("[]", "dev.json"); }), HasSubstr("must be an object, it is array"));
  EXPECT_THAT(error_of([] { read_dart("[{\"tripleset\": [[\"a\", \"b\"]], \"annotations\": []}]", "d.json"); }),
              HasSubstr("d.json: [0].tripleset[0]: has 2 parts"));
}

TEST(Triples, DartIsLinearisedAsThePaperDoes) {
  const auto rows = read_dart(
      R"([{"tripleset": [["Ben", "BIRTH_Year", "1970"], ["Ben", "IN", "Rome"]], "annotations": [
         {"source": "x", "text": "One."}, {"source": "y", "text": "Two."}]}])",
      "dart.json");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[1].fields.at("triples"), "Ben : birth_year : 1970 | Ben : in : Rome");
  EXPECT_EQ(rows[1].fields.at("text"), "Two.");
  EXPECT_EQ(rows[1].fields.at("source"), "y");
}

}  // namespace
}  // namespace graft
