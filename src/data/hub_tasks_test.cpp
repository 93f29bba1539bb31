// Shipped tasks on rows in the form in which the hub publishes their data. The rows are made here.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "data/data_test_support.h"
#include "data/demonstrations.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Case {
  const char* task;
  const char* split;
  const char* file;
  std::string lines;
  std::vector<std::string> prompts;  ///< of every row, in the first template
  std::vector<std::string> answers;  ///< the right choice, or the text to write
};

const std::string kNested = R"({"question": "Which one is warm?", "question_stem": "The warm one is", "choices": )"
                            R"({"text": ["ice", "steam", "snow"], "label": [)";

const std::string kMultiRc = "Ann has a cow.\n\nQuestion: ", kIsItRight = "\nIs this answer right? Yes or no?\nAnswer:";

const std::string kAnn = "Ann sleeps.\nQuestion: Does it follow that \"Ann ",
                  kDoesItFollow = ".\"? Yes, no or maybe?\nAnswer:";

std::vector<Case> choice_cases() {
  return {
      {"arc_challenge",
       "validation",
       "arc-validation.jsonl",
       kNested + R"("A", "B", "C"]}, "answerKey": "B"})" + "\n" + kNested + R"("1", "2", "3"]}, "answerKey": "3"})",
       {"Question: Which one is warm?\nAnswer:", "Question: Which one is warm?\nAnswer:"},
       {" steam", " snow"}},
      {"openbookqa",
       "test",
       "test.jsonl",
       kNested + R"("A", "B", "C"]}, "answerKey": "A"})",
       {"The warm one is"},
       {" ice"}},
      {"piqa",
       "validation",
       "validation.jsonl",
       R"({"goal": "To dry a cup", "sol1": "wipe it.", "sol2": "fill it.", "label": 0})"
       "\n"
       R"({"goal": "To fill a cup", "sol1": "wipe it.", "sol2": "pour.", "label": 1})",
       {"Question: To dry a cup\nAnswer:", "Question: To fill a cup\nAnswer:"},
       {" wipe it.", " pour."}},
      {"hellaswag",
       "validation",
       "validation.jsonl",
       R"({"ind": 1, "activity_label": "Rest", "ctx_a": "A man", "ctx_b": "", "ctx": "A man", "split_type": "indomain", )"
       R"("endings": ["sits.", "flies.", "ends.", "is."], "label": "1"})",
       {"A man"},
       {" flies."}},
      {"winogrande",
       "train",
       "train.jsonl",
       R"({"sentence": "The box is in the bag as _ is big.", "option1": "box", "option2": "bag", "answer": "2"})",
       {"The box is in the bag as _ is big.\nWhat does the _ stand for, box or bag?\nAnswer:"},
       {" bag"}},
      {"winogrande",
       "validation",
       "validation.jsonl",
       R"({"sentence": "The box is in the bag as _ is small.", "option1": "box", "option2": "bag", "answer": "1"})",
       {"The box is in the bag as _ is small.\nWhat does the _ stand for, box or bag?\nAnswer:"},
       {" box"}},
      {"anli_r1",
       "train",
       "train_r1.jsonl",
       R"({"uid": "x", "premise": "Ann sleeps.", "hypothesis": "Ann rests.", "label": 0, "reason": ""})",
       {kAnn + "rests" + kDoesItFollow},
       {" Yes"}},
      {"anli_r2",
       "validation",
       "dev_r2.jsonl",
       R"({"uid": "x", "premise": "Ann sleeps.", "hypothesis": "Ann dreams.", "label": 1, "reason": ""})",
       {kAnn + "dreams" + kDoesItFollow},
       {" Maybe"}},
      {"anli_r3",
       "test",
       "test_r3.jsonl",
       R"({"uid": "x", "premise": "Ann sleeps.", "hypothesis": "Ann runs.", "label": 2, "reason": ""})",
       {kAnn + "runs" + kDoesItFollow},
       {" No"}},
      {"race",
       "test",
       "high-test.jsonl",
       R"({"article": "Ann has a cow.", "question": "Ann has _ .", "options": ["a cat", "a dog", "a cow", "a hen"], )"
       R"("answer": "C"})",
       {"Ann has a cow.\n\nQuestion: Ann has _ .\nAnswer:"},
       {" a cow"}},
      {"mmlu",
       "test",
       "anatomy-test.jsonl",
       R"({"question": "How many eyes?", "subject": "anatomy", "choices": ["1", "2", "3", "4"], "answer": 1})",
       {"How many eyes?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:"},
       {" B"}},
      {"truthfulqa_mc1",
       "pool",
       "mc.jsonl",
       R"({"question": "Is the sea red?", "mc1_targets": {"choices": ["No.", "Yes."], "labels": [1, 0]}})",
       {"Q: Is the sea red?\nA:"},
       {" No."}},
      {"winogender",
       "pool",
       "all.tsv",
       "sentid\tsentence\nbaker.guest.1.male.txt\tThe baker saw the guest as he came.\n"
       "baker.someone.0.neutral.txt\tThe baker greeted someone as they do.\n",
       {"The baker saw the guest as he came. The pronoun refers to the",
        "The baker greeted someone as they do. The pronoun refers to the"},
       {" guest", " baker"}},
      {"crows_pairs",
       "pool",
       "pairs.csv",
       ",sent_more,sent_less,stereo_antistereo\n0,\"Cats, all of them, lie.\",Dogs lie.,stereo\n1,A b.,A "
       "c.,antistereo\n",
       {"", ""},
       {"Cats, all of them, lie.", "A b."}},
      {"winogender_pairs",
       "pool",
       "all.tsv",
       "sentid\tsentence\nbaker.guest.1.male.txt\tThe baker saw the guest as he came.\n"
       "baker.guest.1.female.txt\tThe baker saw the guest as she came.\n"
       "baker.guest.1.neutral.txt\tThe baker saw the guest as they came.\n"
       "baker.someone.0.female.txt\tThe baker greeted someone as she does.\n"
       "baker.someone.0.male.txt\tThe baker greeted someone as he does.\n",
       {"", ""},
       {"The baker saw the guest as he came.", "The baker greeted someone as he does."}},
      // SuperGLUE's own rows nest, those of the hub are flat.
      {"multirc",
       "validation",
       "val.jsonl",
       R"({"idx": 0, "version": 1.1, "passage": {"text": "Ann has a cow.", "questions": [{"question": "Who?", "idx": 0, )"
       R"("answers": [{"text": "Eve", "idx": 0, "label": 0}, {"text": "Ann", "idx": 1, "label": 1}]}]}})"
       "\n"
       R"({"paragraph": "Ann has a cow.", "question": "What?", "answer": "a cow", "label": 1, )"
       R"("idx": {"paragraph": 0, "question": 1, "answer": 2}})",
       {kMultiRc + "Who?\nAnswer: Eve" + kIsItRight, kMultiRc + "Who?\nAnswer: Ann" + kIsItRight,
        kMultiRc + "What?\nAnswer: a cow" + kIsItRight},
       {" No", " Yes", " Yes"}},
      {"record",
       "validation",
       "val.jsonl",
       R"({"source": "x", "idx": 0, "passage": {"text": "Zoë met Ann.\n@highlight\nAnn ran", )"
       R"("entities": [{"start": 0, "end": 2}, {"start": 8, "end": 10}, {"start": 24, "end": 26}]}, )"
       R"("qas": [{"query": "It was @placeholder who ran.", "idx": 0, "answers": [{"start": 8, "end": 10, "text": "Ann"}, )"
       R"({"start": 24, "end": 26, "text": "Ann"}]}]})"
       "\n"
       R"({"passage": "Zoë met Ann.", "query": "@placeholder met Ann.", "entities": ["Ann", "Zoë"], "answers": ["Zoë"], )"
       R"("idx": {"passage": 1, "query": 1}})",
       {"Zoë met Ann.\n@highlight\nAnn ran\n\n", "Zoë met Ann.\n\n"},
       {"It was Ann who ran.", "Zoë met Ann."}}};
}

