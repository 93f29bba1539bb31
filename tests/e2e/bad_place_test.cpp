// Places that cannot be written to, and places that are taken.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "base/file.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;

class BadPlace : public ::testing::Test {
 protected:
  BadPlace() {
    write_model(folder_.path() / "model");
    for (const auto& entry : fs::recursive_directory_iterator(folder_.path()))
      fs::permissions(entry.path(), fs::perms::others_read | fs::perms::group_read, fs::perm_options::add);
    write_rows(folder_.path() / "rows.jsonl", 20);
  }

  Outcome tune(const std::string& output, Limits limits = {}) const {
    return graft(folder_.path(),
                 {"tune", "--model", "model", "--data", "rows.jsonl", "--text-column", "text", "--label-column",
                  "label", "--recipe", "lora", "--shots", "4", "--eval-rows", "4", "--steps", "2", "--output", output},
                 limits);
  }
  Outcome merge(const std::string& output, Limits limits = {}) const {
    return graft(folder_.path(), {"merge", "--model", "model", "--adapter", "run/adapter", "--output", output}, limits);
  }
  Outcome predict(const std::string& output, Limits limits = {}) const {
    return graft(folder_.path(), {"predict", "--run", "run", "--data", "rows.jsonl", "--output", output}, limits);
  }
  std::vector<std::string> entries() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path())) names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }
  // To whoever is not root.
  void close_folder() const {
    fs::create_directories(folder_.path() / "closed");
    fs::permissions(folder_.path() / "closed",
                    fs::perms::owner_read | fs::perms::owner_exec | fs::perms::others_read | fs::perms::others_exec);
  }

  Folder folder_;
};

TEST_F(BadPlace, AFileOrAnotherFolderIsThere) {
  folder_.file("taken", "mine");
  folder_.file("full/thesis.txt", "mine");
  const auto before = entries();
  expect_refused(tune("taken"), 2, {"taken: is a file, a folder was expected"});
  expect_refused(tune("full"), 2, {"full: is not empty; choose a new or an empty folder"});
  expect_refused(tune("taken/run"), 6, {"taken/run: "});
  EXPECT_EQ(entries(), before);
  EXPECT_EQ(read_file(folder_.path() / "taken"), "mine");
  ASSERT_EQ(tune("run").code, 0);
  const auto with_run = entries();
  expect_refused(merge("taken"), 2, {"taken: is a file, a folder was expected"});
  expect_refused(merge("full"), 2, {"full: is not empty"});
  expect_refused(merge("model/"), 2, {"model/: is not empty"});
  EXPECT_EQ(entries(), with_run);
  fs::create_directories(folder_.path() / "room");
  EXPECT_EQ(merge("room/").code, 0);
  EXPECT_TRUE(fs::exists(folder_.path() / "room/tokenizer.json"));
}

TEST_F(BadPlace, AFolderWithoutPermission) {
  Limits limits;
  limits.as_nobody = ::geteuid() == 0;
  if (limits.as_nobody && graft(folder_.path(), {"list"}, limits).code != 0)
    GTEST_SKIP() << "the program lies where only root may go";
  close_folder();
  expect_refused(tune("closed", limits), 6, {"closed", "Permission denied", "choose a folder you may write to"});
  expect_refused(tune("closed/deeper/run", limits), 6, {"closed/deeper", "Permission denied"});
  EXPECT_TRUE(fs::is_empty(folder_.path() / "closed"));
  ASSERT_EQ(tune("run").code, 0);
  expect_refused(merge("closed/merged", limits), 6, {"closed/merged", "Permission denied"});
  EXPECT_TRUE(fs::is_empty(folder_.path() / "closed"));
  fs::permissions(folder_.path() / "model/model.safetensors", fs::perms::owner_write);
  if (limits.as_nobody) expect_refused(tune("other", limits), 6, {"model/model.safetensors: ", "Permission denied"});
  fs::permissions(folder_.path() / "model", fs::perms::owner_write);
  if (limits.as_nobody) expect_refused(tune("other", limits), 6, {"model", "Permission denied"});
}

// Before any row is answered, which may take hours.
TEST_F(BadPlace, AnswersThatWouldHaveNoPlaceAreNotWorkedOut) {
  ASSERT_EQ(tune("run").code, 0);
  folder_.file("taken", "mine");
  const auto told = [](const Outcome& end, const std::vector<std::string>& parts) {
    expect_refused(end, 6, parts);
    EXPECT_EQ(end.err.find("predict "), std::string::npos) << "the line of progress: " << end.err;
  };
  told(predict("taken/answers.csv"), {"taken"});
  EXPECT_EQ(read_file(folder_.path() / "taken"), "mine");
  EXPECT_NE(predict("new/answers.csv").err.find("predict "), std::string::npos);
  Limits limits;
  limits.as_nobody = ::geteuid() == 0;
  if (limits.as_nobody && graft(folder_.path(), {"list"}, limits).code != 0)
    GTEST_SKIP() << "the program lies where only root may go";
  close_folder();
  told(predict("closed/answers.csv", limits),
       {"closed/answers.csv", "Permission denied", "choose a folder you may write to"});
  EXPECT_TRUE(fs::is_empty(folder_.path() / "closed"));
}

