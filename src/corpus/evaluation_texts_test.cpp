#include "corpus/evaluation_texts.h"

#include <gmock/gmock.h>

#include "corpus/corpus_test_support.h"
#include "data/split.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class EvaluationTextsTest : public ::testing::Test {
 protected:
  std::string file(const std::string& name, std::string_view text) const { return folder_.file(name, text).string(); }

  Folder folder_;
};

constexpr const char* kTask =
    "name: pairs\nformat: csv\nsplits: {train: train.csv, validation: val.csv}\nlabel: label\nlabels: [x, y]\n"
    "words:\n  because: {field: kind, values: {a: because, b: so}}\n"
    "templates:\n  - {name: first, prompt: '{b} {because} {a}?', choices: [' {c}', ' {a} {d}']}\n";

TEST_F(EvaluationTextsTest, AreTheRowsOfTheTaskWithoutItsWords) {
  file("train.csv", "a,b,c,d,kind,label\n1,2,3,4,a,x\n");
  file("val.csv", "a,b,c,d,kind,label\none,two,three,four,a,x\nfive,six,seven,eight,b,y\n");
  const Task task = parse_task(kTask, "pairs.yaml");
  const auto texts = texts_of_task(task, folder_.path(), "");
  EXPECT_EQ(texts.name, "pairs");
  EXPECT_THAT(texts.texts, ::testing::UnorderedElementsAre("two one three four", "six five seven eight"));
  const auto rows = read_split(task, folder_.path(), "validation");
  EXPECT_THAT(texts.ids, ::testing::UnorderedElementsAre(example_id(rows[0]), example_id(rows[1])));
  EXPECT_EQ(render(task, rows[0], 0, ByteTokenizer()).id, example_id(rows[0]));
  EXPECT_EQ(render(task, rows[0], 0, ByteTokenizer()).content, "two one three four");
  EXPECT_THAT(error_of([&] { texts_of_task(task, folder_.path(), "tets"); }), HasSubstr("has no split 'tets'"));
}

TEST_F(EvaluationTextsTest, RenderedContentIsCutAsThePromptIs) {
  const Task task = parse_task(
      "name: cut\nformat: csv\nsplits: {pool: .}\nlabel: l\nlabels: [x, y]\nmax_tokens: {text: 4}\n"
      "templates:\n  - {name: a, prompt: 'Say {text}:'}\n",
      "cut.yaml");
  const Row row{{{"text", "abcdefgh"}, {"l", "x"}}, "m:1"};
  EXPECT_EQ(render(task, row, 0, ByteTokenizer()).content, "abcd");
  EXPECT_EQ(row_text(task, row), "abcdefgh");
}

TEST_F(EvaluationTextsTest, ListsAndTargetsBelongToARow) {
  const Task choices = parse_task(
      "name: c\nformat: jsonl\nsplits: {pool: .}\nlabel: l\ntemplates:\n  - {name: a, prompt: '{q}', choices_from: "
      "o}\n",
      "c.yaml");
  EXPECT_EQ(row_text(choices, {{{"q", "what"}, {"o.0", "this"}, {"o.1", "that"}, {"l", "0"}}, ""}), "what this that");
  const Task writes = parse_task(
      "name: w\nformat: jsonl\nsplits: {pool: .}\ntemplates:\n  - {name: a, prompt: '{q} ', target: '{t}'}\n",
      "w.yaml");
  EXPECT_EQ(row_text(writes, {{{"q", "what"}, {"t", "that"}}, ""}), "what that");
  EXPECT_EQ(row_text(writes, {{{"q", "what"}}, ""}), "what") << "a row to answer";
}

TEST_F(EvaluationTextsTest, OfAFileAreItsFields) {
  const auto csv = file("q.csv", "question,answer\nwho,me\nwhat,that\n");
  EXPECT_THAT(texts_of_file(csv, {"question", "answer"}).texts, ElementsAre("who me", "what that"));
  EXPECT_THAT(texts_of_file(csv, {"question"}).where, ElementsAre(csv + ":2", csv + ":3"));
  EXPECT_THAT(error_of([&] { texts_of_file(csv, {}); }), HasSubstr("q.csv:1: has no column 'text'"));
  EXPECT_THAT(error_of([&] { texts_of_file(csv, {"anser"}); }), HasSubstr("(did you mean 'answer'?)"));
  EXPECT_THAT(texts_of_file(file("q.txt", "who\nis it\n\nwhat"), {}).texts, ElementsAre("who\nis it", "what"));
  EXPECT_THAT(error_of([&] { texts_of_file(folder_.path() / "q.txt", {"text"}); }), HasSubstr("has no fields"));
  EXPECT_THAT(error_of([&] { texts_of_file(file("e.jsonl", "\n"), {}); }), HasSubstr("e.jsonl: has no rows"));
  EXPECT_THAT(error_of([&] { texts_of_file(folder_.path(), {}); }), HasSubstr("is a folder"));
}

TEST_F(EvaluationTextsTest, OnlySomeMayBeKept) {
  auto texts = texts_of_file(file("q.csv", "text\na\nb\nc\n"), {});
  const std::string last = texts.ids[2];
  EXPECT_EQ(texts.keep_ids({last, "none"}), 1u);
  EXPECT_THAT(texts.texts, ElementsAre("c"));
  EXPECT_THAT(texts.ids, ElementsAre(last));
}

}  // namespace
}  // namespace graft
