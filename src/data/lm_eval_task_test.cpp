// Files of the forms that lm-evaluation-harness's own tasks have.
#include "data/lm_eval_task.h"

#include <gmock/gmock.h>

#include "data/data_test_support.h"
#include "data/demonstrations.h"
#include "data/sampler.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// As ARC's: choices of the document's own, both accuracies.
const std::string kScience = R"(tag: [science]
task: science
dataset_path: somebody/science
dataset_name: null
output_type: multiple_choice
training_split: train
validation_split: validation
test_split: test
doc_to_text: "Question: {{question}}\nAnswer:"
doc_to_target: "{{choices.label.index(answerKey)}}"
doc_to_choice: "{{choices.text}}"
should_decontaminate: true
doc_to_decontamination_query: "Question: {{question}}\nAnswer:"
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
  - metric: acc_norm
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
)";

// As GLUE's: the same choices for every document, the target a field.
const std::string kSentiment = R"(task: sentiment
dataset_path: somebody/sentiment
output_type: multiple_choice
training_split: train
validation_split: validation
doc_to_text: "{{sentence}}\nQuestion: Is this {good} or bad?\nAnswer:"
doc_to_target: label
doc_to_choice: ["bad", "{good}"]
metric_list:
  - metric: acc_norm
)";

// As LAMBADA's: the last word of a text.
const std::string kLastWord = R"(task: last_word
dataset_path: somebody/passages
output_type: loglikelihood
test_split: test
doc_to_text: "{{text.split(' ')[:-1]|join(' ')}}"
doc_to_target: "{{' '+text.split(' ')[-1]}}"
metric_list:
  - metric: perplexity
    aggregation: perplexity
    higher_is_better: false
  - metric: acc
)";

// As TriviaQA's: several answers, demonstrations, a description.
const std::string kTrivia = R"(task: trivia
dataset_path: somebody/trivia
output_type: generate_until
training_split: train
validation_split: validation
description: "Answer these questions:\n\n"
doc_to_text: "Q: {{question}}?\nA:"
doc_to_target: "{{answer.aliases}}"
fewshot_delimiter: "\n"
num_fewshot: 3
fewshot_config: {sampler: first_n}
generation_kwargs:
  until: ["\n", "."]
  do_sample: false
  temperature: 0.0
filter_list:
  - name: remove_whitespace
    filter:
      - function: remove_whitespace
      - function: take_first
metric_list:
  - metric: exact_match
    ignore_case: false
)";

// As WSC273's: the text is the number of a choice, the choices are contexts, the target is what follows them.
const std::string kSchema = R"(task: schema
dataset_path: somebody/schemas
output_type: multiple_choice
test_split: test
doc_to_text: label
doc_to_target: "{% set index = pronoun_loc + pronoun | length %}{{text[index:]}}"
doc_to_choice: "{% set template = text[:pronoun_loc] %}{{[template+options[0], template+options[1]]}}"
target_delimiter: ""
metric_list:
  - metric: acc
)";

// As wikitext's, without its Python.
const std::string kRunning = R"(task: pages
dataset_path: somebody/pages
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: "{{page}}"
num_fewshot: 2
metric_list:
  - metric: word_perplexity
    aggregation: weighted_perplexity
    higher_is_better: false
  - metric: byte_perplexity
)";

