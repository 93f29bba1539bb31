#include "corpus/tally_file.h"

#include <gmock/gmock.h>

#include "corpus/corpus_test_support.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

Tally tally_of(std::int64_t kept, const std::string& fate) {
  Tally tally;
  for (std::int64_t i = 0; i < kept; ++i) tally.count("kept", 10);
  tally.count(fate, 5);
  return tally;
}

TEST(TallyFile, TellsTheWholeWayInOrder) {
  const Folder folder;
  const auto in = folder.file("in.jsonl", "{}\n"), other = folder.file("other.jsonl", "{}\n");
  const auto unique = folder.path() / "unique.jsonl", kept = folder.path() / "kept.jsonl";
  EXPECT_THAT(read_tally_file(in).steps, IsEmpty());
  const TallyFile first(unique, {in});
  folder.file("unique.jsonl", "{}\n");
  first.write("dedup", tally_of(2, "like an earlier document"));
  const TallyFile second(kept, {unique, other, unique});
  folder.file("kept.jsonl", "{}\n");
  second.write("filter", tally_of(1, "fewer than 5 words"));
  const TallyHistory history = read_tally_file(kept);
  EXPECT_FALSE(history.stale);
  ASSERT_EQ(history.steps.size(), 2u);
  EXPECT_EQ(history.steps[0].tool, "dedup");
  EXPECT_EQ(history.steps[1].output, kept.string());
  EXPECT_THAT(history.steps[1].inputs, ElementsAre(unique.string(), other.string(), unique.string()));
  const auto& lines = history.steps[0].lines;
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].fate, "kept");
  EXPECT_EQ(lines[1].fate, "like an earlier document");
  EXPECT_EQ(lines[1].bytes, 5);
  EXPECT_EQ(lines[2].fate, "all");
  EXPECT_EQ(lines[2].documents, 3);
}

TEST(TallyFile, AMixtureTellsItsSourcesBehindTheirOwnWays) {
  const Folder folder;
  const auto web = folder.file("web.jsonl", "{}\n"), wiki = folder.file("wiki.jsonl", "{}\n"),
             mixed = folder.file("mix.jsonl", "{}\n");
  TallyFile(web, {folder.path() / "raw.jsonl"}).write("filter", tally_of(1, "fewer than 5 words"));
  TallyFile(mixed, {web, wiki}).write("mix", Tally(), {{"web", 0.75, 6, 1.5}, {"wiki", 0.25, 2, 0.125}});
  const TallyHistory history = read_tally_file(mixed);
  ASSERT_EQ(history.steps.size(), 2u);
  EXPECT_TRUE(history.steps[0].sources.empty());
  EXPECT_EQ(history.steps[1].tool, "mix");
  ASSERT_EQ(history.steps[1].sources.size(), 2u);
  EXPECT_EQ(history.steps[1].sources[0].name, "web");
  EXPECT_EQ(history.steps[1].sources[0].documents, 6);
  EXPECT_DOUBLE_EQ(history.steps[1].sources[0].share, 0.75);
  EXPECT_DOUBLE_EQ(history.steps[1].sources[1].epochs, 0.125);
  folder.file("mix.jsonl.tally",
              R"({"kind":"graft data tally","bytes":3,"steps":[{"tool":"mix","inputs":[],"output":"m",
                                    "documents":{"all":{"documents":1,"bytes":1}},"sources":[{"name":"web"}]}]})");
  EXPECT_THAT(error_of([&] { read_tally_file(mixed); }), ::testing::HasSubstr("mix.jsonl.tally"));
}

TEST(TallyFile, AFileThatWasChangedHasNoWayThatIsKnown) {
  const Folder folder;
  const auto in = folder.file("in.jsonl", "{}\n"), unique = folder.file("unique.jsonl", "{}\n");
  TallyFile(unique, {in}).write("dedup", tally_of(1, "like an earlier document"));
  folder.file("unique.jsonl", "{}\n{}\n");
  EXPECT_TRUE(read_tally_file(unique).stale);
  const auto kept = folder.file("kept.jsonl", "{}\n");
  TallyFile(kept, {unique}).write("filter", tally_of(1, "fewer than 5 words"));
  EXPECT_EQ(read_tally_file(kept).steps.size(), 1u);
}

TEST(TallyFile, AnotherFileIsNamedAndLeftAlone) {
  const Folder folder;
  const auto kept = folder.path() / "kept.jsonl";
  for (const char* bad : {"mine", "{}", R"({"kind":"graft data tally","bytes":1,"steps":[{"tool":"x"}]})",
                          R"({"kind":"graft data tally","bytes":1,"steps":[{"tool":"x","inputs":[],"output":"y",
                              "documents":{}}]})"}) {
    const auto tally = folder.file("kept.jsonl.tally", bad);
    EXPECT_THAT(error_of([&] { const TallyFile file(kept, {}); }), ::testing::HasSubstr("kept.jsonl.tally")) << bad;
    EXPECT_EQ(read_file(tally), bad);
  }
}

}  // namespace
}  // namespace graft
