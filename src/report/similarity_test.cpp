#include "report/similarity.h"

#include <gtest/gtest.h>

#include "report/well_formed.h"

namespace graft {
namespace {

TEST(SimilarityPage, ShowsEveryRoleAndMapAndEscapesEveryText) {
  const SimilarityReport report{"<model>",
                                "a\"b",
                                "c&d",
                                {{"q", 2, 64, {{1, 0.5}, {0.25, 0.75}}}, {"v", 1, 64, {{0.1, 0.2}}}},
                                {{"decoder.0.<q>", 0.875, 0.5, 0.03125}},
                                "0.1"};
  const std::string page = render_similarity(report);
  EXPECT_EQ(markup_problem(page), "");
  EXPECT_EQ(count(page, "<svg"), 2u);
  for (const char* part : {"&lt;model&gt;", "a&quot;b", "c&amp;d", "decoder.0.&lt;q&gt;", "0.875",
                           "q: mean over 2 maps", "random updates have 0.03125"})
    EXPECT_NE(page.find(part), std::string::npos) << part;
  EXPECT_EQ(page.find("<model>"), std::string::npos);
}

TEST(SimilarityPage, IsWholeWithoutAnything) {
  EXPECT_EQ(markup_problem(render_similarity({})), "");
}

}  // namespace
}  // namespace graft