Task parsed_lm_eval(const std::string& yaml) {
  return parse_task(yaml, "mine.yaml");
}
std::string lm_eval_error(const std::string& yaml) {
  return error_of([&] { parsed_lm_eval(yaml); });
}
std::string with(std::string text, const std::string& from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

class LmEvalTask : public ::testing::Test {
 protected:
  std::vector<Row> rows(const std::string& yaml, const std::string& lines, const std::string& name = "rows.jsonl") {
    return read_split(parsed_lm_eval(yaml), folder_.file(name, lines), "test");
  }
  Example example(const std::string& yaml, const std::string& line) {
    return render(parsed_lm_eval(yaml), rows(yaml, line + "\n").front(), 0, ByteTokenizer());
  }
  std::string row_error(const std::string& yaml, const std::string& line) {
    return error_of([&] { example(yaml, line); });
  }

  Folder folder_;
};

const std::string kQuestion =
    R"({"question": "Why?", "choices": {"text": ["It's so", "No", "Yes"], "label": ["A", "B", "C"]}, "answerKey": "B"})";

TEST_F(LmEvalTask, ChoicesOfTheDocumentsOwn) {
  const Task task = parsed_lm_eval(kScience);
  EXPECT_EQ(task.name, "science");
  EXPECT_EQ(task.normalisation, "none") << "of the first metric";
  EXPECT_FALSE(task.has_classes());
  EXPECT_EQ(task.splits.at("test"), "test.*") << "as there, test before validation";
  EXPECT_EQ(task.splits.at("train"), "train.*");
  const Example made = example(kScience, kQuestion);
  EXPECT_EQ(made.prompt, "Question: Why?\nAnswer:");
  EXPECT_THAT(made.choices, ElementsAre(" It's so", " No", " Yes"));
  EXPECT_EQ(made.label, 1);
  EXPECT_EQ(made.delimiter_bytes, 1u) << "lengths are those of the choices alone";
}

TEST_F(LmEvalTask, TheSameChoicesForAllAreClasses) {
  const Task task = parsed_lm_eval(kSentiment);
  EXPECT_TRUE(task.has_classes());
  EXPECT_EQ(task.normalisation, "chars");
  EXPECT_THAT(task.labels, ElementsAre("bad", "{good}"));
  const Example made = example(kSentiment, R"({"sentence": "Fine {really}.", "label": 1})");
  EXPECT_EQ(made.prompt, "Fine {really}.\nQuestion: Is this {good} or bad?\nAnswer:");
  EXPECT_THAT(made.choices, ElementsAre(" bad", " {good}")) << "braces stand for themselves";
  EXPECT_EQ(made.label, 1);
  EXPECT_EQ(example(kSentiment, R"({"sentence": "a", "label": "{good}"})").label, 1)
      << "a choice's text is its number too";
  EXPECT_EQ(example(kSentiment, R"({"sentence": "a", "label": true})").label, 1);
  EXPECT_EQ(example(kSentiment, R"({"sentence": "a", "label": -1})").label, -1);
  EXPECT_EQ(example(kSentiment, R"({"sentence": "a"})").label, -1) << "rows of test may be without";
  EXPECT_THAT(example(with(kSentiment, "doc_to_target", "target_delimiter: ''\ndoc_to_target"),
                      R"({"sentence": "a", "label": 0})")
                  .choices,
              ElementsAre("bad", "{good}"));
}

TEST_F(LmEvalTask, ANumberFromATemplateCountsChoices) {
  const std::string numbers = with(kSentiment, R"(["bad", "{good}"])", R"(["1", "0"])");
  EXPECT_EQ(example(numbers, R"({"sentence": "a", "label": "1"})").label, 0) << "a field that is a choice";
  EXPECT_EQ(
      example(with(numbers, "doc_to_target: label", "doc_to_target: '{{label}}'"), R"({"sentence": "a", "label": "1"})")
          .label,
      1);
  EXPECT_EQ(example(with(kSentiment, "doc_to_target: label", "doc_to_target: 1"), R"({"sentence": "a"})").label, 1);
}

TEST_F(LmEvalTask, TheTextOfALogLikelihoodHasNoDelimiter) {
  const Task task = parsed_lm_eval(kLastWord);
  EXPECT_TRUE(task.generates());
  EXPECT_TRUE(task.is_pool()) << "there is no other split to demonstrate from";
  const Example made = example(kLastWord, R"({"text": "we went to the sea"})");
  EXPECT_EQ(made.prompt, "we went to the");
  EXPECT_THAT(made.choices, ElementsAre(" sea"));
}

TEST_F(LmEvalTask, ANumberAsTextMakesChoicesContexts) {
  const std::string line = R"({"text": "Ann saw Eve as she left.", "pronoun": "she", "pronoun_loc": 15, )"
                           R"("options": ["Ann", "Eve"], "label": 1})";
  const Example made = example(kSchema, line);
  EXPECT_EQ(made.prompt, "");
  EXPECT_THAT(made.choices, ElementsAre("Ann saw Eve as Ann", "Ann saw Eve as Eve"));
  EXPECT_EQ(made.continuation, " left.");
  EXPECT_EQ(made.label, 1);
  EXPECT_EQ(demonstration_text(made), "Ann saw Eve as Eve left.");
  EXPECT_EQ(example(with(kSchema, "doc_to_text: label", "doc_to_text: '{{label - 1}}'"), line).label, 0)
      << "a template that gives digits";
  EXPECT_EQ(example(with(kSchema, "target_delimiter: \"\"", "target_delimiter: '_'"), line).continuation, "_ left.");
  EXPECT_THAT(row_error(kSchema, with(line, "\"label\": 1", "\"label\": 2")), HasSubstr("there are 2 choices"));
  EXPECT_THAT(row_error(with(kSchema, "doc_to_text: label", "doc_to_text: pronoun"), line),
              HasSubstr("is none of the choices"))
      << "a text is what is read before choices";
}

TEST_F(LmEvalTask, RunningTextIsTheTarget) {
  const Task task = parsed_lm_eval(kRunning);
  EXPECT_TRUE(task.rolls());
  EXPECT_EQ(task.in_context->shots, 0) << "nothing is demonstrated";
  EXPECT_THAT(task.metrics, ElementsAre("word_perplexity", "byte_perplexity"));
  const Example made = example(kRunning, R"({"page": "One.\n Two."})");
  EXPECT_EQ(made.prompt, "");
  EXPECT_THAT(made.choices, ElementsAre("One.\n Two."));
  EXPECT_EQ(made.label, 0);
  EXPECT_THAT(row_error(with(kRunning, "\"{{page}}\"", "page"), R"({"pages": "x"})"),
              HasSubstr("the document has no field 'page', which doc_to_target names (did you mean 'pages'?)"));
}

TEST_F(LmEvalTask, SchemasOfAPairAreTwoQuestions) {
  const std::string rest = R"(", "pronoun": "she", "pronoun_loc": 16, "options": ["Ann", "Eve"], "label": 0})";
  const std::string lines =
      R"({"text": "Ann saw Eve, so she left.)" + rest + "\n" + R"({"text": "Ann saw Eve, so she stayed.)" + rest + "\n";
  const FewShot data = evaluation_data(parsed_lm_eval(kSchema), folder_.file("test.jsonl", lines), {}, 0);
  EXPECT_EQ(data.held_out.size(), 2u) << "they differ behind the pronoun alone";
}

// One row, so that no question is demonstrated twice.
TEST_F(LmEvalTask, SeveralTargetsAreReferencesOfOnePrompt) {
  const auto all = rows(kTrivia, R"({"question": "Who", "answer": {"aliases": ["Ann", "Ann Lee"]}})"
                                 "\n");
  ASSERT_EQ(all.size(), 1u);
  const Task task = parsed_lm_eval(kTrivia);
  EXPECT_EQ(demonstration_text(render(task, all[0], 0, ByteTokenizer())), "Q: Who?\nA: Ann") << "the first, as there";
  EXPECT_THAT(further_targets(task, all[0], 0), ElementsAre(" Ann", " Ann Lee"));
  const auto groups = prompt_groups(task, all);
  ASSERT_EQ(groups.size(), 1u);
  const Example made = render_group(task, groups.front(), 0, ByteTokenizer());
  EXPECT_EQ(made.prompt, "Q: Who?\nA:");
  EXPECT_THAT(made.references, ElementsAre("Ann", "Ann Lee"));
  EXPECT_THAT(made.choices, ElementsAre(" Ann"));
  EXPECT_THAT(task.metrics, ElementsAre("exact_match"));
}

// White space of a target's own is compared there; what exact_match ignores is ignored in references too.
TEST_F(LmEvalTask, ReferencesAreWhatIsCompared) {
  const auto references = [&](const std::string& yaml) {
    const auto all = rows(yaml, R"({"question": "Who", "answer": {"aliases": ["Ann", " Ann ", "ANN"]}})"
                                "\n");
    return render_group(parsed_lm_eval(yaml), all, 0, ByteTokenizer()).references;
  };
  EXPECT_THAT(references(kTrivia), ElementsAre("Ann", " Ann ", "ANN"));
  EXPECT_THAT(references(with(kTrivia, "ignore_case: false", "ignore_case: true")), ElementsAre("ann", " ann "));
}

TEST_F(LmEvalTask, AFieldThatLooksLikeAListIsOneTarget) {
  const auto target = [&](const char* source) {
    const std::string yaml = with(kTrivia, "\"{{answer.aliases}}\"", source);
    return rows(yaml, "{\"question\": \"Sort\", \"answer\": \"[1, 2]\"}\n").front().fields.at("target");
  };
  EXPECT_EQ(target("answer"), " [1, 2]");
  EXPECT_EQ(target("\"{{answer}}\""), " 1") << "what a template writes is read, as there";
}

TEST_F(LmEvalTask, SaysHowATextIsWrittenAndRead) {
  const Task task = parsed_lm_eval(kTrivia);
  EXPECT_THAT(task.decoding.stop, ElementsAre("\n", "."));
  EXPECT_EQ(task.decoding.max_new_tokens, 256) << "as there";
  EXPECT_FALSE(task.only_scored);
  EXPECT_EQ(scored_text(task, "  Ann Lee\t"), "Ann Lee") << "on both sides, as there";
  EXPECT_EQ(scored_reference(task, " Ann"), "Ann") << "without the delimiter";
  const std::string own = with(kTrivia, "until: [\"\\n\", \".\"]", "max_gen_toks: 8");
  EXPECT_EQ(parsed_lm_eval(own).decoding.max_new_tokens, 8);
  EXPECT_THAT(parsed_lm_eval(own).decoding.stop, ElementsAre(task.in_context->separator)) << "as there, without until";
  const Task number =
      parsed_lm_eval(with(with(kTrivia, "ignore_case: false", "ignore_case: true\n    regexes_to_ignore: [',']"),
                          "function: remove_whitespace", "{function: regex, regex_pattern: '[0-9,]+|No'}"));
  EXPECT_EQ(scored_text(number, " it is 1,234."), "1234");
  EXPECT_EQ(scored_text(number, "No"), "no");
  EXPECT_EQ(scored_text(number, "?"), "[invalid]");
  EXPECT_EQ(scored_reference(number, " 1,234"), "1234");
  EXPECT_TRUE(parsed_lm_eval(kLastWord).only_scored);
  EXPECT_TRUE(parsed_lm_eval(kLastWord).decoding.stop.empty());
}

TEST_F(LmEvalTask, SaysWhatStandsAroundDemonstrations) {
  const Task task = parsed_lm_eval(kTrivia);
  ASSERT_TRUE(task.in_context.has_value());
  EXPECT_EQ(task.in_context->shots, 3);
  EXPECT_TRUE(task.in_context->first);
  EXPECT_TRUE(task.in_context->as_is);
  const PromptLayout layout{task.in_context->description, task.in_context->separator, task.in_context->as_is};
  const std::vector<std::string> shown = {"Q: a?\nA: b"};
  EXPECT_EQ(prompt_behind(layout, shown, "Q: c?\nA:"), "Answer these questions:\n\nQ: a?\nA: b\nQ: c?\nA:");
}

TEST_F(LmEvalTask, ReadsTables) {
  const auto all = rows(kSentiment, "sentence,label\nGood,1\nBad,0\n", "rows.csv");
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].fields.at("label"), "{good}");
  EXPECT_THAT(all[1].where, HasSubstr("rows.csv:3"));
}

