#include "config/run_config.h"

#include <gmock/gmock.h>

#include "base/error_test_support.h"
#include "config/shipped.h"

namespace graft {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string parse_error(const std::string& yaml) {
  return error_of([&] { parse_run_config(yaml, "r.yaml"); });
}

TEST(RunConfig, ReadsNestedSettingsOverTheBase) {
  RunConfig base;
  base.train.batch_size = 3;
  const auto config = parse_run_config(
      "optimizer:\n  lr: 1e-4\n  name: adamw\nmethod: {name: lora, options: {rank: 8, roles: [q, v]}}\n", "r.yaml",
      base);
  EXPECT_EQ(config.optimizer.lr, 1e-4);
  EXPECT_EQ(config.optimizer.name, "adamw");
  EXPECT_EQ(config.train.batch_size, 3);
  EXPECT_EQ(config.method.options.at("rank"), "8");
  EXPECT_EQ(config.method.options.at("roles"), "q,v");
}

TEST(RunConfig, UnknownKeyNamesFileLineAndNearest) {
  EXPECT_EQ(
      parse_error("optimizer:\n  name: adamw\n  warmup_step: 3\n"),
      "InvalidArgument r.yaml:3: unknown setting 'optimizer.warmup_step' (did you mean 'optimizer.warmup_steps'?)");
  EXPECT_THAT(parse_error("optimiser: {lr: 1}\n"),
              HasSubstr("r.yaml:1: unknown setting 'optimiser.lr' (did you mean 'optimizer.lr'?)"));
  EXPECT_THAT(parse_error("zzz: 1\n"), HasSubstr("`graft tune --help` lists them all"));
}

TEST(RunConfig, WrongTypeOrRangeSaysWhatWasExpected) {
  EXPECT_EQ(parse_error("train:\n  steps: many\n"),
            "InvalidArgument r.yaml:2: 'train.steps' must be a whole number, it is 'many'");
  EXPECT_THAT(parse_error("train: {steps: 0}\n"),
              HasSubstr("'train.steps' must be a whole number in [1, 1000000000], it is '0'"));
  EXPECT_THAT(parse_error("optimizer: {lr: 0}\n"), HasSubstr("must be a number in (0, 10], it is '0'"));
  EXPECT_THAT(parse_error("optimizer: {lr: nan}\n"), HasSubstr("must be a number in (0, 10]"));
  EXPECT_THAT(parse_error("optimizer: {lr: inf}\n"), HasSubstr("must be a number in (0, 10]"));
  EXPECT_THAT(parse_error("optimizer: {beta1: 1}\n"), HasSubstr("[0, 1)"));
  EXPECT_THAT(parse_error("optimizer: {name: adamW}\n"), HasSubstr("one of adafactor, adamw (did you mean 'adamw'?)"));
  EXPECT_THAT(parse_error("model: {weights: q4k}\n"), HasSubstr("q5_k, q6_k (did you mean 'q4_k'?), it is 'q4k'"));
  EXPECT_THAT(parse_error("objective: {lm: yes}\n"), HasSubstr("true or false"));
  EXPECT_THAT(parse_error("optimizer: 3\n"), HasSubstr("is a group of settings"));
  EXPECT_THAT(parse_error("model: {path: [a]}\n"), HasSubstr("must be text, it is a list"));
  EXPECT_THAT(parse_error("train: {steps: 99999999999999999999}\n"), HasSubstr("must be a whole number"));
  EXPECT_THAT(parse_error("method: {options: 8}\n"), HasSubstr("a map of names and values"));
  EXPECT_THAT(parse_error("- a\n"), HasSubstr("must be a map of settings"));
}

TEST(RunConfig, WrittenAndReadAgainIsEqual) {
  RunConfig config;
  config.model.path = "a folder/with: #odd \"names\"\\";
  config.method.options = {{"rank", "8"}, {"roles", "q,v"}, {"note", "x: y"}};
  config.optimizer.lr = 0.1 + 0.2;
  config.optimizer.eps = 1e-30;
  config.objective.unlikelihood = false;
  config.data.prompt_template = "all";
  config.train.seed = 123456789;
  const auto text = write_run_config(config);
  const auto again = parse_run_config(text, "config.yaml");
  EXPECT_EQ(again, config);
  EXPECT_EQ(again.optimizer.lr, config.optimizer.lr);
  EXPECT_EQ(write_run_config(again), text);
  EXPECT_FALSE(again == RunConfig());
}

TEST(RunConfig, TheFirstSettingThatDiffersIsNamedWithBothValues) {
  RunConfig before;
  before.optimizer.lr = 0.5;
  before.train.steps = 7;
  const auto found = first_difference(before, RunConfig());
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->name, "optimizer.lr");
  EXPECT_EQ(found->before, "0.5");
  EXPECT_EQ(found->now, "0.003");
  EXPECT_FALSE(first_difference(before, before).has_value());
}

