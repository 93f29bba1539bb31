#include "cli/core/eval_data.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>

#include "base/error_test_support.h"
#include "base/file.h"
#include "generate/fake_tokenizer_test.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class EvalDataTest : public ::testing::Test {
 protected:
  EvalDataTest() : folder_(fs::temp_directory_path() / ("graft-eval-data-" + std::to_string(::getpid()))) {
    write_file(folder_ / "mine.yaml",
               "name: mine\nformat: csv\nsplits: {train: train.csv, test: test.csv}\nlabel: label\nlabels: [x, y]\n"
               "templates:\n  - {name: is, prompt: '{text} is', choices: [' an x', ' a y']}\n"
               "  - {name: asked, prompt: 'What is {text}?'}\nmetrics: [accuracy, macro_f1]\n");
    write_file(folder_ / "train.csv", "text,label\nred apple,x\ngreen pear,y\nred cherry,x\nblue plum,y\n");
    write_file(folder_ / "test.csv", "text,label\na red one,x\ngreen and blue,y\nunknown,\n");
    config_.task.name = (folder_ / "mine.yaml").string();
    config_.data.path = folder_.string();
  }
  ~EvalDataTest() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  EvalData open(const EvalSettings& settings) const { return open_eval_data(config_, settings, ByteTokenizer()); }
  std::string refused(const EvalSettings& settings) const {
    return error_of([&] { open(settings); });
  }

  fs::path folder_;
  RunConfig config_;
};

TEST_F(EvalDataTest, AsksWhatIsLabelledInEveryTemplate) {
  config_.data.prompt_template = "all";
  const EvalData data = open({});
  ASSERT_EQ(data.questions.size(), 2u);
  EXPECT_EQ(data.count(), 2);
  EXPECT_THAT(data.metrics, ElementsAre("accuracy", "macro_f1"));
  EXPECT_THAT(data.notes, ElementsAre(HasSubstr("1 of 3 held-out rows carry no label")));
  EXPECT_TRUE(data.candidates.empty()) << "nothing is demonstrated";
  for (std::size_t q = 0; q < 2; ++q) EXPECT_EQ(data.questions[0][q].id, data.questions[1][q].id);
}

TEST_F(EvalDataTest, TheNearestDemonstrationStandsLast) {
  EvalSettings settings;
  settings.shots = {0, 2};
  settings.choice = DemonstrationChoice::Bm25;
  const EvalData data = open(settings);
  const Demonstrator demonstrator(data, settings, ByteTokenizer(), 0, 2, 0);
  Example question;
  question.prompt = "a blue green one is";
  EXPECT_TRUE(demonstrator.ids().empty());
  const auto shown = demonstrator.before(question);
  EXPECT_THAT(shown, ::testing::UnorderedElementsAre("green pear is a y", "blue plum is a y"));
  question.prompt = "a cherry is";
  EXPECT_EQ(demonstrator.before(question).back(), "red cherry is an x");
}

TEST_F(EvalDataTest, DrawnAndFixedOnesAreTheSameForEveryQuestion) {
  EvalSettings settings;
  settings.shots = {0, 3};
  const EvalData data = open(settings);
  const Demonstrator first(data, settings, ByteTokenizer(), 0, 3, 0), again(data, settings, ByteTokenizer(), 0, 3, 0);
  EXPECT_EQ(first.before(data.questions[0][0]), again.before(data.questions[0][1]));
  EXPECT_EQ(first.ids().size(), 3u);
  settings.choice = DemonstrationChoice::Fixed;
  const Demonstrator one(data, settings, ByteTokenizer(), 1, 3, 0), other(data, settings, ByteTokenizer(), 1, 3, 7);
  EXPECT_EQ(one.ids(), other.ids()) << "whatever the seed";
  EXPECT_THAT(one.before({}).front(), HasSubstr("What is "));
  const Demonstrator turned = first.reordered({2, 0, 1});
  EXPECT_EQ(turned.ids(), (std::vector<std::string>{first.ids()[2], first.ids()[0], first.ids()[1]}));
  EXPECT_EQ(turned.before(data.questions[0][0]).front(), first.before(data.questions[0][0]).back());
  const Demonstrator none(data, settings, ByteTokenizer(), 0, 0, 0);
  EXPECT_TRUE(none.before(data.questions[0][0]).empty());
}

