#include "data/split.h"

#include <gmock/gmock.h>

#include "data/data_test_support.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

Task csv_task() {
  return parse_task(R"(name: mine
format: csv
splits: {train: "part*.csv", validation: val.csv, test: test.csv}
label: label
labels: [good, bad]
templates:
  - prompt: "{text}"
)",
                    "mine.yaml");
}

std::string train_error(const std::string& csv) {
  const Folder folder;
  const auto file = folder.file("part.csv", csv);
  const std::string message = error_of([&] { read_split(csv_task(), file, "train"); });
  const auto at = message.find(folder.path().string());
  return at == std::string::npos ? message : std::string(message).replace(at, folder.path().string().size() + 1, "");
}

TEST(ReadSplit, MissingColumnNamesTheKnownOnesAndTheNearest) {
  EXPECT_EQ(train_error("txt,label,id\na,good,1\n"),
            "InvalidArgument part.csv:1: has no column 'text'; it has id, label, txt (did you mean 'txt'?)");
  EXPECT_THAT(train_error("text,labels\na,good\n"),
              HasSubstr("part.csv:1: has no column 'label'; it has labels, text (did you mean 'labels'?)"));
}

TEST(ReadSplit, UnknownLabelNamesTheLineAndTheNearest) {
  EXPECT_EQ(train_error("text,label\na,good\nb,fine\n"),
            "InvalidArgument part.csv:3: unknown label 'fine' in 'label' (known: good, bad)");
  EXPECT_THAT(train_error("text,label\na,good\nb,godo\n"),
              HasSubstr("part.csv:3: unknown label 'godo' in 'label' (did you mean 'good'?)"));
  EXPECT_THAT(train_error("text,label\na,good\nb,Good\n"),
              HasSubstr("part.csv:3: unknown label 'Good' in 'label' (did you mean 'good'?)"));
}

TEST(ReadSplit, EmptyRowsAreNamed) {
  EXPECT_THAT(train_error("text,label\na,good\n,\n"),
              StartsWith("InvalidArgument part.csv:3: empty row: no text in text"));
  EXPECT_THAT(train_error("text,label\n\"  \",good\n"), HasSubstr("part.csv:2: empty row"));
  EXPECT_THAT(train_error("text,label\na,\n"), HasSubstr("part.csv:2: the label 'label' is empty"));
  EXPECT_THAT(train_error("text,label\n"), HasSubstr("part.csv: has no rows"));
}

TEST(ReadSplit, AnEmptyListOfChoicesIsToldWithItsRow) {
  const Task task = parse_task(
      "name: mine\nformat: jsonl\nsplits: {pool: a.jsonl}\nlabel: label\ntemplates:\n"
      "  - {prompt: \"{q}\", choices_from: options}\n",
      "mine.yaml");
  const auto told = [&task](const std::string& first, const std::string& second) {
    const Folder folder;
    const auto file = folder.file("a.jsonl", R"({"q": "a", "label": 0, "options": )" + first + "}\n" +
                                                 R"({"q": "b", "label": 0)" + second + "}\n");
    return error_of([&] { read_split(task, file, "pool"); });
  };
  EXPECT_EQ(told(R"(["x", "y"])", R"(, "options": ["z", "u"])"), "nothing");
  for (const char* none : {R"(, "options": [])", R"(, "options": null)", ""})
    EXPECT_THAT(told(R"(["x", "y"])", none),
                HasSubstr("a.jsonl:2: the list of choices 'options' is empty or absent; fill it in or remove the row"));
  EXPECT_THAT(told("[]", R"(, "option": ["x", "y"])"), HasSubstr("a.jsonl:1: has no field 'options.0'"))
      << "where no row has it, the task names another";
}

std::string webnlg_of(const std::vector<std::string>& categories) {
  std::string entries;
  for (const auto& category : categories) {
    entries += (entries.empty() ? "" : ", ") + ("{\"1\": {\"category\": \"" + category) +
               "\", \"modifiedtripleset\": [{\"subject\": \"A\", \"property\": \"in\", \"object\": \"B\"}], "
               "\"lexicalisations\": [{\"comment\": \"good\", \"lex\": \"A is in B.\"}]}}";
  }
  return "{\"entries\": [" + entries + "]}";
}

