#include "data/parquet.h"

#include <gmock/gmock.h>

#include "data/data_test_support.h"
#include "data/parquet_test_support.h"
#include "data/reader.h"
#include "data/split.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSupersetOf;
using ::testing::Key;
using ::testing::Not;
using ::testing::Pair;
using ::testing::StartsWith;

using Fields = std::map<std::string, std::string>;

class Parquet : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!reads_parquet()) GTEST_SKIP() << kNoParquet;
  }

  // A copy of `name` whose bytes `change` has changed.
  template <typename Change>
  fs::path changed(const std::string& name, Change change) const {
    std::string bytes = read_file(parquet_file(name));
    change(bytes);
    return folder_.file(name, bytes);
  }

  Folder folder_;
};

std::size_t rows_read(const fs::path& path) {
  ParquetReader reader(path);
  std::size_t rows = 0;
  for (RowLine line; reader.next(line);) ++rows;
  return rows;
}

Task task_over(const std::string& format, const std::string& train) {
  return parse_task("name: reviews\nformat: " + format + "\nsplits: {train: '" + train +
                        "'}\nlabel: label\nlabels: [bad, good]\ntemplates:\n  - prompt: '{text}'\n",
                    "reviews.yaml");
}

TEST_F(Parquet, EveryKindOfValueBecomesAField) {
  const auto rows = read_parquet(parquet_file("types.parquet"));
  ASSERT_EQ(rows.size(), 3u);
  Fields first = rows[0].fields;
  EXPECT_THAT(first["time"], StartsWith("2024-05-01 12:30:00"));
  first.erase("time");
  EXPECT_EQ(first, (Fields{{"text", "a \"b\"\n\\ é"},
                           {"label", "0"},
                           {"answers.text.0", "x"},
                           {"answers.text.1", "y"},
                           {"answers.answer_start.0", "1"},
                           {"answers.answer_start.1", "2"},
                           {"turns.0.role", "user"},
                           {"turns.0.content", "hi"},
                           {"image.path", "a.jpg"},
                           {"tiny", "-128"},
                           {"huge", "18446744073709551615"},
                           {"single", "0.1"},
                           {"double", "1e+300"},
                           {"half", "0.5"},
                           {"flag", "true"},
                           {"day", "2024-05-01"},
                           {"price", "12.50"},
                           {"kind", "u"},
                           {"map.0.key", "k"},
                           {"map.0.value", "1"},
                           {"pair.0", "1"},
                           {"pair.1", "2"}}));
  EXPECT_EQ(rows[0].where, parquet_file("types.parquet").string() + ":1");
  EXPECT_EQ(rows[2].where, parquet_file("types.parquet").string() + ":3");
  EXPECT_THAT(rows[1].fields, IsSupersetOf({Pair("single", "5.0"), Pair("double", "-2.5"), Pair("text", "")}));
  EXPECT_THAT(rows[2].fields, IsSupersetOf({Pair("label", "-1"), Pair("turns.0.role", "bot"), Pair("pair.1", "6")}));
}

TEST_F(Parquet, WhatIsNullOrNoNumberIsAbsent) {
  const auto rows = read_parquet(parquet_file("types.parquet"));
  ASSERT_EQ(rows.size(), 3u);
  for (const char* name : {"text", "answers.text.0", "turns.0.content", "single", "double", "flag", "day", "nothing"})
    EXPECT_EQ(rows[2].fields.count(name), 0u) << name;
  EXPECT_THAT(rows[1].fields, Not(::testing::Contains(Key("image.path"))));
}

TEST_F(Parquet, EveryCompressionAndEncodingGivesTheSame) {
  const auto rows = read_parquet(parquet_file("codings.parquet"));
  ASSERT_EQ(rows.size(), 50u);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].fields.size(), 9u);
    EXPECT_THAT(rows[i].fields, Each(Pair(::testing::_, "value " + std::to_string(i % 7))));
  }
}