std::vector<Case> text_cases() {
  return {
      {"lambada",
       "pool",
       "lambada.jsonl",
       "{\"text\": \"we rowed to the island\"}\n{\"text\": \"he said , `` go\"}\n",
       {"we rowed to the", "he said , ``"},
       {" island", " go"}},
      {"triviaqa",
       "validation",
       "validation.jsonl",
       R"({"question": "Who wrote it?", "answer": {"value": "Ann Lee", "aliases": ["Ann Lee", "A. Lee"]}})",
       {"Q: Who wrote it?\nA:"},
       {" Ann Lee"}},
      {"nq_open",
       "validation",
       "validation.jsonl",
       R"({"question": "who wrote it", "answer": ["Ann", "Ann Lee"]})",
       {"Q: who wrote it\nA:"},
       {" Ann"}},
      {"web_questions",
       "test",
       "test.jsonl",
       R"({"url": "u", "question": "who wrote it?", "answers": ["Ann"]})",
       {"Q: who wrote it?\nA:"},
       {" Ann"}},
      {"coqa",
       "validation",
       "validation.jsonl",
       R"({"source": "x", "story": "Ann has a cow.", "questions": ["Who?", "What?"], )"
       R"("answers": {"input_text": ["Ann", "a cow"], "answer_start": [0, 8], "answer_end": [3, 13]}})",
       {"Ann has a cow.\n\nQ: Who?\nA:", "Ann has a cow.\n\nQ: Who?\nA: Ann\nQ: What?\nA:"},
       {" Ann", " a cow"}},
      {"quac",
       "validation",
       "validation.jsonl",
       R"({"section_title": "Life", "context": "She was born. CANNOTANSWER", "questions": ["When?"], )"
       R"("orig_answers": {"texts": ["CANNOTANSWER"], "answer_starts": [14]}})",
       {"Life\n\nShe was born. CANNOTANSWER\n\nQ: When?\nA:"},
       {" CANNOTANSWER"}},
      {"squad_v2",
       "validation",
       "validation.jsonl",
       R"({"title": "Cows", "context": "A cow eats.", "question": "Who eats?", "answers": {"text": ["A cow", "cow"], )"
       R"("answer_start": [0, 2]}})"
       "\n"
       R"({"title": "Cows", "context": "A cow eats.", "question": "Who runs?", )"
       R"("answers": {"text": [], "answer_start": []}})",
       {"Cows\n\nA cow eats.\n\nQ: Who eats?\nA:", "Cows\n\nA cow eats.\n\nQ: Who runs?\nA:"},
       {" A cow", " not in the text"}},
      {"drop",
       "validation",
       "validation.jsonl",
       R"({"passage": "Two cows.", "question": "How many?", "answers_spans": {"spans": ["2", "two"], "types": ["number", )"
       R"("span"]}})",
       {"Passage: Two cows.\nQuestion: How many?\nAnswer:"},
       {" 2"}},
      {"truthfulqa_generation",
       "pool",
       "generation.jsonl",
       R"({"type": "Adversarial", "category": "Colours", "question": "Is the sea red?", "best_answer": "It is not", )"
       R"("correct_answers": ["It is not", "No"], "incorrect_answers": ["Yes"], "source": "x"})",
       {"Q: Is the sea red?\nA:"},
       {" It is not"}},
      {"real_toxicity_prompts",
       "pool",
       "prompts.jsonl",
       R"({"filename": "a.txt", "begin": 0, "end": 9, "challenging": false, "prompt": {"text": "So they", "toxicity": )"
       R"(0.1}, "continuation": {"text": " went on", "toxicity": null}})",
       {"So they"},
       {" went on"}},
      {"wmt16_de_en",
       "test",
       "test.jsonl",
       R"({"translation": {"de": "Guten Tag.", "en": "Good day."}})",
       {"Q: What is the English translation of Guten Tag.\nA:"},
       {" Good day."}},
      {"five_digit_subtraction",
       "pool",
       "five_digit_subtraction.jsonl",
       R"({"context": "\n\nQ: What is 10000 minus 10001?\n\nA:", "completion": " -1"})",
       {"\n\nQ: What is 10000 minus 10001?\n\nA:"},
       {" -1"}},
      {"random_insertion_in_word",
       "pool",
       "random_insertion_in_word.jsonl",
       R"({"context": "\nw.o r/d =", "completion": " word"})",
       {"\nw.o r/d ="},
       {" word"}}};
}