std::vector<std::string> seen_in(const std::filesystem::path& data, const std::string& split) {
  std::vector<std::string> all;
  for (const auto& row : read_split(load_task("webnlg"), data, split)) {
    const auto seen = row.fields.find("seen");
    all.push_back(row.fields.at("category") + (seen == row.fields.end() ? "" : ": " + seen->second));
  }
  return all;
}

TEST(ReadSplit, WebnlgTellsCategoriesThatTrainFromOthers) {
  const Folder folder;
  const auto test = folder.file("test.json", webnlg_of({"Food", "Artist", "Airport"}));
  EXPECT_THAT(seen_in(folder.path(), "test"), ElementsAre("Food", "Artist", "Airport")) << "no train.json";
  folder.file("train.json", webnlg_of({"Airport", "Food", "Airport"}));
  EXPECT_THAT(seen_in(folder.path(), "test"), ElementsAre("Food: yes", "Artist: no", "Airport: yes"));
  EXPECT_THAT(seen_in(folder.path(), "train"), ElementsAre("Airport: yes", "Food: yes", "Airport: yes"));
  EXPECT_THAT(seen_in(test, "test"), ElementsAre("Food", "Artist", "Airport")) << "one file by itself";
  const Task task = load_task("webnlg");
  const auto rows = read_split(task, folder.path(), "test");
  EXPECT_THAT(render(task, rows[1], 0, ByteTokenizer()).slices, ElementsAre("no", "Artist"));
}

TEST(ReadSplit, WindowsFileWithByteOrderMarkReadsAsAnyOther) {
  const Folder folder;
  const auto file = folder.file("part.csv", "\xEF\xBB\xBFtext,label\r\na,good\r\n");
  const auto rows = read_split(csv_task(), file, "train");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(label_of(csv_task(), rows[0]), 0);
}

TEST(ReadSplit, AFileMayHaveOtherNames) {
  Task task = csv_task();
  task.other_names = {{"validation", {"sub/val.csv", "dev*.csv"}}};
  const Folder folder;
  folder.file("dev1.csv", "text,label\na,good\n");
  EXPECT_EQ(read_split(task, folder.path(), "validation").at(0).fields.at("text"), "a");
  folder.file("sub/val.csv", "text,label\nb,good\n");
  EXPECT_EQ(read_split(task, folder.path(), "validation").at(0).fields.at("text"), "b") << "an earlier name";
  folder.file("val.csv", "text,label\nc,good\n");
  const auto rows = read_split(task, folder.path(), "validation");
  ASSERT_EQ(rows.size(), 1u) << "of one name alone";
  EXPECT_EQ(rows[0].fields.at("text"), "c");
  const Folder empty;
  empty.file("other.csv", "text,label\n");
  EXPECT_THAT(error_of([&] { read_split(task, empty.path(), "validation"); }), HasSubstr("has no file 'val.csv'"));
}

TEST(ReadSplit, PatternsFindFilesInOrder) {
  const Folder folder;
  folder.file("part2.csv", "text,label\nb,bad\n");
  folder.file("part1.csv", "text,label\na,good\n");
  folder.file("test.csv", "text\nc\n");
  const auto rows = read_split(csv_task(), folder.path(), "train");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].fields.at("text"), "a");
  EXPECT_EQ(read_split(csv_task(), folder.path(), "test").size(), 1u) << "a test split may lack the labels";
  EXPECT_THAT(error_of([&] { read_split(csv_task(), folder.path(), "validation"); }),
              HasSubstr("has no file 'val.csv'"));
  EXPECT_THAT(error_of([&] { read_split(csv_task(), folder.path(), "pool"); }),
              HasSubstr("has no split 'pool' (it has: test, train, validation)"));
  EXPECT_THAT(error_of([&] { read_split(csv_task(), folder.path() / "none", "train"); }), StartsWith("NotFound"));
}

TEST(ReadSplit, JsonRowsAreCheckedOneByOne) {
  const Folder folder;
  const auto file =
      folder.file("a.jsonl", "{\"text\": \"a\", \"label\": \"good\"}\n{\"texts\": \"b\", \"label\": \"bad\"}\n");
  Task task = csv_task();
  task.format = "jsonl";
  EXPECT_THAT(error_of([&] { read_split(task, file, "train"); }),
              HasSubstr("a.jsonl:2: has no field 'text'; it has label, texts (did you mean 'texts'?)"));
}

