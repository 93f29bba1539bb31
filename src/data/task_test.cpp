#include "data/task.h"

#include <gmock/gmock.h>

#include "data/data_test_support.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

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
  EXPECT_THAT(task_error(replaced(kTask, "train.csv", "[a.csv, ../b.csv]")), HasSubstr("'../b.csv' must lie inside"));
  EXPECT_THAT(task_error(replaced(kTask, "train.csv", "[]")), HasSubstr("'train' names no file"));
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

const std::string kTextTask = R"(name: mine
format: lines
separator: "||"
fields: [mr, text]
splits: {train: train.txt, test: test.txt}
templates:
  - prompt: "{mr}\n"
    target: " {text}"
group_by: mr
)";

TEST(TaskYaml, ATargetMakesAGenerationTask) {
  const Task task = task_of(kTextTask);
  EXPECT_TRUE(task.generates());
  EXPECT_FALSE(task.has_classes());
  EXPECT_FALSE(task_of(kTask).generates());
  EXPECT_THAT(task.metrics, ElementsAre("bleu", "rougeL"));
  EXPECT_THAT(used_fields(task), ElementsAre("mr", "text"));
  EXPECT_THAT(prompt_fields(task), ElementsAre("mr"));
}

TEST(TaskYaml, SaysWhereATextEnds) {
  const Task task = task_of(kTextTask + "stop: [\"\\n\", END]\nmax_new_tokens: 40\n");
  EXPECT_THAT(task.decoding.stop, ElementsAre("\n", "END"));
  EXPECT_EQ(task.decoding.max_new_tokens, 40);
  EXPECT_EQ(task_of(kTextTask).decoding.max_new_tokens, 0);
  EXPECT_THAT(task_error(kTextTask + "stop: [\"\"]\n"), HasSubstr("a text of 'stop' is empty"));
  EXPECT_THAT(task_error(kTextTask + "max_new_tokens: 0\n"), HasSubstr("must be at least 1"));
  EXPECT_THAT(task_error(kTask + "stop: [x]\n"), HasSubstr("'stop' is for tasks whose templates have a target"));
}

TEST(TaskYaml, SaysWhatStandsAroundDemonstrations) {
  EXPECT_FALSE(task_of(kTextTask).in_context.has_value());
  const Task task = task_of(kTextTask + "demonstrations: {instruction: \"Tell it.\", separator: \"\"}\n");
  ASSERT_TRUE(task.in_context.has_value());
  EXPECT_EQ(task.in_context->description, "Tell it.");
  EXPECT_EQ(task.in_context->separator, "");
  EXPECT_FALSE(task.in_context->as_is) << "the separator stands behind an instruction";
  EXPECT_EQ(task.in_context->shots, 0);
  EXPECT_EQ(task_of(kTask + "demonstrations: {instruction: Judge.}\n").in_context->separator, "\n\n");
  EXPECT_THAT(task_error(kTask + "demonstrations: {seperator: x}\n"), HasSubstr("'separator'"));
  EXPECT_THAT(task_error(kTask + "demonstrations: x\n"), HasSubstr("mine.yaml:8: "));
}

