#include "cli/core/usage.h"

#include <gtest/gtest.h>

#include <string>

namespace graft {
namespace {

TEST(OutOfMemory, NamesSettingsOfTrainingWhereThereIsTraining) {
  for (const char* verb : {"tune", "compare"})
    EXPECT_NE(out_of_memory_text(verb).find("train.batch_size"), std::string::npos) << verb;
  for (const char* verb : {"generate", "eval", "merge", "inspect"}) {
    EXPECT_EQ(out_of_memory_text(verb).find("train."), std::string::npos) << verb;
    EXPECT_EQ(out_of_memory_text(verb).find("out of memory; "), 0u) << verb;
  }
}

}  // namespace
}  // namespace graft
