#include "cli/core/columns.h"

#include <gtest/gtest.h>

namespace graft {
namespace {

TEST(Columns, ALineOfCsvQuotesWhatNeedsItAndIsUtf8) {
  EXPECT_EQ(csv_line({"plain", "a,b", "say \"so\"", "two\nlines", ""}),
            "plain,\"a,b\",\"say \"\"so\"\"\",\"two\nlines\",\n");
  EXPECT_EQ(csv_line({"caf\xE9.csv:2", "caf\xC3\xA9"}), "caf\xEF\xBF\xBD.csv:2,caf\xC3\xA9\n");
}

}  // namespace
}  // namespace graft