TEST_F(BadPlace, AFullDiskLeavesNoHalfModel) {
  ASSERT_EQ(tune("run").code, 0);
  for (const rlim_t room : {rlim_t{100}, rlim_t{5000}, rlim_t{30000}}) {
    Limits full;
    full.file_bytes = room;
    const auto before = entries();
    expect_refused(merge("merged", full), 7, {"free some space"});
    EXPECT_EQ(entries(), before);
  }
  EXPECT_EQ(merge("merged").code, 0);
}

TEST_F(BadPlace, AFullDiskLeavesNoHalfTableOfAnswers) {
  ASSERT_EQ(tune("run").code, 0);
  const auto before = entries();
  Limits full;
  full.file_bytes = 100;
  for (const char* output : {"answers.csv", "answers.jsonl"}) {
    expect_refused(predict(output, full), 7, {output, "free some space"});
    EXPECT_EQ(entries(), before);
  }
  EXPECT_EQ(predict("answers.csv").code, 0);
}

// A finished run that is started again writes what it leaves anew.
TEST_F(BadPlace, AFullDiskLeavesTheModelOfAFinishedRun) {
  const auto again = [&](Limits limits = {}) {
    return graft(folder_.path(),
                 {"tune", "--model", "model", "--data", "rows.jsonl", "--text-column", "text", "--label-column",
                  "label", "--method", "full", "--shots", "4", "--eval-rows", "4", "--steps", "2", "--output", "run"},
                 limits);
  };
  ASSERT_EQ(again().code, 0);
  const fs::path model = folder_.path() / "run/model";
  const std::string before = read_file(model / "model.safetensors");
  Limits full;
  full.file_bytes = before.size() / 2;
  expect_refused(again(full), 7, {"run/model", "free some space"});
  EXPECT_EQ(read_file(model / "model.safetensors"), before);
  EXPECT_TRUE(fs::exists(model / "config.json"));
  EXPECT_TRUE(fs::exists(model / "tokenizer.json"));
  EXPECT_TRUE(leftovers(folder_.path()).empty());
}

TEST_F(BadPlace, AFullDiskLeavesAnOlderEvaluationWhole) {
  const auto eval = [&](const std::string& rows, Limits limits = {}) {
    return graft(folder_.path(),
                 {"eval", "--model", "model", "--data", "rows.jsonl", "--text-column", "text", "--label-column",
                  "label", "--eval-rows", rows, "--output", "out", "--scores", "scores"},
                 limits);
  };
  ASSERT_EQ(eval("4").code, 0);
  const fs::path out = folder_.path() / "out";
  const auto written = [&] {
    std::string all;
    for (const char* file : {"predictions.jsonl", "results.json", "report.html"}) all += read_file(out / file);
    return all;
  };
  const std::string before = written();
  Limits full;
  full.file_bytes = fs::file_size(out / "report.html") * 3 / 4;
  ASSERT_GT(full.file_bytes, 2 * fs::file_size(out / "predictions.jsonl")) << "the report is what is to have no room";
  expect_refused(eval("6", full), 7, {"out/report.html", "free some space"});
  EXPECT_EQ(written(), before);
  EXPECT_TRUE(leftovers(folder_.path()).empty());
  EXPECT_EQ(eval("6").code, 0);
  EXPECT_NE(written(), before);
}

TEST_F(BadPlace, AFullDiskDuringARunCanBeGoneOnFrom) {
  for (const rlim_t room : {rlim_t{0}, rlim_t{300}, rlim_t{1000}, rlim_t{3000}, rlim_t{8000}}) {
    Limits full;
    full.file_bytes = room;
    const Outcome stopped = tune("run", full);
    SCOPED_TRACE(room);
    expect_refused(stopped, 7, {"run/"});
    EXPECT_TRUE(leftovers(folder_.path()).empty());
  }
  const Outcome done = tune("run");
  EXPECT_EQ(done.code, 0) << done.err;
}

TEST_F(BadPlace, StandardOutputIsFull) {
  const Outcome full = graft(folder_.path(), {"inspect", "model", "--tensors"}, {.file_bytes = 200});
  EXPECT_EQ(full.code, 6) << full.err;
  for (const std::vector<std::string>& words : {std::vector<std::string>{"list"}, std::vector<std::string>{"--help"},
                                                std::vector<std::string>{"tune", "--help"}})
    expect_refused(graft(folder_.path(), words, {.file_bytes = 200}), 6,
                   {"standard output: cannot be written to; free some space"});
}

// A named pipe whose only reader closes it before the program begins.
TEST_F(BadPlace, AReaderThatIsGoneEndsItQuietly) {
  for (const char* words : {"list", "--help"}) {
    const std::string script = "cd '" + folder_.path().string() +
                               "' && rm -f pipe && mkfifo pipe && exec 3<>pipe && exec " +
                               "4>pipe && exec 3>&- && { '" + std::string(GRAFT_BINARY_DIR) + "/bin/graft' " + words +
                               " >&4 2>err; echo $? >status; }";
    ASSERT_EQ(std::system(script.c_str()), 0);
    EXPECT_EQ(read_file(folder_.path() / "status"), "141\n");
    EXPECT_EQ(read_file(folder_.path() / "err"), "");
  }
}

}  // namespace
}  // namespace graft::e2e
