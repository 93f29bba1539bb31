#include "data/task.h"

#include <gmock/gmock.h>

#include "data/data_test_support.h"

namespace graft {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

const std::string kTask = R"(name: mine
format: csv
splits: {train: train.csv, test: test.csv}
label: label
labels: [good, bad_one]
templates:
  - prompt: "{text}\nIt is"
)";

Task task_of(const std::string& yaml) {
  return parse_task(yaml, "mine.yaml");
}
std::string task_error(const std::string& yaml) {
  return error_of([&] { task_of(yaml); });
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

Row row_of(std::map<std::string, std::string> fields) {
  return {std::move(fields), "mine.csv:2"};
}

TEST(TaskYaml, MisspeltKeyNamesFileLineAndTheRightKey) {
  EXPECT_EQ(task_error(replaced(kTask, "labels:", "labelss:")),
            "InvalidArgument mine.yaml:5: unknown key 'labelss' in the task (did you mean 'labels'?)");
  EXPECT_EQ(
      task_error(replaced(kTask, "prompt:", "promt:")),
      "InvalidArgument mine.yaml:7: template 0 lacks the key 'prompt' (there is 'promt': did you mean 'prompt'?)");
  EXPECT_THAT(task_error(kTask + "max_token: {text: 3}\n"),
              HasSubstr("mine.yaml:8: unknown key 'max_token' in the task (did you mean 'max_tokens'?)"));
  EXPECT_THAT(task_error(kTask + "    chioces: [a, b]\n"),
              HasSubstr("mine.yaml:8: unknown key 'chioces' in template 0 (did you mean 'choices'?)"));
}

TEST(TaskYaml, WrongValuesSayWhatIsKnown) {
  EXPECT_THAT(task_error(replaced(kTask, "csv", "csvv")),
              HasSubstr("mine.yaml:2: unknown format 'csvv' (did you mean 'csv'?)"));
  EXPECT_THAT(task_error(replaced(kTask, "{train:", "{trai:")),
              HasSubstr("unknown split 'trai' (did you mean 'train'?)"));
  EXPECT_THAT(task_error(kTask + "metrics: [acuracy]\n"),
              HasSubstr("mine.yaml:8: unknown metric 'acuracy' (did you mean 'accuracy'?)"));
  EXPECT_THAT(task_error(kTask + "normalisation: token\n"), HasSubstr("did you mean 'tokens'?"));
  EXPECT_THAT(task_error(kTask + "max_tokens: {txt: 3}\n"),
              HasSubstr("unknown field in max_tokens 'txt' (did you mean 'text'?)"));
  EXPECT_THAT(task_error(kTask + "max_tokens: {text: 0}\n"), HasSubstr("must be at least 1"));
  EXPECT_THAT(task_error(replaced(kTask, "train.csv", "../train.csv")), HasSubstr("must lie inside the data folder"));
  EXPECT_THAT(task_error(replaced(kTask, "train: train.csv", "pool: a.csv")), HasSubstr("leave the other splits out"));
  EXPECT_THAT(task_error(""), HasSubstr("the task must be a map"));
  EXPECT_THAT(task_error("name: x\n"), HasSubstr("the task lacks the key 'format'"));
}

TEST(TaskYaml, LabelsAndChoicesMustFit) {
  EXPECT_THAT(task_error(kTask + "    choices: [a, b, c]\n"), HasSubstr("template '0': has 3 choices for 2 labels"));
  EXPECT_THAT(task_error(replaced(kTask, "bad_one", "good")), HasSubstr("holds a label twice"));
  EXPECT_THAT(task_error(replaced(kTask, "labels: [good, bad_one]\n", "")),
              HasSubstr("needs choices, as the task lists no labels"));
  EXPECT_THAT(task_error(replaced(kTask, "label: label\n", "")), HasSubstr("the task lacks the key 'label'"));
  EXPECT_THAT(task_error(replaced(kTask, "{text}", "{text")),
              HasSubstr("template '0': prompt: '{' in column 1 is not closed"));
}

TEST(TaskYaml, ATargetIsToldWhatToWriteInstead) {
  const std::string none = replaced(replaced(kTask, "labels: [good, bad_one]\n", ""), "label: label\n", "");
  for (const auto& yaml : {none + "    target: '{answer}'\n", kTask + "    target: '{answer}'\n",
                           none + "target: answer\n", replaced(kTask, "label:", "target:")}) {
    EXPECT_THAT(task_error(yaml), HasSubstr("name the field of the answer with 'label'")) << yaml;
  }
}

TEST(TaskYaml, KeepsItsText) {
  EXPECT_EQ(task_of(kTask).text, kTask);
}

TEST(Render, FillsPromptAndDefaultChoices) {
  const Example example = render(task_of(kTask), row_of({{"text", "Fine."}, {"label", "bad_one"}}), 0, ByteTokenizer());
  EXPECT_EQ(example.prompt, "Fine.\nIt is");
  EXPECT_THAT(example.choices, ElementsAre(" good", " bad one"));
  EXPECT_EQ(example.label, 1);
  EXPECT_EQ(example.id.size(), 16u);
}

TEST(Render, IdFollowsTheContent) {
  const Task task = task_of(kTask);
  const auto id = [&](const char* text) { return render(task, row_of({{"text", text}}), 0, ByteTokenizer()).id; };
  EXPECT_EQ(id("a"), id("a"));
  EXPECT_NE(id("a"), id("b"));
}

TEST(Render, CollapsesWhitespaceThenCutsAtTokens) {
  const Task task = task_of(kTask + "collapse_whitespace: [text]\nmax_tokens: {text: 4}\n");
  EXPECT_EQ(render(task, row_of({{"text", " a \n\n b cd"}}), 0, ByteTokenizer()).prompt, "a b \nIt is");
  EXPECT_EQ(render(task, row_of({{"text", "abcd"}}), 0, ByteTokenizer()).prompt, "abcd\nIt is");
}

TEST(Render, ACutNeverLeavesHalfACharacter) {
  const Task task = task_of(kTask + "max_tokens: {text: 4}\n");
  EXPECT_EQ(render(task, row_of({{"text", "ab\xE6\x97\xA5z"}}), 0, ByteTokenizer()).prompt, "ab\nIt is");
  EXPECT_EQ(render(task, row_of({{"text", "a\xEF\xBF\xBDz"}}), 0, ByteTokenizer()).prompt, "a\xEF\xBF\xBD\nIt is");
}

TEST(Render, MissingFieldNamesRowFieldAndTemplate) {
  EXPECT_EQ(error_of([] {
              render(task_of(kTask), row_of({{"txt", "a"}}), 0, ByteTokenizer());
            }),
            "InvalidArgument mine.csv:2: template '0': the row has no field 'text' (did you mean 'txt'?)");
  EXPECT_THAT(error_of([] {
                render(task_of(kTask), row_of({{"text", "a"}}), 1, ByteTokenizer());
              }),
              HasSubstr("there is no template 1"));
}

TEST(Render, WordTablesAndRowChoices) {
  const Task task = task_of(R"(name: copa
format: jsonl
splits: {pool: "*.jsonl"}
label: label
words: {link: {field: question, values: {cause: because, effect: so}}}
templates:
  - prompt: "{premise} {link}"
    choices: [" {a}", " {b}"]
)");
  Row row = row_of({{"premise", "It rained"}, {"question", "effect"}, {"a", "wet"}, {"b", "dry"}, {"label", "1"}});
  const Example example = render(task, row, 0, ByteTokenizer());
  EXPECT_EQ(example.prompt, "It rained so");
  EXPECT_THAT(example.choices, ElementsAre(" wet", " dry"));
  row.fields["question"] = "efect";
  EXPECT_THAT(error_of([&] { render(task, row, 0, ByteTokenizer()); }),
              HasSubstr("'link' has no word for question 'efect' (did you mean 'effect'?)"));
  row.fields["question"] = "effect";
  row.fields["label"] = "2";
  EXPECT_THAT(error_of([&] { render(task, row, 0, ByteTokenizer()); }),
              HasSubstr("the label is 2, but there are 2 choices"));
}

TEST(Render, ChoicesFromAListFieldMayDifferInNumber) {
  const Task task = task_of(
      "name: q\nformat: jsonl\nsplits: {pool: a}\nlabel: answer\ntemplates:\n  - {prompt: '{q}', choices_from: "
      "options}\n");
  const Row row = row_of({{"q", "?"}, {"options.0", "x"}, {"options.1", "y"}, {"options.2", "z"}, {"answer", "2"}});
  EXPECT_THAT(render(task, row, 0, ByteTokenizer()).choices, ElementsAre(" x", " y", " z"));
}

TEST(Render, NeutralPromptsAreForPmi) {
  const Row row = row_of({{"text", "Fine."}, {"label", "good"}});
  EXPECT_EQ(render(task_of(kTask), row, 0, ByteTokenizer()).neutral, "");
  const std::string pmi = kTask + "normalisation: pmi\n";
  EXPECT_EQ(render(task_of(pmi), row, 0, ByteTokenizer()).neutral, "Answer:");
  const Task task = task_of(pmi + "neutral_prompt: 'A {kind} is'\n");
  EXPECT_THAT(used_fields(task), ElementsAre("kind", "text"));
  EXPECT_THAT(error_of([&] { render(task, row, 0, ByteTokenizer()); }), HasSubstr("the row has no field 'kind'"));
  EXPECT_EQ(render(task, row_of({{"text", "x"}, {"kind", "text"}}), 0, ByteTokenizer()).neutral, "A text is");
  EXPECT_THAT(task_error(kTask + "neutral_prompt: x\n"), HasSubstr("mine.yaml:8: 'neutral_prompt' is for"));
  EXPECT_THAT(task_error(pmi + "neutral_prompt: '{x'\n"), HasSubstr("neutral_prompt: '{' in column 1 is not closed"));
}

TEST(LabelOf, TakesTheValueOrItsIndex) {
  const Task task = task_of(kTask);
  EXPECT_EQ(label_of(task, row_of({{"label", "bad_one"}})), 1);
  EXPECT_EQ(label_of(task, row_of({{"label", "0"}})), 0);
  EXPECT_EQ(label_of(task, row_of({{"text", "a"}})), -1);
  EXPECT_EQ(label_of(task, row_of({{"label", " "}})), -1);
  EXPECT_EQ(error_of([&] {
              label_of(task, row_of({{"label", "goood"}}));
            }),
            "InvalidArgument mine.csv:2: unknown label 'goood' in 'label' (did you mean 'good'?)");
  EXPECT_THAT(error_of([&] { label_of(task, row_of({{"label", "2"}})); }), HasSubstr("(known: good, bad_one)"));
}

TEST(LabelOf, NumbersThatAreLabelsAreNoIndices) {
  const Task task = task_of(replaced(kTask, "[good, bad_one]", "['1', '2']"));
  EXPECT_EQ(label_of(task, row_of({{"label", "1"}})), 0);
  EXPECT_THAT(error_of([&] { label_of(task, row_of({{"label", "0"}})); }), HasSubstr("unknown label '0'"));
}

}  // namespace
}  // namespace graft
