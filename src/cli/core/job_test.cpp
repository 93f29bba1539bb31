// What a command says of the rows, and what its recipe says of them.
#include "cli/core/job.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "config/run_config.h"

namespace graft {
namespace {

RunConfig recipe_with(const std::vector<std::string>& assignments) {
  RunConfig config;
  for (const auto& assignment : assignments) set_run_field(config, assignment);
  return config;
}

// "task; path; text, label; prompt, target".
std::string rows_of_config(const RunConfig& config) {
  const auto& data = config.data;
  return config.task.name + "; " + data.path + "; " + data.text_column + ", " + data.label_column + "; " +
         data.prompt_column + ", " + data.target_column;
}

TEST(RunConfigOf, WhatTheCommandDoesNotSayTheRecipeDoes) {
  const RunConfig labelled = recipe_with({"data.path=a.csv", "data.text_column=text", "data.label_column=label"});
  EXPECT_EQ(rows_of_config(run_config_of({}, labelled)), "; a.csv; text, label; , ");
  JobArguments given;
  given.data = "b.csv";
  EXPECT_EQ(rows_of_config(run_config_of(given, labelled)), "; b.csv; text, label; , ");
  EXPECT_EQ(rows_of_config(run_config_of(given, recipe_with({"task.name=rte", "data.path=rte/"}))),
            "rte; b.csv; , ; , ");
  given.label_column = "verdict";
  EXPECT_EQ(rows_of_config(run_config_of(given, labelled)), "; b.csv; text, verdict; , ");
  const RunConfig written = recipe_with({"data.prompt_column=question", "data.target_column=answer"});
  JobArguments elsewhere;
  elsewhere.data = "b.csv";
  EXPECT_EQ(rows_of_config(run_config_of(elsewhere, written)), "; b.csv; , ; question, answer");
}

TEST(RunConfigOf, WhatTheCommandSaysTakesThePlaceOfWhatTheRecipeSays) {
  JobArguments task;
  task.tasks = {"cb"};
  task.data = "cb/";
  for (const char* assignment : {"data.text_column=text", "data.prompt_column=question", "task.name=rte",
                                 "task.mixture={rte: rte/, wic: wic/}"}) {
    const RunConfig config = run_config_of(task, recipe_with({assignment}));
    EXPECT_EQ(rows_of_config(config), "cb; cb/; , ; , ") << assignment;
    EXPECT_TRUE(config.task.mixture.empty()) << assignment;
  }
  JobArguments columns;
  columns.data = "b.csv";
  columns.text_column = "text";
  columns.label_column = "label";
  for (const char* assignment :
       {"data.prompt_column=question", "task.name=rte", "task.mixture={rte: rte/, wic: wic/}"}) {
    const RunConfig config = run_config_of(columns, recipe_with({assignment}));
    EXPECT_EQ(rows_of_config(config), "; b.csv; text, label; , ") << assignment;
    EXPECT_TRUE(config.task.mixture.empty()) << assignment;
  }
}

TEST(RunConfigOf, SeveralTasksAreAMixtureWhateverTheRecipeNames) {
  JobArguments several;
  several.tasks = {"rte=a/", "cb=b/"};
  const RunConfig config = run_config_of(several, recipe_with({"task.name=wic", "data.path=wic/"}));
  EXPECT_EQ(rows_of_config(config), "; ; , ; , ");
  EXPECT_EQ(config.task.mixture.size(), 2u);
  EXPECT_EQ(config.task.mixture.at("cb"), "b/");
}

}  // namespace
}  // namespace graft
