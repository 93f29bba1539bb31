#include "data/demonstrations.h"

#include <gmock/gmock.h>

#include <set>

#include "data/bm25.h"
#include "data/data_test_support.h"
#include "data/sampler.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const std::string kYaml =
    "format: csv\nlabel: label\nlabels: [x, y]\ntemplates:\n  - prompt: '{text} is'\n    choices: [' an x', ' a y']\n";

Task pool() {
  return parse_task("name: mine\nsplits: {pool: a.csv}\n" + kYaml, "t");
}

Task with_splits() {
  return parse_task("name: mine\nsplits: {train: train.csv, test: test.csv}\n" + kYaml, "t");
}

std::string csv(const std::string& prefix, int rows) {
  std::string text = "text,label\n";
  for (int i = 0; i < rows; ++i) text += fmt::format("{} {},{}\n", prefix, i, i % 2 == 0 ? "x" : "y");
  return text;
}

TEST(Demonstrations, AreWrittenAsTheTaskWritesThem) {
  const Row row{{{"text", "This"}, {"label", "y"}}, "a.csv:2"};
  EXPECT_EQ(demonstration_text(render(pool(), row, 0, ByteTokenizer())), "This is a y");
  const Row unlabelled{{{"text", "This"}, {"label", ""}}, "a.csv:3"};
  EXPECT_EQ(error_of([&] { demonstration_text(render(pool(), unlabelled, 0, ByteTokenizer())); }),
            "InvalidArgument a.csv:3: has no label, so it cannot be a demonstration; leave it out");
}

TEST(Demonstrations, StandBetweenInstructionAndPrompt) {
  const std::vector<std::string> two = {"a is an x", "b is a y"};
  EXPECT_EQ(prompt_behind({}, two, "c is"), "a is an x\n\nb is a y\n\nc is");
  EXPECT_EQ(prompt_behind({"Sort them.", "\n###\n"}, two, "c is"),
            "Sort them.\n###\na is an x\n###\nb is a y\n###\nc is");
  EXPECT_EQ(prompt_behind({"Sort them.", " "}, {}, "c is"), "Sort them. c is");
  EXPECT_EQ(prompt_behind({}, {}, "c is"), "c is");
}

TEST(Demonstrations, AreDrawnByTheSeedInTotalOrOfEachClass) {
  const Folder folder;
  const Task task = pool();
  const auto rows = read_split(task, folder.file("a.csv", csv("row", 40)), "pool");
  const auto five = drawn_demonstrations(rows, task, 5, false, 0);
  EXPECT_EQ(five.size(), 5u);
  EXPECT_EQ(texts(five), texts(drawn_demonstrations(rows, task, 5, false, 0)));
  EXPECT_NE(distinct(five), distinct(drawn_demonstrations(rows, task, 5, false, 1)));
  const auto balanced = drawn_demonstrations(rows, task, 3, true, 0);
  EXPECT_EQ(balanced.size(), 6u);
  EXPECT_EQ(
      std::count_if(balanced.begin(), balanced.end(), [](const Row& row) { return row.fields.at("label") == "x"; }), 3);
  EXPECT_THAT(drawn_demonstrations(rows, task, 0, false, 0), IsEmpty());
  EXPECT_THAT(error_of([&] { drawn_demonstrations(rows, task, 41, false, 0); }), HasSubstr("41 were asked for"));
  EXPECT_THAT(error_of([&] { drawn_demonstrations(rows, task, 21, true, 0); }),
              HasSubstr("the class 'x' has 20 distinct rows, 21 were asked for"));
}

TEST(Demonstrations, OfATextToWriteEndWithIt) {
  const Task task = parse_task(
      "name: sums\nformat: csv\nsplits: {pool: a.csv}\ntemplates:\n  - {prompt: '{q} =', target: ' {a}'}\n", "t");
  const Row row{{{"q", "1 + 2"}, {"a", "3"}}, "a.csv:2"};
  EXPECT_EQ(demonstration_text(render(task, row, 0, ByteTokenizer())), "1 + 2 = 3");
}

TEST(Demonstrations, AMisspeltChoiceIsToldWithTheRightOne) {
  EXPECT_EQ(demonstration_choice_of("bm25"), DemonstrationChoice::Bm25);
  EXPECT_EQ(error_of([] { demonstration_choice_of("randon"); }),
            "InvalidArgument --demonstrations: unknown 'randon' (did you mean 'random'?)");
}

