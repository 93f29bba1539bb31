#include "data/sampler.h"

#include <gmock/gmock.h>

#include "data/data_test_support.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Task task() {
  return parse_task(
      "name: mine\nformat: csv\nsplits: {pool: a.csv}\nlabel: label\nlabels: [x, y, z]\ntemplates:\n  - prompt: "
      "'{text}'\n",
      "t");
}

std::vector<Row> rows_of(int per_class) {
  std::vector<Row> rows;
  for (int i = 0; i < per_class; ++i) {
    for (const char* label : {"x", "y", "z"}) {
      rows.push_back(
          {{{"text", fmt::format("{} {}", label, i)}, {"label", label}, {"id", std::to_string(rows.size())}}, "a.csv"});
    }
  }
  return rows;
}

TEST(Sampler, BalancedAndEverythingElseHeldOut) {
  const auto sample = sample_few_shot(rows_of(10), task(), 4, 0);
  EXPECT_EQ(sample.train.size(), 12u);
  EXPECT_EQ(sample.held_out.size(), 18u);
  std::map<std::string, int> counts;
  for (const auto& row : sample.train) ++counts[row.fields.at("label")];
  EXPECT_THAT(counts, ElementsAre(::testing::Pair("x", 4), ::testing::Pair("y", 4), ::testing::Pair("z", 4)));
  for (const auto& text : distinct(sample.train)) EXPECT_EQ(distinct(sample.held_out).count(text), 0u);
  EXPECT_THAT(sample.notices, IsEmpty());
}

TEST(Sampler, SeedDecides) {
  const auto rows = rows_of(50);
  EXPECT_EQ(texts(sample_few_shot(rows, task(), 4, 1).train), texts(sample_few_shot(rows, task(), 4, 1).train));
  EXPECT_EQ(texts(sample_few_shot(rows, task(), 4, 1).held_out), texts(sample_few_shot(rows, task(), 4, 1).held_out));
  EXPECT_NE(distinct(sample_few_shot(rows, task(), 4, 1).train), distinct(sample_few_shot(rows, task(), 4, 2).train));
}

TEST(Sampler, SampleIsTheSameOnEveryMachine) {
  EXPECT_THAT(texts(sample_few_shot(rows_of(5), task(), 1, 0).train), ElementsAre("x 4", "z 0", "y 2"));
}

TEST(Sampler, RepeatedTextIsLeftOutWithANotice) {
  auto rows = rows_of(4);
  rows.push_back({{{"text", " x  1\n"}, {"label", "x"}, {"id", "99"}}, "a.csv"});
  const auto sample = sample_few_shot(rows, task(), 2, 0);
  EXPECT_EQ(sample.train.size() + sample.held_out.size(), 12u);
  EXPECT_THAT(sample.notices, ElementsAre("1 of 13 rows repeat the text of an earlier row and were left out"));
}

TEST(Sampler, ZeroShotsTakesAllRows) {
  const auto sample = sample_few_shot(rows_of(3), task(), 0, 0);
  EXPECT_EQ(sample.train.size(), 9u);
  EXPECT_THAT(sample.held_out, IsEmpty());
}

TEST(Sampler, TotalDrawsWithoutRegardToClasses) {
  const auto sample = sample_total(rows_of(10), task(), 7, 3);
  EXPECT_EQ(sample.train.size(), 7u);
  EXPECT_EQ(sample.held_out.size(), 23u);
  EXPECT_THAT(error_of([] { sample_total(rows_of(2), task(), 7, 3); }),
              HasSubstr("there are 6 distinct rows, 7 were asked for"));
}

// As T-Few draws its examples: CB has too few rows of one class for as many of each.
TEST(Sampler, ASampleNeedNotBeBalanced) {
  const Folder folder;
  std::string rows = "text,label\n";
  for (int i = 0; i < 30; ++i) rows += fmt::format("t{},{}\n", i, i < 28 ? "x" : i < 29 ? "y" : "z");
  const auto file = folder.file("a.csv", rows);
  folder.file("val.csv", "text,label\nv,z\n");
  SplitChoice in_all;
  in_all.balanced = false;
  EXPECT_THAT(error_of([&] { few_shot_data(task(), file, 4, 0); }), HasSubstr("the class 'y' has 1 distinct rows"));
  const auto pool = few_shot_data(task(), file, 12, 5, in_all);
  EXPECT_EQ(pool.train.size(), 12u);
  EXPECT_EQ(pool.held_out.size(), 18u);
  EXPECT_EQ(texts(pool.train), texts(few_shot_data(task(), file, 12, 5, in_all).train));
  EXPECT_NE(distinct(pool.train), distinct(few_shot_data(task(), file, 12, 6, in_all).train));
  Task splits = task();
  splits.splits = {{"train", "a.csv"}, {"validation", "val.csv"}};
  const auto divided = few_shot_data(splits, folder.path(), 12, 5, in_all);
  EXPECT_EQ(texts(divided.train), texts(pool.train));
  EXPECT_THAT(texts(divided.held_out), ElementsAre("v"));
  EXPECT_THAT(error_of([&] { few_shot_data(task(), file, 31, 0, in_all); }),
              HasSubstr("there are 30 distinct rows, 31 were asked for"));
}