TEST_F(LmEvalTask, SplitsComeFromTheFolder) {
  folder_.file("train.jsonl", "{\"sentence\": \"a\", \"label\": 0}\n{\"sentence\": \"b\", \"label\": 1}\n");
  folder_.file("held/out.jsonl", "{\"sentence\": \"c\", \"label\": 1}\n");
  const Task task = parsed_lm_eval(kSentiment +
                                   "dataset_kwargs:\n  data_files: {train: hf://datasets/x/train.jsonl, validation: "
                                   "held/out.jsonl}\n");
  const FewShot data = few_shot_data(task, folder_.path(), 1, 0);
  EXPECT_EQ(data.train.size(), 2u);
  ASSERT_EQ(data.held_out.size(), 1u);
  EXPECT_THAT(data.held_out[0].fields.at("prompt"), StartsWith("c\n"));
}

TEST_F(LmEvalTask, IncludedFilesStandUnderTheirOwn) {
  folder_.file("base/_default", kSentiment);
  folder_.file("base/middle.yaml", "include: _default\ntask: middle\ntask_list: [x]\ndescription: \"Judge.\\n\\n\"\n");
  const auto top = folder_.file("top.yaml", "include: base/middle.yaml\ntask: top\nmetric_list: [{metric: acc}]\n");
  const Task task = load_task(top.string());
  EXPECT_EQ(task.name, "top");
  EXPECT_EQ(task.normalisation, "none");
  EXPECT_EQ(task.in_context->description, "Judge.\n\n");
  const Task again = parse_task(task.text, "task of the adapter");
  EXPECT_EQ(again.name, "top") << "the text that is kept is whole";
  EXPECT_EQ(again.text, task.text);
  EXPECT_EQ(again.templates[0].choices, task.templates[0].choices);
  folder_.file("a.yaml", "include: b.yaml\ntask: a\n");
  const auto circle = folder_.file("b.yaml", "include: a.yaml\ntask: b\n");
  EXPECT_THAT(error_of([&] { load_task(circle.string()); }), HasSubstr("b.yaml:1: the files include each other"));
  for (int i = 0; i < 7; ++i) {
    const std::string next = fmt::format("n{}.yaml", i + 1);
    folder_.file(fmt::format("n{}.yaml", i), fmt::format("include: [{0},{0},{0},{0},{0},{0},{0},{0},{0},{0}]\n", next));
  }
  folder_.file("n7.yaml", "task: a\n");
  EXPECT_THAT(error_of([&] { load_task((folder_.path() / "n0.yaml").string()); }),
              HasSubstr("the files include each other or one twice"))
      << "ten million readings otherwise";
  EXPECT_THAT(lm_eval_error("include: x.yaml\ntask: a\n"), HasSubstr("mine.yaml:1: 'include' names another file"));
  const auto broken = folder_.file("c.yaml", kSentiment + "include: nowhere.yaml\n");
  EXPECT_THAT(error_of([&] { load_task(broken.string()); }), StartsWith("NotFound"));
}

