// Scores are kept for all evaluations of a user: by content, for several at once, and not for another build.
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <chrono>
#include <cstdint>
#include <thread>

#include "base/build.h"
#include "eval_fixture.h"

namespace graft::e2e {
namespace {

class EvalScores : public Eval {
 protected:
  static Words command(const std::string& output, const Words& more = {"--shots", "0,3", "--seeds", "2"}) {
    Words all = {"eval", "--model", "model", "--task", "short.yaml", "--data", "rows.jsonl", "--output", output};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  // Where XDG_CACHE_HOME of every command here leads.
  fs::path kept() const { return folder() / ".cache/graft/scores"; }

  std::vector<fs::path> kept_files() const {
    std::vector<fs::path> files;
    if (!fs::exists(kept())) return files;
    for (const auto& entry : fs::directory_iterator(kept())) files.push_back(entry.path());
    return files;
  }
};

TEST_F(EvalScores, AnotherOutputCostsNothing) {
  ASSERT_EQ(run(command("a")).code, 0);
  ASSERT_EQ(kept_files().size(), 1u);
  EXPECT_FALSE(fs::exists(folder() / "a/scores"));
  const json named = json::parse(read_file(folder() / "a/scores.json"));
  ASSERT_EQ(named.at("files").size(), 1u);
  EXPECT_TRUE(fs::equivalent(named.at("files")[0].get<std::string>(), kept_files()[0]));
  const std::string scores = read_file(kept_files()[0]);
  const Outcome again = run(command("b"));
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_EQ(read_file(kept_files()[0]), scores);
  EXPECT_EQ(results("b").at("tasks"), results("a").at("tasks")) << "the seconds that scoring took, too";
  ASSERT_EQ(run(command("c", {"--scores", "own"})).code, 0);
  EXPECT_EQ(read_file(kept_files()[0]), scores);
  EXPECT_FALSE(fs::is_empty(folder() / "own"));
  for (const char* output : {"a", "b", "c"}) EXPECT_EQ(run({"runs", "show", output}).code, 0) << output;
}

TEST_F(EvalScores, SeveralScoreAtOnce) {
  const Words all = {"--shots", "0,3", "--seeds", "2", "--template", "all"};
  Running first(folder(), command("a")), second(folder(), command("b", all));
  const Outcome one = first.wait(), other = second.wait();
  ASSERT_EQ(one.code, 0) << one.err;
  ASSERT_EQ(other.code, 0) << other.err;
  const std::string scores = read_file(kept_files().at(0));
  ASSERT_EQ(run(command("c", all)).code, 0);
  EXPECT_EQ(read_file(kept_files().at(0)), scores) << "all is there, and whole";
  expect_same_answers(predictions("c"), predictions("b"));
}

TEST_F(EvalScores, KilledBeforeItsEndItGoesOn) {
  const Words slow = command("a", {"--shots", "1,2,4", "--seeds", "4", "--template", "all"});
  Running running(folder(), slow);
  const auto begun = [&] { return !kept_files().empty() && fs::file_size(kept_files()[0]) > 4000; };
  while (running.alive() && !begun()) std::this_thread::sleep_for(std::chrono::microseconds(200));
  running.send(SIGKILL);
  running.wait();
  const Outcome end = run(slow);
  EXPECT_EQ(end.code, 0) << end.err;
}

TEST_F(EvalScores, ThoseOfAnotherBuildAreLeftAloneAndTold) {
  ASSERT_EQ(run(command("a")).code, 0);
  const fs::path own = kept_files().at(0);
  std::string other = own.filename().string();
  other.replace(other.find('-') + 1, 8, "00000000");
  fs::rename(own, kept() / other);
  const Outcome anew = run(command("b"));
  ASSERT_EQ(anew.code, 0) << anew.err;
  EXPECT_NE(anew.err.find("holds scores by another build of graft than this one, " + build_version()),
            std::string::npos)
      << anew.err;
  EXPECT_TRUE(fs::exists(own)) << "scored again";
  expect_same_answers(predictions("b"), predictions("a"));
  EXPECT_EQ(run(command("c")).err.find("another build"), std::string::npos) << "said once";
}

// A user without a home of their own, as in many containers, evaluates all the same.
TEST_F(EvalScores, WhereTheUsersFolderCannotBeWrittenTheyLieInTheOutput) {
  const fs::path no_folder = folder() / "cache";
  write_file(no_folder, "a file");
  ::setenv("GRAFT_TEST_CACHE", no_folder.c_str(), 1);
  const Outcome first = run(command("a")), again = run(command("a"));
  ::unsetenv("GRAFT_TEST_CACHE");
  ASSERT_EQ(first.code, 0) << first.err;
  EXPECT_NE(first.err.find("cache/graft/scores cannot be written to, so scores are kept in a/scores"),
            std::string::npos)
      << first.err;
  EXPECT_EQ(score_files("a").size(), 1u);
  EXPECT_EQ(again.code, 0) << again.err;
}

TEST_F(EvalScores, AnEvaluationClearsWhatIsOldAndAPlanDoesNot) {
  const fs::path old = kept() / "old.jsonl";
  write_file(old, "");
  fs::resize_file(old, std::uintmax_t{5} << 30);  // without blocks
  fs::last_write_time(old, fs::file_time_type::clock::now() - std::chrono::hours(48));
  Words plan = command("a");
  plan.insert(plan.begin(), "plan");
  ASSERT_EQ(run(plan).code, 0);
  EXPECT_TRUE(fs::exists(old));
  ASSERT_EQ(run(command("a")).code, 0);
  EXPECT_FALSE(fs::exists(old));
  EXPECT_EQ(kept_files().size(), 1u) << "its own stay";
}

}  // namespace
}  // namespace graft::e2e