TEST(TaskYaml, ATargetAndChoicesDoNotMix) {
  EXPECT_THAT(task_error(kTextTask + "label: text\n"), HasSubstr("mine.yaml:10: 'label' is for tasks with choices"));
  EXPECT_THAT(task_error(kTextTask + "normalisation: pmi\n"), HasSubstr("'normalisation' is for tasks with choices"));
  EXPECT_THAT(task_error(kTask + "references: text\n"),
              HasSubstr("mine.yaml:8: 'references' is for tasks whose templates"));
  EXPECT_THAT(task_error(kTask + "target: '{text}'\n"), HasSubstr("mine.yaml:8: 'target' belongs to a template"));
  EXPECT_THAT(task_error(kTask + "separator: ';'\n"), HasSubstr("'separator' is for 'format: lines'"));
  EXPECT_THAT(task_error(replaced(kTextTask, "    target:", "    choices: [a, b]\n    target:")),
              HasSubstr("has a target and choices"));
  EXPECT_THAT(task_error(kTextTask + "metrics: [accuracy]\n"), HasSubstr("mine.yaml:10: unknown metric 'accuracy'"));
  EXPECT_THAT(task_error(replaced(kTextTask, " {text}", "so")), HasSubstr("its target holds no field"));
  EXPECT_THAT(task_error(replaced(kTextTask, " {text}", " {text")), HasSubstr("target: '{' in column 2 is not closed"));
  EXPECT_THAT(task_error(replaced(kTextTask, "group_by", "  - prompt: '{mr}:'\ngroup_by")),
              HasSubstr("template 1 lacks the key 'target'"));
  EXPECT_THAT(task_error(kTextTask + "max_tokens: {text: 3}\n"),
              HasSubstr("'text' is part of a target, which is not cut"));
  EXPECT_THAT(task_error(replaced(kTextTask, "[mr, text]", "[mr]")), HasSubstr("mine.yaml:4: lines need a separator"));
  EXPECT_THAT(task_error(replaced(kTextTask, "fields: [mr, text]\n", "")), HasSubstr("lacks the key 'fields'"));
}

TEST(TaskYaml, ADocumentMakesATaskOfRunningText) {
  const std::string running = "name: mine\nformat: text\nsplits: {pool: a.txt}\ntemplates:\n  - document: \"{text}\"\n";
  const Task task = task_of(running);
  EXPECT_TRUE(task.rolls());
  EXPECT_FALSE(task.generates());
  EXPECT_FALSE(task.has_classes());
  EXPECT_THAT(task.metrics, ElementsAre("word_perplexity", "byte_perplexity", "bits_per_byte"));
  EXPECT_THAT(used_fields(task), ElementsAre("text"));
  EXPECT_THAT(task_error(running + "    prompt: x\n"), HasSubstr("has a document, which is scored as a whole"));
  EXPECT_THAT(task_error(replaced(running, "{text}", "x")), HasSubstr("its document holds no field"));
  EXPECT_THAT(task_error(running + "label: text\n"), HasSubstr("the templates have a document"));
  EXPECT_THAT(task_error(running + "stop: [x]\n"), HasSubstr("'stop' is for tasks whose templates have a target"));
  EXPECT_THAT(task_error(running + "references: text\n"), HasSubstr("'references' is for tasks"));
  EXPECT_THAT(task_error(running + "demonstrations: {separator: x}\n"),
              HasSubstr("mine.yaml:6: 'demonstrations' stand in front of questions"));
  EXPECT_THAT(task_error(running + "metrics: [accuracy]\n"), HasSubstr("unknown metric 'accuracy'"));
}

TEST(TaskYaml, LabelsMayBeTheRowsOwn) {
  const std::string own = replaced(kTask, "labels: [good, bad_one]", "labels_from: names");
  const std::string yaml = own + "    choices_from: texts\n";
  const Task task = task_of(yaml);
  EXPECT_FALSE(task.has_classes());
  const Row row = row_of({{"text", "x"}, {"label", "B"}, {"names.0", "A"}, {"names.1", "B"}});
  EXPECT_EQ(label_of(task, row), 1);
  EXPECT_THAT(error_of([&] {
                label_of(task, row_of({{"label", "C"}, {"names.0", "A"}}));
              }),
              HasSubstr("the label 'C' in 'label' is none of the row's list 'names'"));
  EXPECT_THAT(task_error(yaml + "labels: [a, b]\n"), HasSubstr("'labels' and labels_from both list the labels"));
}