TEST(RunConfig, PlacesDifferWhereTheyAreNotTheSamePlace) {
  RunConfig before;
  before.model.path = "tiny";
  before.data.path = "rows/../mine.csv";
  before.task.mixture = {{"./rte.yaml", "rte/"}};
  before.run.output = "runs/one";
  RunConfig now = before;
  now.model.path = "./tiny/";
  now.data.path = "mine.csv";
  now.task.mixture = {{"rte.yaml", "./rte"}};
  now.run.output = "runs/two";
  EXPECT_FALSE(first_difference(before, now).has_value());
  now.model.path = "tiny2";
  const auto found = first_difference(before, now);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->name, "model.path");
  EXPECT_EQ(found->before, "\"tiny\"");
  EXPECT_EQ(found->now, "\"tiny2\"");
  now.model.path.clear();
  EXPECT_TRUE(first_difference(before, now).has_value());
}

TEST(RunConfig, EveryFieldIsDocumentedWrittenAndSettable) {
  const auto text = write_run_config({});
  for (const auto& field : run_fields()) {
    EXPECT_FALSE(field.doc.empty()) << field.name;
    EXPECT_FALSE(field.expected.empty()) << field.name;
    const std::string leaf = field.name.substr(field.name.find('.') + 1);
    EXPECT_THAT(text, HasSubstr("  " + leaf + ": " + field.standard + "\n"));
  }
}

TEST(RunConfig, DefaultsAreThePapers) {
  RunConfig in_all_templates;
  in_all_templates.data.prompt_template = "all";
  EXPECT_EQ(load_recipe("tfew"), in_all_templates);
  const RunConfig config;
  EXPECT_EQ(config.optimizer.name, "adafactor");
  EXPECT_EQ(config.optimizer.lr, 3e-3);
  EXPECT_EQ(config.optimizer.warmup_steps, 60);
  EXPECT_EQ(config.train.steps, 1000);
  EXPECT_EQ(config.train.batch_size, 8);
}

TEST(RunConfig, TheAuthorsRecipeIsThePapersWithTheirOptimiser) {
  RunConfig theirs = load_recipe("tfew-authors");
  EXPECT_TRUE(theirs.optimizer.scale_parameter);
  EXPECT_EQ(theirs.optimizer.clip_norm, 1);
  EXPECT_EQ(theirs.objective.unlikelihood_variant, "authors");
  theirs.optimizer.scale_parameter = false;
  theirs.optimizer.clip_norm = 0;
  theirs.objective.unlikelihood_variant = "paper";
  EXPECT_EQ(theirs, load_recipe("tfew"));
  const RunConfig before = load_recipe("ia3-pretraining");
  EXPECT_EQ(before.optimizer.lr, 3e-4);
  EXPECT_EQ(100 * before.optimizer.warmup_steps, 6 * before.train.steps);
  EXPECT_TRUE(before.optimizer.scale_parameter);
}