// Two of nine rows have their answer in place 1 and none has it in place 2, which says nothing of the rows.
TEST(Sampler, WithoutClassesTheShotsAreATotal) {
  const Task own = parse_task(
      "name: q\nformat: jsonl\nsplits: {pool: a}\nlabel: answer\ntemplates:\n  - {prompt: '{text}', choices_from: "
      "options}\n",
      "t");
  EXPECT_FALSE(own.has_classes());
  EXPECT_TRUE(task().has_classes());
  std::vector<Row> rows;
  for (int i = 0; i < 9; ++i) {
    rows.push_back(
        {{{"text", "q" + std::to_string(i)}, {"options.0", "x"}, {"options.1", "y"}, {"options.2", "z"}}, "a"});
    rows.back().fields["answer"] = i < 2 ? "1" : "0";
  }
  const auto sample = sample_few_shot(rows, own, 4, 0);
  EXPECT_EQ(sample.train.size(), 4u);
  EXPECT_EQ(sample.held_out.size(), 5u);
  EXPECT_THAT(sample.notices, ElementsAre(HasSubstr("no classes: 4 rows in total train")));
  EXPECT_EQ(texts(sample.train), texts(sample_total(rows, own, 4, 0).train));
  EXPECT_EQ(sample_few_shot(rows, own, 0, 0).train.size(), 9u);
}

TEST(Sampler, TooFewRowsNameTheClass) {
  auto rows = rows_of(5);
  std::erase_if(rows, [](const Row& row) { return row.fields.at("label") == "y"; });
  EXPECT_THAT(error_of([&] { sample_few_shot(rows, task(), 3, 0); }),
              HasSubstr("the class 'y' has 0 distinct rows, 3 were asked for"));
  EXPECT_THAT(error_of([&] { sample_few_shot(rows, task(), -1, 0); }), HasSubstr("give 0 (all) or more"));
  rows[0].fields["label"] = "";
  EXPECT_THAT(error_of([&] { sample_few_shot(rows, task(), 3, 0); }), HasSubstr("has no label"));
}

TEST(Sampler, SplitsWithoutTrainedRows) {
  const Folder folder;
  folder.file("train.csv", "text,label\na,x\nb,y\nc,z\n");
  folder.file("val.csv", "text,label\nd,x\na,x\n");
  Task splits = task();
  splits.splits = {{"train", "train.csv"}, {"validation", "val.csv"}};
  const auto sample = few_shot_data(splits, folder.path(), 0, 0);
  EXPECT_EQ(sample.train.size(), 3u);
  EXPECT_THAT(texts(sample.held_out), ElementsAre("d"));
  EXPECT_THAT(sample.notices, ElementsAre("1 of 2 held-out rows repeat a training row and were left out"));
  const auto pool = few_shot_data(splits, folder.path() / "train.csv", 1, 0);
  EXPECT_EQ(pool.train.size(), 3u) << "one file is one pool, whatever the task's splits";
}

TEST(Sampler, ASplitInOrderOfItsLabelsIsShuffled) {
  const Folder folder;
  std::string held_out = "text,label\n";
  for (int i = 0; i < 40; ++i) held_out += "row " + std::to_string(i) + (i < 20 ? ",x\n" : ",y\n");
  folder.file("train.csv", "text,label\na,x\nb,y\n");
  folder.file("val.csv", held_out);
  Task splits = task();
  splits.splits = {{"train", "train.csv"}, {"validation", "val.csv"}};
  auto rows = few_shot_data(splits, folder.path(), 0, 0).held_out;
  ASSERT_EQ(rows.size(), 40u);
  rows.resize(10);
  const auto of_x = std::count_if(rows.begin(), rows.end(), [](const Row& r) { return r.fields.at("label") == "x"; });
  EXPECT_GT(of_x, 1);
  EXPECT_LT(of_x, 9);
}