TEST(ReadSplit, ClassFoldersMustBeTheLabels) {
  const Folder folder;
  folder.file("good/1.txt", "a");
  Task task = csv_task();
  task.format = "folder";
  task.splits = {{"pool", "."}};
  EXPECT_THAT(error_of([&] { read_split(task, folder.path(), "pool"); }),
              HasSubstr("has no subfolder 'bad', a label of the task mine"));
  folder.file("bad/1.txt", "b");
  EXPECT_EQ(read_split(task, folder.path(), "pool").size(), 2u);
  folder.file("bat/1.txt", "b");
  EXPECT_THAT(error_of([&] { read_split(task, folder.path(), "pool"); }),
              HasSubstr("unknown label 'bat' in 'label' (did you mean 'bad'?)"));
  folder.file("bad/2.txt", "\n");
  EXPECT_THAT(error_of([&] { read_split(task, folder.path(), "pool"); }), HasSubstr("2.txt: empty row"));
}

TEST(AdHocTask, LabelsAreTheDistinctValues) {
  const Folder folder;
  const auto file = folder.file("mine.csv", "my text,kind\na,\"x: \"\"1\"\"\"\nb,y\nc,y\n");
  const Task task = ad_hoc_task(file, "my text", "kind");
  EXPECT_THAT(task.labels, ElementsAre("x: \"1\"", "y"));
  EXPECT_TRUE(task.is_pool());
  const auto rows = read_split(task, file, "pool");
  const Example example = render(task, rows[0], 0, ByteTokenizer());
  EXPECT_EQ(example.prompt, "a\n\nLabel:");
  EXPECT_EQ(example.label, 0);
  EXPECT_EQ(parse_task(task.text, "again").labels, task.labels);
}

TEST(AdHocTask, SaysWhatIsWrongWithTheFile) {
  const Folder folder;
  const auto file = folder.file("mine.csv", "text,label\na,x\nb,x\n");
  EXPECT_THAT(error_of([&] { ad_hoc_task(file, "txt", "label"); }),
              HasSubstr("has no column 'txt'; it has label, text (did you mean 'text'?)"));
  EXPECT_THAT(error_of([&] { ad_hoc_task(file, "text", "label"); }), HasSubstr("holds 1 distinct label; at least two"));
  EXPECT_THAT(error_of([&] { ad_hoc_task(folder.path() / "no.csv", "text", "label"); }), StartsWith("NotFound"));
  EXPECT_THAT(error_of([&] { ad_hoc_task(folder.file("a.xlsx", "x"), "text", "label"); }),
              HasSubstr("cannot tell the format from '.xlsx'"));
  std::string many = "text,label\n";
  for (int i = 0; i < 30; ++i) many += fmt::format("a,free text {}\n", i);
  EXPECT_THAT(error_of([&] { ad_hoc_task(folder.file("b.csv", many), "text", "label"); }),
              HasSubstr("looks like free text"));
}

TEST(AdHocTask, APatternNamesAllOfItsFiles) {
  const Folder folder;
  folder.file("mine/a.csv", "text,label\none,x\ntwo,y\n");
  folder.file("mine/b.csv", "text,label\nthree,z\n");
  const auto pattern = folder.path() / "mine" / "*.csv";
  const Task task = ad_hoc_task(pattern, "text", "label");
  EXPECT_EQ(task.name, "mine");
  EXPECT_THAT(task.labels, ElementsAre("x", "y", "z"));
  EXPECT_EQ(read_split(task, pattern, "pool").size(), 3u);
  EXPECT_THAT(error_of([&] { ad_hoc_task(folder.path() / "mine" / "*.tsv", "text", "label"); }),
              HasSubstr("has no file '*.tsv'"));
}

TEST(AdHocTask, AFolderIsCalledByItsNameHoweverItIsWritten) {
  const Folder folder;
  folder.file("topics/a/1.txt", "one");
  folder.file("topics/b/1.txt", "two");
  for (const char* written : {"topics", "topics/", "./topics/."})
    EXPECT_EQ(ad_hoc_task(folder.path() / written, "text", "label").name, "topics") << written;
}

}  // namespace
}  // namespace graft