TEST_F(Parquet, NamesOfClassesAreThoseThatTheFileNotes) {
  const ParquetReader reader(parquet_file("types.parquet"));
  EXPECT_THAT(reader.class_names("label"), ElementsAre("negative", "positive"));
  EXPECT_THAT(reader.class_names("text"), IsEmpty());
  EXPECT_THAT(reader.class_names("none"), IsEmpty());
  EXPECT_THAT(ParquetReader(parquet_file("codings.parquet")).class_names("snappy"), IsEmpty());
}

TEST_F(Parquet, TellsHowFarItIs) {
  const fs::path path = parquet_file("train-00000-of-00002.parquet");
  ParquetReader reader(path);
  EXPECT_EQ(reader.position(), 0u);
  RowLine line;
  for (int i = 0; i < 150; ++i) ASSERT_TRUE(reader.next(line));
  EXPECT_EQ(reader.row(), 150);
  EXPECT_EQ(reader.position(), fs::file_size(path) / 2);
  while (reader.next(line)) {
  }
  EXPECT_EQ(reader.row(), 300);
  EXPECT_EQ(reader.position(), fs::file_size(path));
}

TEST_F(Parquet, BytesThatAreNotUtf8AreReplacedAndMarked) {
  const auto rows = read_parquet(parquet_file("latin1.parquet"));
  EXPECT_EQ(texts(rows), (std::vector<std::string>{"caf\xEF\xBF\xBD", "tea"}));
  EXPECT_TRUE(rows[0].garbled);
  EXPECT_FALSE(rows[1].garbled);
}

TEST_F(Parquet, ATaskReadsAllPartsInPlaceOfTheFilesItNames) {
  const fs::path folder = parquet_file("");
  for (const auto& [format, train] : std::vector<std::pair<std::string, std::string>>{
           {"jsonl", "train.jsonl"}, {"csv", "*train*.csv"}, {"parquet", "train.parquet"}, {"jsonl", "train*"}}) {
    const auto rows = read_split(task_over(format, train), folder, "train");
    ASSERT_EQ(rows.size(), 600u) << train;
    EXPECT_EQ(rows[0].fields.at("text"), "review 0: bad");
    EXPECT_EQ(rows[599].fields.at("text"), "review 599: good");
    EXPECT_EQ(label_of(task_over(format, train), rows[599]), 1) << "an index among the task's labels";
  }
  EXPECT_EQ(read_split(task_over("tsv", "train.tsv"), folder / "train-00001-of-00002.parquet", "train").size(), 300u);
  EXPECT_THAT(error_of([&] {
                read_split(task_over("lines\nseparator: x\nfields: [text, label]", "train.txt"), folder, "train");
              }),
              HasSubstr("has no file 'train.txt'"))
      << "such a task has rows of its own form";
}

TEST_F(Parquet, AFileOfTheTasksOwnFormatGoesBeforeParquet) {
  folder_.file("train.jsonl", "{\"text\": \"mine\", \"label\": \"good\"}\n");
  fs::copy_file(parquet_file("train-00000-of-00002.parquet"), folder_.path() / "train-00000-of-00001.parquet");
  EXPECT_EQ(texts(read_split(task_over("jsonl", "train.jsonl"), folder_.path(), "train")),
            std::vector<std::string>{"mine"});
}

TEST_F(Parquet, WithoutATaskTheNamedClassesAreTheLabels) {
  const fs::path parts = parquet_file("train-*.parquet");
  const Task task = ad_hoc_task(parts, "text", "label");
  EXPECT_THAT(task.labels, ElementsAre("negative", "positive"));
  EXPECT_EQ(task.format, "parquet");
  const auto rows = read_split(task, parts, "pool");
  ASSERT_EQ(rows.size(), 600u);
  const Example example = render(task, rows[1], 0, ByteTokenizer());
  EXPECT_EQ(example.choices[static_cast<std::size_t>(example.label)], " positive");
  EXPECT_THAT(ad_hoc_task(parquet_file("types.parquet"), "tiny", "label").labels, ElementsAre("-1", "0", "1"))
      << "-1 is the number of no class";
}