TEST_F(EvalDataTest, ContentFreePromptsAreThoseOfTheTemplates) {
  config_.data.prompt_template = "all";
  EvalSettings settings;
  settings.contextual = true;
  const EvalData data = open(settings);
  ASSERT_EQ(data.content_free.size(), 2u);
  for (const auto& prompts : data.content_free[0]) EXPECT_THAT(prompts, ElementsAre("N/A is", "[MASK] is", " is"));
  EXPECT_THAT(data.content_free[1],
              ElementsAre(ElementsAre("What is N/A?", "What is [MASK]?", "What is ?"), ::testing::SizeIs(3)));
  EXPECT_TRUE(open({}).content_free.empty());
  settings.normalisation = "pmi";
  EXPECT_THAT(refused(settings), HasSubstr("--calibrate: and the normalisation pmi both"));
  settings.normalisation.clear();
  write_file(folder_ / "harness.yaml",
             "task: theirs\noutput_type: multiple_choice\ntest_split: test\ndoc_to_text: '{{text}} is'\n"
             "doc_to_target: label\ndoc_to_choice: [x, y]\n");
  config_.task.name = (folder_ / "harness.yaml").string();
  write_file(folder_ / "test.csv", "text,label\na red one,x\ngreen and blue,y\n");
  settings.slices = {"text"};
  const EvalData theirs = open(settings);
  ASSERT_EQ(theirs.content_free.size(), 1u);
  EXPECT_THAT(theirs.content_free[0], ::testing::Each(ElementsAre("N/A is", "[MASK] is", " is")));
  for (const auto& question : theirs.questions[0]) EXPECT_EQ(question.slices.at(0) + " is", question.prompt);
  settings.slices = {"texts"};
  EXPECT_THAT(refused(settings), HasSubstr("has a field 'texts' (did you mean 'text'?)"));
}

TEST_F(EvalDataTest, QuestionsWithTheSameChoiceTwiceAreNotAsked) {
  write_file(folder_ / "own.yaml",
             "name: own\nformat: csv\nsplits: {train: train.csv, test: test.csv}\nlabel: label\nlabels: [x, y]\n"
             "templates:\n  - {prompt: '{text} is', choices: [' {one}', ' {two}']}\n");
  write_file(folder_ / "test.csv", "text,one,two,label\na,red,blue,x\nb,green,green,y\nc,red,green,y\n");
  config_.task.name = (folder_ / "own.yaml").string();
  const EvalData data = open({});
  EXPECT_EQ(data.count(), 2);
  EXPECT_THAT(data.notes, ElementsAre(HasSubstr("1 of 3 held-out rows have the same choice twice")));
}

TEST_F(EvalDataTest, QuestionsWithOneChoiceAreTold) {
  write_file(folder_ / "own.yaml",
             "name: own\nformat: jsonl\nsplits: {pool: a.jsonl}\nlabel: label\n"
             "templates:\n  - {prompt: '{text} is', choices_from: options}\n");
  write_file(folder_ / "a.jsonl",
             "{\"text\": \"a\", \"options\": [\"m\", \"n\"], \"label\": 0}\n"
             "{\"text\": \"b\", \"options\": [\"m\"], \"label\": 0}\n");
  config_.task.name = (folder_ / "own.yaml").string();
  config_.data.path = (folder_ / "a.jsonl").string();
  const EvalData data = open({});
  EXPECT_EQ(data.count(), 2);
  EXPECT_THAT(data.notes, ElementsAre("1 of 2 questions have one choice, which is right whatever the model says"));
}

