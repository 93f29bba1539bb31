#include "cli/core/usage.h"

#include <gtest/gtest.h>

#include <string>

namespace graft {
namespace {

TEST(OutOfMemory, NamesSettingsOfTrainingWhereThereIsTraining) {
  for (const bool gpu : {false, true}) {
    for (const char* verb : {"tune", "compare"})
      EXPECT_NE(out_of_memory_text(verb, gpu).find("train.batch_size"), std::string::npos) << verb;
    for (const char* verb : {"generate", "eval", "merge", "inspect"})
      EXPECT_EQ(out_of_memory_text(verb, gpu).find("train."), std::string::npos) << verb;
  }
  EXPECT_EQ(out_of_memory_text("merge", false), "out of memory; use less of the input at a time, or a smaller model");
  EXPECT_EQ(out_of_memory_text("eval", true),
            "the GPU is out of memory; use less of the input at a time, another GPU (--device cuda:1) or the CPU "
            "(--device cpu)");
}

}  // namespace
}  // namespace graft