TEST_F(Parquet, RowsToAnswerMayBeParquet) {
  const auto rows = read_unlabelled(task_over("csv", "train.csv"), parquet_file("train-00000-of-00002.parquet"));
  ASSERT_EQ(rows.size(), 300u);
  EXPECT_THAT(rows[0].fields, ElementsAre(Pair("text", "review 0: bad")));
}

TEST_F(Parquet, DocumentsOfTheHarnessKeepTheirTypes) {
  const Task task = parse_task(
      "task: theirs\noutput_type: multiple_choice\ntest_split: train\n"
      "doc_to_text: \"{{text}} {{label}}\"\ndoc_to_target: label\ndoc_to_choice: [\"no\", \"yes\"]\n",
      "theirs.yaml");
  const auto rows = read_split(task, parquet_file(""), "pool");
  ASSERT_EQ(rows.size(), 600u);
  const Example example = render(task, rows[1], 0, ByteTokenizer());
  EXPECT_EQ(example.prompt, "review 1: good 1");
  EXPECT_EQ(example.label, 1);
}

TEST_F(Parquet, SaysWhatIsWrongWithAFile) {
  const auto refused = [&](const fs::path& path) { return error_of([&] { read_parquet(path); }); };
  EXPECT_THAT(refused(folder_.path() / "none.parquet"), StartsWith("NotFound"));
  EXPECT_THAT(refused(folder_.path()), StartsWith("Io"));
  EXPECT_THAT(refused(folder_.file("a.parquet", "text\n")), AllOf(StartsWith("Corruption"), HasSubstr("PAR1")));
  EXPECT_THAT(refused(folder_.file("b.parquet", "version https://git-lfs")), HasSubstr("git lfs pull"));
  EXPECT_THAT(refused(folder_.file("c.parquet", "PARE and more")), StartsWith("Unsupported"));
  EXPECT_THAT(refused(parquet_file("bytes.parquet")), AllOf(StartsWith("Unsupported"), HasSubstr("but bytes")));
  EXPECT_THAT(refused(changed("types.parquet", [](std::string& bytes) { bytes.resize(bytes.size() / 2); })),
              AllOf(StartsWith("Corruption"), HasSubstr("fetch it again"), Not(HasSubstr("\n"))));
  EXPECT_THAT(error_of([&] { read_split(task_over("parquet", "x"), parquet_file("empty.parquet"), "train"); }),
              HasSubstr("has no rows"));
  EXPECT_THAT(error_of([&] { ParquetReader(parquet_file("types.parquet"), "/none/graft_parquet.so"); }),
              AllOf(StartsWith("Unsupported"), HasSubstr("cannot be loaded"), HasSubstr("run ./setup again")));
}

// Each is a row read or an error of graft's own; anything else ends the test.
TEST_F(Parquet, ChangedBytesAreAnErrorOrOtherRows) {
  std::size_t refused = 0, all = 0;
  for (const char* name : {"types.parquet", "codings.parquet"}) {
    const std::size_t size = fs::file_size(parquet_file(name));
    for (std::size_t at = 0; at < size; at += 37) {
      const fs::path path = changed(name, [&](std::string& bytes) { bytes[at] = static_cast<char>(bytes[at] ^ 0x55); });
      const std::string error = error_of([&] { rows_read(path); });
      refused += error != "nothing";
      ++all;
    }
  }
  EXPECT_GT(refused, all / 4);
}

TEST(ParquetWithoutAModule, SaysHowToGetIt) {
  EXPECT_THAT(error_of([] { ParquetReader(parquet_file("types.parquet"), ""); }),
              AllOf(StartsWith("Unsupported"), HasSubstr("this build of graft does not read; run ./setup")));
}

}  // namespace
}  // namespace graft