TEST(RunConfig, EveryShippedRecipeOpensAndRoundTrips) {
  for (const auto& recipe : shipped_names("recipes")) {
    const auto config = load_recipe(recipe);
    EXPECT_EQ(parse_run_config(write_run_config(config), recipe), config) << recipe;
  }
  EXPECT_EQ(load_recipe("lora").method.options.at("rank"), "8");
  EXPECT_EQ(load_recipe("tfew-cpu").train.steps, 60);
  for (const auto& [recipe, length, steps] :
       {std::tuple{"prefix-tuning-webnlg", "5", 18'000}, std::tuple{"prefix-tuning-dart", "10", 125'000}}) {
    const auto config = load_recipe(recipe);
    EXPECT_EQ(config.method.options.at("length"), length) << recipe;
    EXPECT_EQ(config.train.steps, steps) << recipe;
    EXPECT_EQ(config.optimizer.lr, 5e-5) << recipe;
  }
  const RunConfig summaries = load_recipe("prefix-tuning-xsum");
  EXPECT_EQ(summaries.method.options.at("length"), "100");
  EXPECT_EQ(summaries.method.options.at("hidden"), "800");
  for (const auto& [recipe, smoothing, penalty] :
       {std::tuple{"lora-e2e", 0.1, 0.9}, std::tuple{"lora-webnlg", 0.1, 0.8}, std::tuple{"lora-dart", 0.0, 0.8}}) {
    const auto config = load_recipe(recipe);
    EXPECT_EQ(config.objective.label_smoothing, smoothing) << recipe;
    EXPECT_EQ(config.optimizer.weight_decay, smoothing / 10) << recipe;
    EXPECT_EQ(config.generation.length_penalty, penalty) << recipe;
  }
  EXPECT_THAT(error_of([] { load_recipe("tfew-cpi"); }), HasSubstr("(did you mean 'tfew-cpu'?)"));
}

TEST(RunConfig, SetOverridesOneValue) {
  RunConfig config;
  set_run_field(config, "optimizer.lr=1e-3");
  set_run_field(config, "model.path=a=b: c");
  set_run_field(config, "method.options.rank=4");
  EXPECT_EQ(config.optimizer.lr, 1e-3);
  EXPECT_EQ(config.model.path, "a=b: c");
  EXPECT_EQ(config.method.options.at("rank"), "4");
  EXPECT_THAT(
      error_of([&] { set_run_field(config, "optimizer.lrr=1"); }),
      StartsWith(
          "InvalidArgument --set optimizer.lrr=1: unknown setting 'optimizer.lrr' (did you mean 'optimizer.lr'?)"));
  EXPECT_THAT(error_of([&] { set_run_field(config, "optimizer.lr"); }), HasSubstr("must be key=value"));
}

TEST(RunConfig, SetReadsAListAsAFileDoes) {
  RunConfig config;
  for (const char* list : {"[q,v]", "[q, v]", "[\"q\",\"v\"]", "q,v"}) {
    config.method.options.clear();
    set_run_field(config, std::string("method.options.roles=") + list);
    EXPECT_EQ(config.method.options.at("roles"), "q,v") << list;
    EXPECT_EQ(config, parse_run_config("method: {options: {roles: [q, v]}}\n", "r.yaml"));
  }
  EXPECT_THAT(error_of([&] { set_run_field(config, "method.options.roles=[q"); }), HasSubstr("no closing ']'"));
  EXPECT_THAT(error_of([&] { set_run_field(config, "method.options.ranks={q"); }), HasSubstr("no closing '}'"));
  set_run_field(config, "data.path=[old]/rows.csv");
  EXPECT_EQ(config.data.path, "[old]/rows.csv");
}

TEST(RunConfig, SeveralMethodsAreAListWithOptionsByMethod) {
  const auto config =
      parse_run_config("method: {name: [lora, bitfit], options: {lora: {ranks: {q: 4}}}}", "r.yaml", {});
  EXPECT_EQ(config.method.name, "lora+bitfit");
  EXPECT_EQ(config.method.options.at("lora.ranks.q"), "4");
  RunConfig set;
  set_run_field(set, "method.name=[lora, bitfit]");
  set_run_field(set, "method.options.lora={ranks: {q: 4}}");
  EXPECT_EQ(set.method.name, "lora+bitfit");
  EXPECT_EQ(set.method.options, config.method.options);
  EXPECT_EQ(parse_run_config(write_run_config(set), "r.yaml", {}), set);
}

TEST(Shipped, AWrongHomeIsNotPassedOver) {
  ::setenv("GRAFT_HOME", "/nonexistent-graft-home", 1);
  EXPECT_THAT(error_of([] { shipped_names("recipes"); }), HasSubstr("correct or unset GRAFT_HOME"));
  ::unsetenv("GRAFT_HOME");
  EXPECT_EQ(shipped_names("recipes").size(), 13u);
}

}  // namespace
}  // namespace graft
