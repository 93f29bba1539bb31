#include "corpus/source_mix.h"

#include <gmock/gmock.h>

#include "corpus/corpus_test_support.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class SourceMixTest : public ::testing::Test {
 protected:
  MixSource source(const std::string& name, int documents, double weight) const {
    std::string text;
    for (int i = 0; i < documents; ++i) text += "{\"text\": \"" + name + std::to_string(i) + "\"}\n";
    return {name, {folder_.file(name + ".jsonl", text).string()}, weight};
  }

  Folder folder_;
};

TEST_F(SourceMixTest, KeepsToTheWeightsAndCountsEpochs) {
  SourceMix mix({source("a", 10, 3), source("b", 2, 1)}, {});
  std::vector<std::string> texts;
  for (int i = 0; i < 16; ++i) {
    Document document;
    mix.count(mix.next(document), 1);
    texts.push_back(document.text);
  }
  EXPECT_THAT(texts, ElementsAre("a0", "b0", "a1", "a2", "a3", "b1", "a4", "a5", "a6", "b0", "a7", "a8", "a9", "b1",
                                 "a0", "a1"));
  ASSERT_EQ(mix.files().size(), 2u);
  EXPECT_EQ(mix.files()[1].filename().string(), "b.jsonl");
  const auto parts = mix.parts();
  EXPECT_EQ(parts[0].documents, 12);
  EXPECT_EQ(parts[1].documents, 4);
  EXPECT_DOUBLE_EQ(parts[0].share, 0.75);
  EXPECT_DOUBLE_EQ(parts[0].epochs, 1.2);
  EXPECT_DOUBLE_EQ(parts[1].epochs, 2);
}

TEST_F(SourceMixTest, AmountsMayBeAnything) {
  SourceMix mix({source("a", 5, 1), source("b", 5, 1)}, {});
  for (int i = 0; i < 110; ++i) {
    Document document;
    const std::size_t from = mix.next(document);
    mix.count(from, from == 0 ? 10 : 1);
  }
  const auto parts = mix.parts();
  EXPECT_EQ(parts[0].amount, 100);
  EXPECT_EQ(parts[1].amount, 100);
}

TEST_F(SourceMixTest, SourcesAreWrittenAsNameFileAndWeight) {
  const MixSource source = mix_source_of("web=/data/c:4/web.jsonl:0.6");
  EXPECT_EQ(source.name, "web");
  EXPECT_THAT(source.paths, ElementsAre("/data/c:4/web.jsonl"));
  EXPECT_DOUBLE_EQ(source.weight, 0.6);
  EXPECT_DOUBLE_EQ(mix_source_of("web=a.jsonl").weight, 1);
  for (const char* bad : {"web", "=a.jsonl:1", "web=a.jsonl:x", "web=a.jsonl:0", "web=a.jsonl:-1", "web=a.jsonl:nan",
                          "web=:1", "web=a.jsonl:"})
    EXPECT_THAT(error_of([&] { mix_source_of(bad); }), HasSubstr("write NAME=FILE:WEIGHT")) << bad;
}

TEST_F(SourceMixTest, SourcesAreChecked) {
  EXPECT_THAT(error_of([] { SourceMix({}, {}); }), HasSubstr("name at least one"));
  EXPECT_THAT(error_of([&] { SourceMix({source("a", 1, 1), source("a", 1, 1)}, {}); }), HasSubstr("is named twice"));
  EXPECT_THAT(error_of([&] { SourceMix({source("a", 1, 0)}, {}); }), HasSubstr("needs a weight above 0"));
  EXPECT_THAT(error_of([&] {
                SourceMix mix({source("a", 0, 1)}, {});
                Document document;
                mix.next(document);
              }),
              HasSubstr("has no rows"));
}

}  // namespace
}  // namespace graft