void holds(const Case& one) {
  const Folder folder;
  folder.file(one.file, one.lines + "\n");
  const Task task = load_task(one.task);
  const auto rows = read_split(task, folder.path(), one.split, true);
  ASSERT_EQ(rows.size(), one.prompts.size()) << one.task;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t t = 0; t < task.templates.size(); ++t) {
      const Example example = render(task, rows[r], t, ByteTokenizer());
      ASSERT_GE(example.label, 0) << one.task;
      if (t > 0) continue;
      EXPECT_EQ(example.prompt, one.prompts[r]) << one.task;
      EXPECT_EQ(example.choices[static_cast<std::size_t>(example.label)], one.answers[r]) << one.task;
    }
  }
}

TEST(HubTasks, ChoicesReadAsPublished) {
  for (const Case& one : choice_cases()) holds(one);
}

TEST(HubTasks, TextsToWriteReadAsPublished) {
  for (const Case& one : text_cases()) holds(one);
}

// The row through the first template.
Example first_example(const char* name, const char* file, const std::string& line, const char* split) {
  const Folder folder;
  folder.file(file, line + "\n");
  const Task task = load_task(name);
  return render(task, read_split(task, folder.path(), split, true).front(), 0, ByteTokenizer());
}

TEST(HubTasks, ChoicesOfWinograndeAreContextsOfOneText) {
  const Example made = first_example(
      "winogrande_partial", "validation.jsonl",
      R"({"sentence": "The box is in the bag as _ is big.", "option1": "the box", "option2": "the bag", "answer": "2"})",
      "validation");
  EXPECT_EQ(made.prompt, "The box is in the bag as ");
  EXPECT_THAT(made.choices, ElementsAre("the box", "the bag"));
  EXPECT_EQ(made.continuation, " is big.");
  EXPECT_EQ(made.label, 1);
  EXPECT_EQ(demonstration_text(made), "The box is in the bag as the bag is big.");
}