TEST_F(LmEvalTask, WhatIsNotSupportedIsNamed) {
  EXPECT_EQ(lm_eval_error(kScience + "process_docs: !function utils.process_docs\n"),
            "InvalidArgument mine.yaml:23: the tag '!function utils.process_docs' is not supported: nothing here runs "
            "code; write the value out");
  EXPECT_THAT(lm_eval_error(kScience + "process_results: utils.f\n"),
              StartsWith("Unsupported mine.yaml:23: 'process_results' of lm-evaluation-harness is not supported"));
  EXPECT_THAT(lm_eval_error(kScience + "gen_prefix: A\n"), HasSubstr("'gen_prefix'"));
  EXPECT_THAT(lm_eval_error(kScience + "repeats: 2\n"), HasSubstr("'repeats'"));
  EXPECT_THAT(lm_eval_error(with(kScience, "multiple_choice", "loglikelihood_bits")),
              HasSubstr("mine.yaml:5: 'output_type: loglikelihood_bits'"));
  EXPECT_THAT(lm_eval_error(with(kRunning, "metric: byte_perplexity", "metric: acc")),
              HasSubstr("metric 'acc' of lm-evaluation-harness is not supported for loglikelihood_rolling"));
  EXPECT_THAT(lm_eval_error(with(kScience, "metric: acc\n", "metric: f1\n")),
              StartsWith("Unsupported mine.yaml:15: metric 'f1' of lm-evaluation-harness is not supported for"));
  EXPECT_THAT(lm_eval_error(with(kTrivia, "ignore_case: false", "ignore_cases: true")),
              HasSubstr("'metric_list: ignore_cases'"));
  EXPECT_THAT(lm_eval_error(with(kTrivia, "ignore_case: false", "ignore_case: true\n  - metric: bleu")),
              HasSubstr("'metric_list: ignore_case'"))
      << "other metrics would hear of it too";
  EXPECT_THAT(lm_eval_error(with(kTrivia, "function: remove_whitespace", "function: majority_vote")),
              HasSubstr("'filter_list: majority_vote'"));
  EXPECT_THAT(lm_eval_error(with(kTrivia, "function: remove_whitespace", "{function: regex, regex_pattern: '('}")),
              HasSubstr("does not compile"));
  EXPECT_THAT(lm_eval_error(kLastWord + "filter_list: take_first\n"), HasSubstr("'filter_list' must be a list"));
  EXPECT_THAT(lm_eval_error(with(kTrivia, "do_sample: false", "max_gen_toks: 0")), HasSubstr("must be at least 1"));
  EXPECT_THAT(lm_eval_error(with(kTrivia, "do_sample: false", "do_sample: true")), HasSubstr("'do_sample'"));
  EXPECT_THAT(lm_eval_error(with(kTrivia, "sampler: first_n", "doc_to_text: x")),
              HasSubstr("'fewshot_config: doc_to_text'"));
  EXPECT_THAT(lm_eval_error(with(kTrivia, "sampler: first_n", "sampler: balanced")), HasSubstr("'sampler: balanced'"));
  EXPECT_THAT(lm_eval_error(with(kTrivia, "Answer these", "{{x}} these")), HasSubstr("'description'"));
  EXPECT_THAT(lm_eval_error(with(kScience, "task: science", "task: [a, b]")), HasSubstr("'task'"));
  EXPECT_THAT(lm_eval_error(with(kScience, "doc_to_choice", "doc_to_choices")),
              HasSubstr("lacks the key 'doc_to_choice' (there is 'doc_to_choices'"));
  EXPECT_THAT(lm_eval_error(kScience + "doc_to_imagee: x\n"), HasSubstr("unknown key 'doc_to_imagee'"));
  EXPECT_THAT(lm_eval_error(with(kScience, "test_split: test\n", "")), ::testing::Eq("nothing"));
  EXPECT_THAT(lm_eval_error(with(with(kScience, "test_split: test\n", ""), "validation_split: validation\n", "")),
              HasSubstr("neither test_split nor validation_split"));
  EXPECT_THAT(lm_eval_error(kScience + "dataset_kwargs: {data_files: {test: ../x.jsonl}}\n"),
              HasSubstr("'data_files'"));
  EXPECT_THAT(lm_eval_error(kScience + "dataset_kwargs: {data_dir: x}\n"), HasSubstr("unknown key 'data_dir'"));
}

