#include "cli/core/in_context_run.h"

#include <gmock/gmock.h>

#include "base/error_test_support.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

RunConfig in_context_config(const std::map<std::string, std::string>& options = {}) {
  RunConfig config;
  config.task.name = "rte";
  config.method.name = kInContext;
  config.method.options = options;
  return config;
}

std::string in_context_error(const RunConfig& config) {
  return graft::error_of([&] { in_context_settings(config); });
}

TEST(InContextRun, ShotsAreDrawnFromTheRowsThatTrain) {
  EXPECT_TRUE(is_in_context(in_context_config()));
  EXPECT_FALSE(is_in_context(RunConfig{}));
  const EvalSettings none = in_context_settings(in_context_config()),
                     eight = in_context_settings(in_context_config({{"shots", "8"}}));
  EXPECT_THAT(none.shots, ElementsAre(0));
  EXPECT_THAT(in_context_settings(in_context_config({{"shots", "0"}})).shots, ElementsAre(0));
  EXPECT_THAT(eight.shots, ElementsAre(0, 8));
  EXPECT_TRUE(eight.training_rows);
  EXPECT_EQ(eight.layout.separator, PromptLayout{}.separator) << "the task says no other";
}

TEST(InContextRun, SlipsNameTheOption) {
  EXPECT_THAT(in_context_error(in_context_config({{"shot", "8"}})),
              HasSubstr("method.options: in_context has no option 'shot' (did you mean 'shots'?)"));
  for (const char* wrong : {"-1", "2.5", "many"})
    EXPECT_THAT(in_context_error(in_context_config({{"shots", wrong}})), HasSubstr("method.options.shots: ")) << wrong;
  RunConfig begun = in_context_config();
  begun.method.start_from = "runs/vectors/adapter";
  EXPECT_THAT(in_context_error(begun), HasSubstr("method.start_from: in_context trains nothing"));
  RunConfig running = in_context_config();
  running.task.name = "running_text";
  EXPECT_THAT(in_context_error(running), HasSubstr("graft eval tells its perplexity"));
}

}  // namespace
}  // namespace graft