TEST(DemonstrationOrders, AreDistinctAndAsManyAsThereCanBe) {
  const auto orders = demonstration_orders(5, 20, 3);
  ASSERT_EQ(orders.size(), 20u);
  EXPECT_THAT(orders[0], ElementsAre(0, 1, 2, 3, 4)) << "first as they are";
  EXPECT_EQ(std::set<std::vector<std::size_t>>(orders.begin(), orders.end()).size(), 20u);
  for (const auto& order : orders) EXPECT_THAT(order, ::testing::UnorderedElementsAre(0, 1, 2, 3, 4));
  EXPECT_EQ(demonstration_orders(5, 20, 3), orders);
  EXPECT_NE(demonstration_orders(5, 20, 4), orders);
  EXPECT_EQ(demonstration_orders(3, 20, 0).size(), 6u) << "3!";
  EXPECT_EQ(demonstration_orders(1, 20, 0).size(), 1u);
  EXPECT_EQ(demonstration_orders(50, 1, 0).size(), 1u);
}

TEST(ContentFree, ThePromptsSayNothingOfTheRow) {
  const Task task = parse_task(
      "name: both\nformat: jsonl\nsplits: {pool: a.jsonl}\nlabel: label\nlabels: [x, y]\nwords:\n  word: {field: "
      "asks, values: {cause: because, effect: so}}\ntemplates:\n  - {prompt: '{text}, {word}', choices: [' {one}', ' "
      "b']}\n",
      "t");
  const Row row{{{"text", "It rained"}, {"asks", "cause"}, {"one", "clouds"}, {"label", "x"}}, "a.jsonl:1"};
  EXPECT_THAT(content_free_prompts(task, row, 0, ByteTokenizer()),
              ElementsAre("N/A, because", "[MASK], because", ", because"))
      << "a word of the template stays";
}

TEST(EvaluationData, WithoutDemonstrationsAllIsAsked) {
  const Folder folder;
  const auto file = folder.file("a.csv", csv("row", 6) + "row 5,y\n");
  const FewShot alone = evaluation_data(pool(), file, {}, 0);
  EXPECT_THAT(alone.train, IsEmpty());
  EXPECT_EQ(alone.held_out.size(), 6u) << "a repeated row is asked once";
  folder.file("test.csv", csv("test", 4));
  EXPECT_EQ(evaluation_data(with_splits(), folder.path(), {}, 0).held_out.size(), 4u)
      << "no file of the split that trains is needed";
}

TEST(EvaluationData, ThePoolIsDividedAsATuningRunDividesIt) {
  const Folder folder;
  const auto file = folder.file("a.csv", csv("row", 40));
  const FewShot tuned = few_shot_data(pool(), file, 8, 3);
  const FewShot asked = evaluation_data(pool(), file, {{}, 8, 2}, 3);
  EXPECT_EQ(texts(asked.train), texts(tuned.train));
  EXPECT_EQ(texts(asked.held_out), texts(tuned.held_out));
  EXPECT_EQ(evaluation_data(pool(), file, {{}, 0, 2}, 3).train.size(), 16u) << "room for draws that differ";
  EXPECT_EQ(evaluation_data(pool(), file, {{}, 0, 5}, 3).train.size(), 10u) << "but no more than half of a class";
}

TEST(EvaluationData, MoreThanThePoolHasIsToldAsDemonstrations) {
  const Folder folder;
  const auto file = folder.file("a.csv", csv("row", 6) + "row 5,y\n");
  EXPECT_THAT(
      error_of([&] {
        evaluation_data(pool(), file, {{}, 0, 4}, 0);
      }),
      HasSubstr("--shots: 4 demonstrations need as many rows of each class set aside, and the class 'x' has 3"));
  EXPECT_THAT(evaluation_data(pool(), file, {{}, 0, 3}, 0).notices,
              ElementsAre(HasSubstr("1 of 7 rows repeat the text of an earlier row")));
}

TEST(EvaluationData, TheTrainingSplitIsTakenWhole) {
  const Folder folder;
  folder.file("train.csv", csv("train", 30));
  folder.file("test.csv", csv("test", 4) + "train 3,y\n");
  const FewShot data = evaluation_data(with_splits(), folder.path(), {{}, 0, 5}, 0);
  EXPECT_EQ(data.train.size(), 30u);
  EXPECT_EQ(data.held_out.size(), 4u) << "a row that may be demonstrated is not asked";
  ASSERT_EQ(data.notices.size(), 1u);
  EXPECT_THAT(data.notices[0], HasSubstr("1 of 5 held-out rows repeat a training row"));
}

TEST(EvaluationData, AFileOfDemonstrationsKeepsItsOrder) {
  const Folder folder;
  const auto file = folder.file("a.csv", csv("row", 10));
  const auto shown = folder.file("shown.csv", "text,label\nfirst,y\nrow 4,x\nthird,x\n");
  const FewShot data = evaluation_data(pool(), file, {shown, 0, 2}, 0);
  EXPECT_THAT(texts(data.train), ElementsAre("first", "row 4", "third"));
  EXPECT_EQ(data.held_out.size(), 9u);
  EXPECT_EQ(distinct(data.held_out).count("row 4"), 0u);
}

}  // namespace
}  // namespace graft