TEST_F(LmEvalTask, BadDocumentsAreToldWithTheirPlace) {
  EXPECT_THAT(row_error(kScience, R"({"choices": {}})"),
              HasSubstr("rows.jsonl:1: mine.yaml:9: 'doc_to_text': 'question' is undefined"));
  EXPECT_THAT(row_error(kScience, with(kQuestion, "\"B\"}", "\"D\"}")), HasSubstr("'D' is not in the list"));
  EXPECT_THAT(
      row_error(with(kScience, "{{choices.text}}", "options"), kQuestion),
      HasSubstr("doc_to_choice must give a list of texts, it gives nothing: the document has no field 'options'"));
  EXPECT_THAT(row_error(with(kScience, "{{choices.text}}", "{{question}}"), kQuestion), HasSubstr("must give a list"));
  EXPECT_THAT(row_error(kSentiment, R"({"sentence": "a", "label": 2})"),
              HasSubstr("the target is 2, but there are 2 choices"));
  EXPECT_THAT(row_error(kSentiment, R"({"sentence": "a", "label": "badd"})"), HasSubstr("did you mean 'bad'?"));
  EXPECT_THAT(row_error(with(kSentiment, "doc_to_target: label", "doc_to_target: labels"),
                        R"({"sentence": "a", "labels": [0, 1]})"),
              StartsWith("Unsupported"));
  EXPECT_THAT(row_error(with(kSentiment, "\"{{sentence}}\\nQuestion: Is this {good} or bad?\\nAnswer:\"", "label"),
                        R"({"sentence": "a", "label": 1})"),
              HasSubstr("choices are what is read"));
  EXPECT_THAT(row_error(kSentiment, "[1]"), StartsWith("Corruption"));
  EXPECT_THAT(row_error(kSentiment, "{\"a\": " + std::string(200, '[') + std::string(200, ']') + "}"),
              HasSubstr("nested deeper"));
  EXPECT_THAT(row_error(kSentiment, "{"), StartsWith("Corruption"));
}

}  // namespace
}  // namespace graft