TEST(Sampler, APromptThatTrainedIsNotHeldOut) {
  const Task texts_task = parse_task(
      "name: t\nformat: csv\nsplits: {train: a.csv, validation: b.csv, test: c.csv}\ntemplates:\n  - {prompt: "
      "'{text}', "
      "target: '{said}'}\n",
      "t");
  const Folder folder;
  folder.file("a.csv", "text,said\na,1\nb,2\n");
  folder.file("b.csv", "text,said\nc,3\na,4\n");
  folder.file("c.csv", "text,said\nc,5\nd,6\nd,\n");
  EXPECT_THAT(texts(few_shot_data(texts_task, folder.path(), 0, 0).held_out), ElementsAre("c"));
  const auto other = few_shot_data(texts_task, folder.path(), 0, 0, {"validation", "test"});
  EXPECT_EQ(other.train.size(), 2u);
  EXPECT_THAT(texts(other.held_out), ElementsAre("d", "d"));
  EXPECT_THAT(other.notices, ElementsAre("1 of 3 held-out rows repeat the prompt of a training row and were left out"));
  EXPECT_THAT(error_of([&] {
                few_shot_data(texts_task, folder.path(), 0, 0, {"test", ""});
              }),
              HasSubstr("c.csv:4: the target '{said}' is empty"))
      << "what trains needs a text";
  EXPECT_THAT(error_of([&] {
                few_shot_data(texts_task, folder.path(), 0, 0, {"test", "test"});
              }),
              HasSubstr("data.held_out_split: 'test' is the split that trains"));
  // A pool: two rows of one prompt are never on both sides.
  folder.file("pool.csv", "text,said\na,1\na,2\nb,3\nb,4\nc,5\nc,6\n");
  const auto pool = few_shot_data(texts_task, folder.path() / "pool.csv", 2, 0);
  EXPECT_EQ(pool.train.size(), 2u);
  for (const auto& trained : texts(pool.train)) {
    for (const auto& held_out : texts(pool.held_out)) EXPECT_NE(trained, held_out);
  }
}

TEST(DataHash, FollowsContentAndNotOrder) {
  auto rows = rows_of(3);
  const auto hash = data_hash(rows);
  EXPECT_EQ(hash.size(), 64u);
  std::swap(rows[0], rows[5]);
  EXPECT_EQ(data_hash(rows), hash);
  rows[0].where = "elsewhere";
  EXPECT_EQ(data_hash(rows), hash);
  rows[0].fields["text"] += ".";
  EXPECT_NE(data_hash(rows), hash);
}

TEST(DataHash, BoundariesOfFieldsCount) {
  EXPECT_NE(content_hash({{{"a", "bc"}}, ""}), content_hash({{{"ab", "c"}}, ""}));
}

TEST(AlikeChoices, RowsThatNoScoreCanAnswerAreLeftOutAndCounted) {
  const Task own = parse_task(
      "name: own\nformat: jsonl\nsplits: {pool: a.jsonl}\nlabel: label\nlabels: ['0', '1']\ntemplates:\n"
      "  - {prompt: '{text}:', choices: [' {one}', ' {two}']}\n",
      "t");
  const auto row = [](const std::string& one, const std::string& two) {
    return Row{{{"text", one + two}, {"one", one}, {"two", two}, {"label", "0"}}, "a.jsonl:1"};
  };
  FewShot sample{{row("a", "b")}, {row("c", "d"), row("e", "e"), row("f", "F")}, {}};
  drop_alike_choices(sample, own, {0}, ByteTokenizer());
  EXPECT_EQ(sample.train.size(), 1u);
  EXPECT_THAT(texts(sample.held_out), ElementsAre("cd", "fF"));
  EXPECT_THAT(sample.notices, ElementsAre(HasSubstr("1 of 3 held-out rows have the same choice twice")));
  FewShot all{{}, {row("e", "e"), row("f", "f")}, {}};
  drop_alike_choices(all, own, {0}, ByteTokenizer());
  EXPECT_EQ(all.held_out.size(), 2u) << "the task is at fault";
  EXPECT_THAT(all.notices, IsEmpty());
}

