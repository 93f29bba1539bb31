#include "data/lm_eval_documents.h"

#include <gmock/gmock.h>

#include "data/data_test_support.h"
#include "data/demonstrations.h"
#include "data/sampler.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// The rows of documents under a task of two choices.
std::vector<Row> rows_under(const std::string& text, const std::string& lines, Task& task) {
  task = parse_task("task: theirs\noutput_type: multiple_choice\ntest_split: test\ndoc_to_text: \"" + text +
                        "\"\ndoc_to_target: label\ndoc_to_choice: [\"no\", \"yes\"]\n",
                    "theirs.yaml");
  const Folder folder;
  folder.file("test.jsonl", lines);
  return read_split(task, folder.path(), "pool");
}

TEST(LmEvalDocuments, ADocumentKeepsTheFieldsThatSlicesAreToldBy) {
  Task task;
  auto rows = rows_under("{{text}}",
                         R"({"text": "a", "label": 1, "level": 3, "hard": true, "meta": {"topic": "sea"}, "a.b": "c", )"
                         R"("tags": ["x"], "none": null})",
                         task);
  ASSERT_EQ(rows.size(), 1u);
  const Row& row = rows[0];
  EXPECT_EQ(slice_value(row, "level"), "3");
  EXPECT_EQ(slice_value(row, "hard"), "true");
  EXPECT_EQ(slice_value(row, "meta.topic"), "sea");
  EXPECT_EQ(slice_value(row, "a.b"), "c");
  for (const char* absent : {"tags", "none", "meta", "meta.other", "level.x", "prompt", ""})
    EXPECT_FALSE(slice_value(row, absent).has_value()) << absent;
  EXPECT_THAT(slice_fields(row), ::testing::Contains("level"));
  task.slices = {"meta.topic", "absent"};
  EXPECT_THAT(render(task, row, 0, ByteTokenizer()).slices, ElementsAre("sea", ""));
  Row bare = row;
  bare.document = nullptr;
  EXPECT_EQ(example_id(bare), example_id(row)) << "a question is the same one, whatever it is told apart by";
  EXPECT_EQ(slice_value(bare, "prompt"), "a");
}

TEST(LmEvalDocuments, ContentFreePromptsAreThoseOfAnEmptiedDocument) {
  Task task;
  const auto rows =
      rows_under("{{passage.text}} {{number}} {{list[0]|upper}}, right?",
                 R"({"passage": {"text": "It rained."}, "number": 3, "list": ["a", "b"], "label": 1})", task);
  EXPECT_THAT(content_free_prompts(task, rows[0], 0, ByteTokenizer()),
              ElementsAre("N/A N/A N/A, right?", "[MASK] [MASK] [MASK], right?", "  , right?"));
}

// As COPA's connector: without "cause" the template finds no word.
TEST(LmEvalDocuments, AFieldThatOnlyChoosesAWordStays) {
  Task task;
  const auto rows = rows_under("{{premise}} {{ {'cause': 'because', 'effect': 'so'}[question] }}",
                               R"({"premise": "It rained", "question": "cause", "label": 0})", task);
  EXPECT_EQ(render(task, rows[0], 0, ByteTokenizer()).prompt, "It rained because");
  EXPECT_THAT(content_free_prompts(task, rows[0], 0, ByteTokenizer()),
              ElementsAre("N/A because", "[MASK] because", " because"));
}

TEST(LmEvalDocuments, ChoicesThatAreReadHaveNothingInFront) {
  Task task = parse_task(
      "task: theirs\noutput_type: multiple_choice\ntest_split: test\ndoc_to_text: label\ndoc_to_target: rest\n"
      "doc_to_choice: \"{{[one, two]}}\"\n",
      "theirs.yaml");
  const Folder folder;
  folder.file("test.jsonl", R"({"label": 1, "rest": "is big.", "one": "The box", "two": "The bag"})");
  const auto rows = read_split(task, folder.path(), "pool");
  EXPECT_THAT(error_of([&] { content_free_prompts(task, rows.at(0), 0, ByteTokenizer()); }),
              HasSubstr("test.jsonl:1: the choices are what is read"));
}

}  // namespace
}  // namespace graft
