#include "report/runs.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include "base/error.h"
#include "base/file.h"
#include "report/test_folder.h"

namespace graft {
namespace {

class RunsTest : public TestFolder {
 protected:
  std::filesystem::path file() const { return folder() / "state" / "runs.db"; }
  void execute(const std::string& sql) {
    sqlite3* handle = nullptr;
    ASSERT_EQ(sqlite3_open(file().c_str(), &handle), SQLITE_OK);
    ASSERT_EQ(sqlite3_exec(handle, sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK) << sqlite3_errmsg(handle);
    sqlite3_close(handle);
  }
};

RunRecord record(const std::string& id, const std::string& started) {
  return {id, "/runs/" + id, started, "running", "SmolLM2", "bbc_news", "ia3", 0, {}};
}

TEST_F(RunsTest, PutsUpdatesAndListsNewestFirst) {
  RunList runs(file());
  runs.put(record("a", "2024-01-01T00:00:00Z"));
  runs.put(record("b", "2024-01-02T00:00:00Z"));
  RunRecord done = record("a", "2024-01-01T00:00:00Z");
  done.state = "done";
  done.steps = 60;
  done.scores = {{"accuracy", 0.865}, {"accuracy_before", 0.595}};
  done.task = "it's \"quoted\"; DROP TABLE runs";
  runs.put(done);
  const auto all = RunList(file()).list();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].id, "b");
  EXPECT_EQ(all[1].state, "done");
  EXPECT_EQ(all[1].steps, 60);
  EXPECT_EQ(all[1].scores, done.scores);
  EXPECT_EQ(all[1].task, done.task);
  EXPECT_EQ(runs.list(1).size(), 1u);
}

TEST_F(RunsTest, ADamagedFileIsAClearErrorAndNeverFailsARun) {
  write_file(file(), std::string(4096, 'x'));
  try {
    RunList runs(file());
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), Category::Corruption) << error.what();
    EXPECT_NE(std::string(error.what()).find("move the file away"), std::string::npos);
  }
  EXPECT_NE(record_run(file(), record("a", "")).find("damaged"), std::string::npos);
  EXPECT_EQ(read_file(file()), std::string(4096, 'x'));
}

TEST_F(RunsTest, ATruncatedFileIsAClearError) {
  {
    RunList runs(file());
    for (int i = 0; i < 200; ++i) runs.put(record("run-" + std::to_string(i), "2024"));
  }
  std::filesystem::resize_file(file(), 5000);
  EXPECT_NE(record_run(file(), record("a", "")), "");
}

TEST_F(RunsTest, ALockedFileIsAClearErrorAndNeverFailsARun) {
  { RunList runs(file()); }
  sqlite3* handle = nullptr;
  ASSERT_EQ(sqlite3_open(file().c_str(), &handle), SQLITE_OK);
  ASSERT_EQ(sqlite3_exec(handle, "BEGIN EXCLUSIVE", nullptr, nullptr, nullptr), SQLITE_OK);
  EXPECT_NE(record_run(file(), record("a", "")).find("locked by another process"), std::string::npos);
  sqlite3_close(handle);
  EXPECT_EQ(record_run(file(), record("a", "")), "");
}

TEST_F(RunsTest, AFolderInTheWayNeverFailsARun) {
  std::filesystem::create_directories(file());
  EXPECT_NE(record_run(file(), record("a", "")), "");
}

TEST_F(RunsTest, ANewerFormatIsRefused) {
  { RunList runs(file()); }
  execute("PRAGMA user_version = 99");
  EXPECT_NE(record_run(file(), record("a", "")).find("update graft"), std::string::npos);
}

TEST_F(RunsTest, ScoresSpoiltByAnotherProgramDoNotHideTheList) {
  {
    RunList runs(file());
    runs.put(record("a", "2024"));
  }
  execute("UPDATE runs SET scores = '{broken'");
  ASSERT_EQ(RunList(file()).list().size(), 1u);
  EXPECT_TRUE(RunList(file()).list()[0].scores.empty());
}

}  // namespace
}  // namespace graft