// Rows of so many texts for each label, as a file of one pool.
std::string csv_of(const std::map<std::string, int>& counts) {
  std::string text = "text,label\n";
  for (const auto& [label, count] : counts)
    for (int i = 0; i < count; ++i) text += fmt::format("{} {},{}\n", label, i, label);
  return text;
}

std::map<std::string, int> labels_in(const std::vector<Row>& rows) {
  std::map<std::string, int> counts;
  for (const auto& row : rows) ++counts[row.fields.at("label")];
  return counts;
}

TEST(HeldOutShare, IsTakenOfEachClassWhereAllRowsWouldTrain) {
  using ::testing::Pair;
  const Folder folder;
  const auto file = folder.file("a.csv", csv_of({{"x", 10}, {"y", 21}, {"z", 4}}));
  const FewShot sample = few_shot_data(task(), file, 0, 3, {"train", "", 0.2});
  EXPECT_THAT(labels_in(sample.held_out), ElementsAre(Pair("x", 2), Pair("y", 4))) << "four rows of z are too few";
  EXPECT_THAT(labels_in(sample.train), ElementsAre(Pair("x", 8), Pair("y", 17), Pair("z", 4)));
  for (const auto& text : distinct(sample.train)) EXPECT_EQ(distinct(sample.held_out).count(text), 0u);
  EXPECT_THAT(sample.notices, ElementsAre(HasSubstr("6 of 35 rows are held out")));
  EXPECT_THAT(sample.notices, ElementsAre(HasSubstr("data.held_out_share=0")));
  const FewShot again = few_shot_data(task(), file, 0, 3, {"train", "", 0.2});
  EXPECT_EQ(texts(again.train), texts(sample.train));
  EXPECT_EQ(texts(again.held_out), texts(sample.held_out));
  EXPECT_NE(distinct(few_shot_data(task(), file, 0, 4, {"train", "", 0.2}).held_out), distinct(sample.held_out));
}

TEST(HeldOutShare, LeavesASampleAndAShareOfNothingAsTheyAre) {
  const Folder folder;
  const auto file = folder.file("a.csv", csv_of({{"x", 10}, {"y", 10}, {"z", 10}}));
  EXPECT_EQ(few_shot_data(task(), file, 2, 0, {"train", "", 0.2}).train.size(), 6u);
  const FewShot all = few_shot_data(task(), file, 0, 0, {"train", "", 0});
  EXPECT_EQ(all.train.size(), 30u);
  EXPECT_THAT(all.notices, IsEmpty());
}

TEST(HeldOutShare, IsAtMostTwoHundredRows) {
  using ::testing::Pair;
  const Folder folder;
  const auto file = folder.file("a.csv", csv_of({{"x", 600}, {"y", 1000}, {"z", 400}}));
  const FewShot sample = few_shot_data(task(), file, 0, 0, {"train", "", 0.5});
  EXPECT_THAT(labels_in(sample.held_out), ElementsAre(Pair("x", 60), Pair("y", 100), Pair("z", 40)));
}

TEST(HeldOutShare, TooFewRowsAllTrain) {
  const Folder folder;
  const auto file = folder.file("a.csv", csv_of({{"x", 4}, {"y", 4}, {"z", 2}}));
  const FewShot sample = few_shot_data(task(), file, 0, 0, {"train", "", 0.2});
  EXPECT_EQ(sample.train.size(), 10u);
  EXPECT_THAT(sample.notices, ElementsAre(HasSubstr("too few rows to hold some out")));
}

TEST(HeldOutShare, OfTextsToWriteWholePromptsAreHeldOut) {
  const Folder folder;
  std::string rows = "asked,told\n";
  for (int prompt = 0; prompt < 10; ++prompt) rows += fmt::format("p{0},one {0}\np{0},two {0}\n", prompt);
  const auto file = folder.file("a.csv", rows);
  const Task writes = parse_task(
      "name: w\nformat: csv\nsplits: {pool: a.csv}\ntemplates:\n  - {prompt: '{asked}', target: '{told}'}\n", "w");
  const FewShot sample = few_shot_data(writes, file, 0, 0, {"train", "", 0.2});
  EXPECT_EQ(sample.train.size(), 16u);
  std::set<std::string> prompts;
  for (const auto& row : sample.held_out) prompts.insert(row.fields.at("asked"));
  EXPECT_EQ(sample.held_out.size(), 4u);
  EXPECT_EQ(prompts.size(), 2u);
}

}  // namespace
}  // namespace graft
