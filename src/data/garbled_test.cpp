#include "data/garbled.h"

#include <gmock/gmock.h>

#include "data/data_test_support.h"
#include "data/reader.h"
#include "data/sampler.h"

namespace graft {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<bool> garbled(const std::vector<Row>& rows) {
  std::vector<bool> all;
  for (const auto& row : rows) all.push_back(row.garbled);
  return all;
}

TEST(Garbled, EveryReaderMarksTheRow) {
  EXPECT_THAT(garbled(read_jsonl("{\"a\":\"x\"}\n{\"a\":\"caf\xE9\"}\n{\"a\":\"\xEF\xBF\xBD\"}\n", "a.jsonl")),
              ElementsAre(false, true, false))
      << "U+FFFD that stands in the file is no mistake of the reading";
  EXPECT_THAT(garbled(read_csv("a,b\n1,caf\xE9\n2,\"caf\xC3\xA9\"\n", "a.csv")), ElementsAre(true, false));
  EXPECT_THAT(garbled(read_csv("caf\xE9\n1\n", "a.csv")), ElementsAre(true));
  EXPECT_THAT(garbled(read_tsv("a\tb\n1\tx\n2\tcaf\xE9\n", "a.tsv")), ElementsAre(false, true));
  EXPECT_THAT(garbled(read_lines("x||y\ncaf\xE9||y\n", "a.txt", "||", {"a", "b"})), ElementsAre(false, true));
  EXPECT_THAT(garbled(read_dart("[{\"tripleset\":[],\"annotations\":[{\"source\":\"s\",\"text\":\"caf\xE9\"},"
                                "{\"source\":\"s\",\"text\":\"tea\"}]}]",
                                "a.json")),
              ElementsAre(true, false));
  const Folder folder;
  folder.file("a.txt", "tea");
  folder.file("b.txt", "caf\xE9");
  EXPECT_THAT(garbled(read_texts(folder.path())), ElementsAre(false, true));
}

TEST(Garbled, ANoticeNamesFileCountAndFirst) {
  EXPECT_THAT(garbled_notices(read_csv("a\n1\ncaf\xE9\nth\xE9\n", "my.csv")),
              ElementsAre("my.csv: 2 of 3 rows hold bytes that are not UTF-8, the first on line 3; they were read as "
                          "U+FFFD, so save the file as UTF-8"));
  const Folder folder;
  folder.file("a.txt", "tea");
  folder.file("b.txt", "caf\xE9");
  EXPECT_THAT(garbled_notices(read_texts(folder.path())),
              ElementsAre(AllOf(HasSubstr(folder.path().string() + ": 1 of 2 rows"), HasSubstr("the first in b.txt"))));
  EXPECT_THAT(garbled_notices({{{}, "c.jsonl:7 turn 2", true}, {{}, "d.json: entries[3]", true}}),
              ElementsAre(HasSubstr("c.jsonl: 1 of 1 rows hold bytes that are not UTF-8, the first on line 7;"),
                          HasSubstr("d.json: 1 of 1 rows hold bytes that are not UTF-8, the first at entries[3];")));
  EXPECT_THAT(garbled_notices(read_csv("a\ncaf\xC3\xA9\n", "my.csv")), IsEmpty());
}

TEST(Garbled, WhatIsSampledSaysSoOnceForEachFile) {
  const Folder folder;
  folder.file("train.csv", "text,label\ncaf\xE9,x\ntea,y\n");
  folder.file("test.csv", "text,label\nwater,x\nth\xE9,y\n");
  const Task task = parse_task(
      "name: mine\nformat: csv\nsplits: {train: train.csv, test: test.csv}\nlabel: label\nlabels: [x, y]\n"
      "templates:\n  - prompt: '{text}'\n",
      "t");
  const auto train = HasSubstr("train.csv: 1 of 2 rows hold bytes that are not UTF-8, the first on line 2");
  const auto test = HasSubstr("test.csv: 1 of 2 rows hold bytes that are not UTF-8, the first on line 3");
  EXPECT_THAT(few_shot_data(task, folder.path(), 1, 0).notices, ElementsAre(train, test));
  EXPECT_THAT(few_shot_data(task, folder.path() / "train.csv", 0, 0).notices, ElementsAre(train));
  EXPECT_THAT(evaluation_data(task, folder.path(), {}, 0).notices, ElementsAre(test));
  DemonstrationSource same;
  same.file = folder.path() / "test.csv";
  same.most = 1;
  EXPECT_THAT(evaluation_data(task, folder.path(), same, 0).notices,
              ElementsAre(test, HasSubstr("held-out rows repeat a training row")));
}

}  // namespace
}  // namespace graft