TEST(TaskYaml, SeveralChoicesMayBeRight) {
  const std::string marked =
      replaced(replaced(kTask, "label: label\n", "truths_from: marks\n"), "labels: [good, bad_one]\n", "") +
      "    choices_from: texts\n";
  const Task task = task_of(marked);
  EXPECT_EQ(label_of(task, row_of({{"marks.0", "0"}, {"marks.1", "1"}, {"marks.2", "1"}})), 1);
  EXPECT_EQ(label_of(task, row_of({{"text", "x"}})), -1);
  EXPECT_THAT(error_of([&] { label_of(task, row_of({{"marks.0", "0"}})); }), HasSubstr("marks no choice as right"));
  EXPECT_THAT(error_of([&] { label_of(task, row_of({{"marks.0", "2"}})); }), HasSubstr("'marks.0' is '2'"));
  EXPECT_THAT(task_error(marked + "label: label\n"), HasSubstr("names the right choice, and so does truths_from"));
  EXPECT_EQ(task_of(marked + "metrics: [true_probability]\n").metrics.front(), "true_probability");
  EXPECT_THAT(task_error(kTask + "metrics: [true_probability]\n"),
              HasSubstr("mine.yaml:8: 'true_probability' is of several right choices"));
}

TEST(TaskYaml, RightChoicesMayBeToldByTheirTexts) {
  const std::string told =
      replaced(replaced(kTask, "label: label\n", "answers_from: right\n"), "labels: [good, bad_one]\n", "") +
      "    choices_from: names\n    choice: \" {choice} of {place}\"\n";
  const Task task = task_of(told);
  EXPECT_FALSE(task.has_classes());
  EXPECT_THAT(used_fields(task), ::testing::IsSupersetOf({"names.0", "place"}));
  EXPECT_THAT(used_fields(task), ::testing::Not(::testing::Contains("choice")));
  const std::map<std::string, std::string> fields = {{"text", "t"},    {"place", "Bonn"},  {"names.0", "Ann"},
                                                     {"names.1", "B"}, {"names.2", "C"},   {"right.0", "C"},
                                                     {"right.1", "B"}, {"label", "unused"}};
  const Example made = render(task, row_of(fields), 0, ByteTokenizer());
  EXPECT_THAT(made.choices, ElementsAre(" Ann of Bonn", " B of Bonn", " C of Bonn"));
  EXPECT_THAT(made.truths, ElementsAre(1, 2));
  EXPECT_EQ(made.label, 1);
  EXPECT_THAT(made.options, ElementsAre("Ann", "B", "C"));
  EXPECT_THAT(made.answers, ElementsAre("C", "B"));
  EXPECT_EQ(label_of(task, row_of({{"names.0", "Ann"}})), -1) << "a row of a test split";
  EXPECT_THAT(
      error_of([&] {
        label_of(task, row_of({{"names.0", "Ann"}, {"right.0", "Anne"}}));
      }),
      HasSubstr("none of 'right' (the first is 'Anne') is in the list of choices 'names' (did you mean 'Ann'?)"));
  EXPECT_THAT(task_error(told + "truths_from: marks\n"), HasSubstr("names the right choice, and so does truths_from"));
  EXPECT_THAT(task_error(replaced(told, "    choices_from: names\n    choice: \" {choice} of {place}\"\n", "")),
              HasSubstr("needs choices, as the task lists no labels"));
  EXPECT_THAT(task_error(replaced(told, " {choice} of", " one of")), HasSubstr("does not hold {choice}"));
  EXPECT_THAT(task_error(replaced(told, "choices_from: names", "choices: [a, b]")),
              HasSubstr("'choice' words the items of choices_from"));
  EXPECT_THAT(task_error(replaced(told, "    choices_from: names\n    choice: \" {choice} of {place}\"\n",
                                  "    choices: [a, b]\n")),
              HasSubstr("'answers_from' tells the right items of choices_from"));
}