TEST_F(EvalDataTest, QuestionsThatAreReadAlikeDifferInWhatIsScored) {
  write_file(folder_ / "partial.yaml",
             "name: partial\nformat: csv\nsplits: {train: train.csv, test: test.csv}\nlabel: label\nlabels: [x, y]\n"
             "max_tokens: {before: 3}\n"
             "templates:\n  - {prompt: '{before}', choices: [' m', ' n'], continuation: ' {after}'}\n");
  write_file(folder_ / "train.csv", "before,after,label\nwho 1,left,x\n");
  write_file(folder_ / "test.csv", "before,after,label\nwho 2,stayed,y\nwho 3,left,x\n");
  config_.task.name = (folder_ / "partial.yaml").string();
  EvalSettings settings;
  settings.shots = {0, 1};
  const EvalData data = open(settings);
  EXPECT_EQ(data.count(), 1) << "the one that reads like a candidate to its end is left out";
  EXPECT_EQ(data.questions[0][0].continuation, " stayed");
}

// A text that two rows write is one answer, and two references: metrics that take a mean over them count it twice.
TEST_F(EvalDataTest, RepeatedTextsAreReferencesAsInTuning) {
  write_file(folder_ / "said.yaml",
             "name: said\nformat: csv\nsplits: {train: train.csv, test: test.csv}\ngroup_by: text\n"
             "templates:\n  - {prompt: '{text}:', target: ' {said}'}\n");
  write_file(folder_ / "test.csv", "text,said\na,one\na,two\na,one\n");
  config_.task.name = (folder_ / "said.yaml").string();
  const EvalData data = open({});
  ASSERT_EQ(data.count(), 1);
  EXPECT_THAT(data.questions[0][0].choices, ::testing::UnorderedElementsAre(" one", " two"));
  EXPECT_THAT(data.references(0, 0), ::testing::UnorderedElementsAre("one", "two", "one"));
}

TEST_F(EvalDataTest, RowsThatComeTwiceAreToldAndEachCounts) {
  write_file(folder_ / "test.csv", "text,label\na red one,x\ngreen,y\na red one,x\na red one,y\na red one,x\n");
  EvalData data = open({});
  EXPECT_EQ(data.count(), 5);
  EXPECT_THAT(data.notes, ElementsAre("2 of 5 held-out rows repeat an earlier one to the letter; each counts"));
  write_file(folder_ / "test.csv", "text,label\na red one,x\ngreen,y\na red one,y\n");
  EXPECT_THAT(open({}).notes, ::testing::IsEmpty()) << "another label is another row";
  config_.data.path = (folder_ / "pool.csv").string();
  write_file(folder_ / "pool.csv", "text,label\na,x\nb,y\na,x\n");
  data = open({});
  EXPECT_EQ(data.count(), 2);
  EXPECT_THAT(data.notes, ElementsAre("1 of 3 rows repeat the text of an earlier row and were left out"));
}

TEST_F(EvalDataTest, FewQuestionsAreTold) {
  write_file(folder_ / "pool.csv", "text,label\na,x\nb,y\nc,x\nd,y\ne,x\nf,y\n");
  config_.data.path = (folder_ / "pool.csv").string();
  EvalSettings settings;
  settings.shots = {0, 1};
  settings.candidates = 2;
  EXPECT_THAT(open(settings).notes, ElementsAre(HasSubstr("2 rows are asked and 4 are set aside")));
  config_.data.eval_rows = 2;
  EXPECT_TRUE(open(settings).notes.empty()) << "so few were asked for";
  config_.data.eval_rows = 0;
  settings.candidates = 1;
  EXPECT_TRUE(open(settings).notes.empty());
}

TEST_F(EvalDataTest, SlipsAreTold) {
  EvalSettings settings;
  settings.shots = {0, 5};
  EXPECT_THAT(refused(settings), HasSubstr("--shots: 5 demonstrations were asked for, task mine has 4 rows for them"));
  settings = {};
  settings.metrics = {"macro_f2"};
  EXPECT_THAT(refused(settings), HasSubstr("--metric: unknown 'macro_f2' (did you mean 'macro_f1'?)"));
  settings = {};
  settings.normalisation = "byte";
  EXPECT_THAT(refused(settings), HasSubstr("did you mean 'bytes'?"));
  write_file(folder_ / "test.csv", "text,label\na,\n");
  EXPECT_THAT(refused({}), HasSubstr("no held-out row carries a label"));
}

}  // namespace
}  // namespace graft