TEST(HubTasks, OfTheTrainingSetsOfWinograndeTheLargestTrains) {
  const auto row = [](const std::string& name) {
    return "{\"sentence\": \"" + name + " _ x\", \"option1\": \"a\", \"option2\": \"b\", \"answer\": \"1\"}\n";
  };
  const Folder folder;
  for (const char* size : {"xs", "s", "m", "l", "xl", "debiased"})
    folder.file(fmt::format("train_{}.jsonl", size), row(size));
  const auto rows = read_split(load_task("winogrande"), folder.path(), "train");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].fields.at("sentence"), "xl _ x");
}

// What graft pull brings has translations beside it.
TEST(HubTasks, LambadaIsReadInOneLanguage) {
  const Folder folder;
  folder.file("lambada_test.jsonl", "{\"text\": \"we rowed to the island\"}\n");
  folder.file("lambada_test_de.jsonl", "{\"text\": \"wir ruderten zur Insel\"}\n");
  const auto rows = read_split(load_task("lambada"), folder.path(), "pool");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].fields.at("word"), "island");
}

// The place of the pronoun counts characters, not bytes.
TEST(HubTasks, WinogradSchemasAreCutAroundTheirPronoun) {
  const Example made = first_example(
      "winograd", "wsc273.jsonl",
      R"({"text": "Zoë saw Eve, so she left.", "pronoun": "she", "pronoun_loc": 16, "quote": "she left", )"
      R"("quote_loc": 16, )"
      R"("options": ["Zoë", "Eve"], "label": 0, "source": "x"})",
      "pool");
  EXPECT_EQ(made.prompt, "Zoë saw Eve, so ");
  EXPECT_THAT(made.choices, ElementsAre("Zoë", "Eve"));
  EXPECT_EQ(made.continuation, " left.");
  EXPECT_EQ(made.label, 0);
}

TEST(HubTasks, SeveralAnswersOfTruthfulQaAreTrue) {
  const Example made = first_example(
      "truthfulqa_mc2", "mc.jsonl",
      R"({"question": "Is it?", "mc2_targets": {"choices": ["It may.", "No.", "It is."], "labels": [0, 1, 1]}})",
      "pool");
  EXPECT_THAT(made.truths, ElementsAre(1, 2));
  EXPECT_EQ(made.label, 1) << "the first of them";
  for (const char* labels : {"[0, 1]", "[0, 1, 1, 0]"}) {
    EXPECT_THAT(error_of([&] {
                  first_example("truthfulqa_mc2", "mc.jsonl",
                                fmt::format(R"({{"question": "Is it?", "mc2_targets": {{"choices": ["a", "b", "c"], )"
                                            R"("labels": {}}}}})",
                                            labels),
                                "pool");
                }),
                HasSubstr("mc.jsonl:1: the list 'mc2_targets.labels' has"))
        << labels;
  }
}