TEST(TaskYaml, RowsOfChoicesMayBelongTogether) {
  const Task task = task_of(kTask + "group_by: [text, page]\nmetrics: [group_exact_match, positive_f1]\n");
  EXPECT_THAT(task.group_by, ElementsAre("text", "page"));
  EXPECT_THAT(used_fields(task), ::testing::Contains("page"));
  EXPECT_THAT(group_of(task, row_of({{"text", " a  b"}, {"page", "2"}})), ElementsAre("a b", "2"));
  EXPECT_TRUE(group_of(task_of(kTask), row_of({{"text", "a"}})).empty());
  EXPECT_THAT(task_of(kTask + "group_by: text\n").group_by, ElementsAre("text"));
  EXPECT_THAT(task_error(kTask + "group_by: []\n"), HasSubstr("'group_by' names no field"));
  EXPECT_THAT(task_error(kTask + "metrics: [group_exact_match]\n"), HasSubstr("which group_by of a task tells"));
  EXPECT_THAT(task_error(kTask + "metrics: [answer_f1]\n"), HasSubstr("which answers_from of a task names"));
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

TEST(Render, ATargetIsTheOnlyChoice) {
  const Example example = render(task_of(kTextTask), row_of({{"mr", "a : b"}, {"text", "A B ."}}), 0, ByteTokenizer());
  EXPECT_EQ(example.prompt, "a : b\n");
  EXPECT_THAT(example.choices, ElementsAre(" A B ."));
  EXPECT_EQ(example.label, 0);
  EXPECT_TRUE(example.writes);
  EXPECT_EQ(render(task_of(kTextTask), row_of({{"mr", "a"}, {"text", " "}}), 0, ByteTokenizer()).label, -1);
}

TEST(Render, SlicesAreWhatTheRowSaysThere) {
  const Task task = task_of(kTask + "slices: [kind, place]\n");
  EXPECT_THAT(task.slices, ElementsAre("kind", "place"));
  const Row row = row_of({{"text", "Fine."}, {"label", "good"}, {"place", "here"}});
  EXPECT_THAT(render(task, row, 0, ByteTokenizer()).slices, ElementsAre("", "here"));
  EXPECT_THAT(used_fields(task), ElementsAre("text")) << "a row may lack them";
  EXPECT_THAT(task_error(kTask + "slices: [kind, kind]\n"), HasSubstr("'slices' names a field twice"));
  EXPECT_THAT(task_error(kTask + "slices: ['']\n"), HasSubstr("'slices' holds an empty name"));
  EXPECT_THAT(task_error("name: t\nformat: text\nsplits: {pool: a}\nslices: [a]\ntemplates:\n  - {document: "
                         "'{text}'}\n"),
              HasSubstr("running text is told as a whole"));
}

TEST(PromptGroups, CollectTheReferencesOfAPrompt) {
  const Task task = task_of(kTextTask);
  const std::vector<Row> rows = {row_of({{"mr", "b"}, {"text", "one"}}), row_of({{"mr", "a"}, {"text", "two"}}),
                                 row_of({{"mr", " b"}, {"text", " "}}), row_of({{"mr", "b"}, {"text", "three"}})};
  const auto groups = prompt_groups(task, rows);
  ASSERT_EQ(groups.size(), 2u);
  const Example example = render_group(task, groups[0], 0, ByteTokenizer());
  EXPECT_EQ(example.prompt, "b\n");
  EXPECT_THAT(example.references, ElementsAre("one", "three"));
  EXPECT_THAT(example.choices, ElementsAre(" one"));
  EXPECT_THAT(error_of([&] { render_group(task, {rows[2]}, 0, ByteTokenizer()); }),
              HasSubstr("mine.csv:2: there is no reference: the target ' {text}' is empty"));
  EXPECT_EQ(prompt_groups(task_of(replaced(kTextTask, "group_by: mr\n", "")), rows).size(), 2u)
      << "by the prompt itself";
  EXPECT_EQ(prompt_groups(task_of(kTask), rows).size(), 4u);
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
