#include "cli/core/eval_adapters.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>

#include "base/error_test_support.h"
#include "base/file.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::vector<TaskData> kTasks = {{"rte", "data/rte"}, {"mine/cb.yaml", "data/cb"}};

std::string refused(const std::vector<std::string>& given, const std::vector<TaskData>& tasks = kTasks) {
  return error_of([&] { adapter_choices(given, tasks); });
}

TEST(AdapterChoices, OneWithoutATaskIsForAll) {
  const auto choices = adapter_choices({"runs/both"}, kTasks);
  ASSERT_EQ(choices.size(), 1u);
  EXPECT_EQ(choices[0].path, "runs/both");
  EXPECT_THAT(choices[0].tasks, ElementsAre(0, 1));
}

TEST(AdapterChoices, ANameBeforeTheEqualsSignTiesItToATask) {
  const auto choices = adapter_choices({"cb=runs/a", "rte=runs/b", "mine/cb.yaml=runs/b"}, kTasks);
  ASSERT_EQ(choices.size(), 2u) << "one that is named for two tasks is opened once";
  EXPECT_EQ(choices[0].path, "runs/a");
  EXPECT_THAT(choices[0].tasks, ElementsAre(1));
  EXPECT_EQ(choices[1].path, "runs/b");
  EXPECT_THAT(choices[1].tasks, ElementsAre(0, 1));
}

TEST(AdapterChoices, ThePlaceOfTheTaskIsFilled) {
  const auto choices = adapter_choices({"runs/{task}/adapter", "rte=other/{task}"}, kTasks);
  ASSERT_EQ(choices.size(), 3u);
  EXPECT_EQ(choices[0].path, "runs/rte/adapter");
  EXPECT_EQ(choices[1].path, "runs/cb/adapter");
  EXPECT_THAT(choices[1].tasks, ElementsAre(1));
  EXPECT_EQ(choices[2].path, "other/rte");
  EXPECT_THAT(choices[2].tasks, ElementsAre(0));
}

TEST(AdapterChoices, APathWithAnEqualsSignStaysWhole) {
  EXPECT_EQ(adapter_choices({"runs/lr=0.1/{task}"}, kTasks)[0].path, "runs/lr=0.1/rte");
  const auto file = std::filesystem::temp_directory_path() / ("graft-choice-" + std::to_string(::getpid()) + "=1");
  write_file(file, "");
  EXPECT_EQ(adapter_choices({file.string()}, kTasks)[0].path, file.string());
  std::filesystem::remove(file);
}

TEST(AdapterChoices, SlipsAreTold) {
  EXPECT_THAT(refused({"ret=runs/a"}), HasSubstr("'ret' is none of the tasks (did you mean 'rte'?)"));
  EXPECT_THAT(refused({"runs/a", "runs/a"}), HasSubstr("--adapter runs/a: is named twice"));
  EXPECT_THAT(refused({"runs/a", "rte=runs/a"}), HasSubstr("is named twice"));
  EXPECT_THAT(refused({"runs/{task}"}, {{"", "mine.csv"}}), HasSubstr("no --task is named"));
}

}  // namespace
}  // namespace graft
