#include "cli/core/eval_arguments.h"

#include <gtest/gtest.h>

#include <string>

#include "data/task.h"

namespace graft {
namespace {

TEST(EvalArguments, TheHelpNamesEveryMetricOfChoices) {
  CLI::App app;
  EvalArguments arguments;
  declare_eval(app, arguments);
  const std::string help = app.help();
  for (const auto& metric : choice_metric_names()) EXPECT_NE(help.find(metric), std::string::npos) << metric;
}

}  // namespace
}  // namespace graft