TEST(HubTasks, FurtherAnswersAreReferences) {
  const Folder folder;
  folder.file("validation.jsonl",
              R"({"question": "Who?", "answer": {"value": "Ann Lee", "aliases": ["Ann Lee", "A. Lee"]}})"
              "\n");
  const Task task = load_task("triviaqa");
  const auto groups = prompt_groups(task, read_split(task, folder.path(), "validation"));
  const Example made = render_group(task, groups.front(), 0, ByteTokenizer());
  EXPECT_THAT(made.references, ElementsAre("Ann Lee", "A. Lee"));
  EXPECT_THAT(further_targets(task, groups.front().front(), 0), ElementsAre(" Ann Lee", " A. Lee"));
}

TEST(HubTasks, AnswersToOneQuestionBelongTogether) {
  const Folder folder;
  folder.file("val.jsonl",
              R"({"passage": {"text": "P", "questions": [{"question": "A?", "answers": [{"text": "1", "label": 0}, )"
              R"({"text": "2", "label": 1}]}, {"question": "B?", "answers": [{"text": "1", "label": 1}]}]}})"
              "\n");
  const Task task = load_task("multirc");
  std::vector<Example> made;
  for (const auto& row : read_split(task, folder.path(), "validation"))
    made.push_back(render(task, row, 0, ByteTokenizer()));
  ASSERT_EQ(made.size(), 3u);
  EXPECT_THAT(made[0].group, ElementsAre("P", "A?"));
  EXPECT_EQ(made[0].group, made[1].group);
  EXPECT_NE(made[0].group, made[2].group);
}

TEST(HubTasks, FalseAnswersStandBesideTrueOnes) {
  const Folder folder;
  folder.file("g.jsonl",
              R"({"question": "Red?", "best_answer": "It is not", "correct_answers": ["No"], )"
              R"("incorrect_answers": [" Yes ", "Yes", "It is"], "category": "c", "type": "t"})"
              "\n"
              R"({"question": "Blue?", "best_answer": "It is", "correct_answers": ["Yes"], "incorrect_answers": []})"
              "\n");
  const Task task = load_task("truthfulqa_generation");
  const auto groups = prompt_groups(task, read_split(task, folder.path(), "pool"));
  const Example made = render_group(task, groups.at(0), 0, ByteTokenizer());
  EXPECT_THAT(made.references, ElementsAre("It is not", "No"));
  EXPECT_THAT(made.false_references, ElementsAre("Yes", "It is"));
  EXPECT_THAT(error_of([&] { render_group(task, groups.at(1), 0, ByteTokenizer()); }),
              HasSubstr("g.jsonl:2: there is nothing that is wrong: the list 'incorrect_answers' is empty"));
}

TEST(HubTasks, AListOfReferencesThatNoRowHasIsToldOf) {
  const Folder folder;
  folder.file("validation.jsonl", R"({"question": "Who?", "answer": {"value": "Ann Lee", "alias": ["Ann Lee"]}})"
                                  "\n");
  const Task task = load_task("triviaqa");
  EXPECT_THAT(error_of([&] { read_split(task, folder.path(), "validation"); }),
              HasSubstr("has no field 'answer.aliases.0'; it has answer.alias.0"));
}

TEST(HubTasks, RunningTextIsOneDocumentAFile) {
  const Folder folder;
  folder.file("a.txt", "One two.\n\nThree.");
  const Task plain = load_task("running_text");
  EXPECT_TRUE(plain.rolls());
  EXPECT_FALSE(plain.has_choices());
  const auto rows = read_split(plain, folder.path(), "pool");
  ASSERT_EQ(rows.size(), 1u);
  const Example made = render(plain, rows[0], 0, ByteTokenizer());
  EXPECT_EQ(made.prompt, "");
  EXPECT_THAT(made.choices, ElementsAre("One two.\n\nThree."));
  const Example page = first_example("wikitext", "wiki-test.jsonl", R"({"page": " = A = \n b \n"})", "test");
  EXPECT_THAT(page.choices, ElementsAre(" = A = \n b \n"));
}

TEST(HubTasks, ABlankAtTheEndLeavesNothingToScore) {
  EXPECT_THAT(error_of([] {
                first_example("winogrande_partial", "dev.jsonl",
                              R"({"sentence": "It was _", "option1": "a", "option2": "b", "answer": "1"})",
                              "validation");
              }),
              HasSubstr("nothing stands behind the choices"));
}

}  // namespace
}  // namespace graft
