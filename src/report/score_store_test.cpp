#include "report/score_store.h"

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "base/error_test_support.h"
#include "base/file.h"
#include "report/test_folder.h"

namespace graft {
namespace {

using Json = nlohmann::json;

class ScoreStoreTest : public TestFolder {
 protected:
  std::filesystem::path scores() const { return folder() / "scores"; }
  const Json scorer_ = {{"model", "abc"}, {"dtype", "float32"}}, build_ = {{"commit", "0123"}};
};

TEST_F(ScoreStoreTest, KeepsEveryBitAcrossProcesses) {
  const std::vector<double> sums = {-1.0 / 3, -12.345678901234567, -1e-300};
  {
    ScoreStore store(scores(), scorer_, build_);
    EXPECT_EQ(store.find("a"), nullptr);
    store.add({{"a", {sums, {true, false, true}, 0.25}}, {"b", {{-1}, {}, 0}}});
    ASSERT_NE(store.find("a"), nullptr);
  }
  {
    ScoreStore again(scores(), scorer_, build_);
    EXPECT_EQ(again.size(), 2u);
    ASSERT_NE(again.find("a"), nullptr);
    EXPECT_EQ(again.find("a")->sums, sums);
    EXPECT_EQ(again.find("a")->greedy, (std::vector<bool>{true, false, true}));
    EXPECT_EQ(again.find("a")->seconds, 0.25);
    again.add({{"c", {{-2}, {}, 0}}});
  }
  EXPECT_EQ(ScoreStore(scores(), scorer_, build_).size(), 3u);
}

TEST_F(ScoreStoreTest, SeveralAddToOneFile) {
  ScoreStore one(scores(), scorer_, build_), other(scores(), scorer_, build_);
  one.add({{"a", {{-1}, {true}, 0}}});
  other.add({{"b", {{-2}, {}, 0}}});
  EXPECT_NE(other.find("a"), nullptr) << "read on the way";
  EXPECT_EQ(one.find("b"), nullptr);
  one.refresh();
  ASSERT_NE(one.find("b"), nullptr);
  other.add({{"a", {{-1}, {}, 0}}});  // scored at the same time, but not asked whether it is greedy
  one.refresh();
  EXPECT_EQ(one.find("a")->greedy, std::vector<bool>{true});
  {
    // A third one was killed within a line.
    std::ofstream cut(one.file(), std::ios::app);
    cut << "{\"key\": \"c";
  }
  one.add({{"d", {{-4}, {}, 0}}});
  other.refresh();
  EXPECT_NE(other.find("d"), nullptr);
  EXPECT_EQ(ScoreStore(scores(), scorer_, build_).size(), 3u);
}

TEST_F(ScoreStoreTest, ProcessesDoNotCutEachOthersLines) {
  constexpr int kProcesses = 4, kEach = 100;
  std::vector<pid_t> children;
  for (int process = 0; process < kProcesses; ++process) {
    children.push_back(::fork());
    if (children.back() != 0) continue;
    ScoreStore store(scores(), scorer_, build_);
    for (int i = 0; i < kEach; ++i)
      store.add({{std::to_string(process * kEach + i), {std::vector<double>(50, -i / 3.0), {}, 0}}});
    ::_exit(0);
  }
  for (const auto child : children) {
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(ScoreStore(scores(), scorer_, build_).size(), static_cast<std::size_t>(kProcesses * kEach));
}

TEST_F(ScoreStoreTest, AnotherBuildHasItsOwnFileAndIsCounted) {
  {
    ScoreStore store(scores(), scorer_, build_);
    store.add({{"a", {{-1}, {}, 0}}});
    EXPECT_EQ(store.other_builds(), 0);
  }
  const ScoreStore other(scores(), scorer_, {{"commit", "4567"}});
  EXPECT_TRUE(other.empty());
  EXPECT_EQ(other.other_builds(), 1);
  const ScoreStore stranger(scores(), {{"model", "def"}}, build_);
  EXPECT_EQ(stranger.other_builds(), 0);
}

TEST_F(ScoreStoreTest, WhatWasUsedLongestAgoIsDroppedFirst) {
  const auto now = std::filesystem::file_time_type::clock::now();
  for (const int days : {0, 2, 3, 4}) {
    const auto file = scores() / (std::to_string(days) + ".jsonl");
    write_file(file, std::string(100, 'x'));
    std::filesystem::last_write_time(file, now - std::chrono::hours(24 * days));
  }
  write_file(scores() / "notes.txt", std::string(1000, 'x'));
  std::filesystem::last_write_time(scores() / "notes.txt", now - std::chrono::hours(24 * 9));
  EXPECT_EQ(drop_old_scores(scores(), 400), 0);
  EXPECT_EQ(drop_old_scores(scores(), 299), 200);
  EXPECT_TRUE(std::filesystem::exists(scores() / "2.jsonl"));
  EXPECT_FALSE(std::filesystem::exists(scores() / "3.jsonl"));
  EXPECT_EQ(drop_old_scores(scores(), 0), 100) << "one may be in use";
  EXPECT_TRUE(std::filesystem::exists(scores() / "0.jsonl"));
  EXPECT_TRUE(std::filesystem::exists(scores() / "notes.txt"));
  EXPECT_EQ(drop_old_scores(folder() / "nowhere", 0), 0);
}

TEST_F(ScoreStoreTest, AFileThatIsOpenedCountsAsUsed) {
  const auto file = ScoreStore(scores(), scorer_, build_).file();
  std::filesystem::last_write_time(file, std::filesystem::file_time_type::clock::now() - std::chrono::hours(72));
  { const ScoreStore again(scores(), scorer_, build_); }
  EXPECT_EQ(drop_old_scores(scores(), 0), 0);
}

TEST_F(ScoreStoreTest, KeepsTextsBesideScores) {
  {
    ScoreStore store(scores(), scorer_, build_);
    store.add({{"a", {{-1}, {}, 0}}});
    store.add_texts({{"a", {" 143\n\u00E9", 4, 0.5}}, {"b", {"", 1, 0}}});
  }
  const ScoreStore again(scores(), scorer_, build_);
  EXPECT_EQ(again.size(), 1u);
  ASSERT_NE(again.find_text("a"), nullptr);
  EXPECT_EQ(again.find_text("a")->text, " 143\n\u00E9");
  EXPECT_EQ(again.find_text("a")->tokens, 4);
  EXPECT_EQ(again.find_text("a")->seconds, 0.5);
  ASSERT_NE(again.find_text("b"), nullptr) << "an empty text is one, too";
  EXPECT_EQ(again.find_text("c"), nullptr);
  EXPECT_NE(again.find("a"), nullptr);
}

TEST_F(ScoreStoreTest, ALargeFileIsReadInPieces) {
  constexpr int kTexts = 120;
  const std::string long_text(100'000, 'x');
  std::filesystem::path file;
  {
    ScoreStore store(scores(), scorer_, build_);
    for (int i = 0; i < kTexts; ++i) store.add_texts({{std::to_string(i), {long_text + std::to_string(i), 1, 0}}});
    file = store.file();
  }
  const std::string whole = read_file(file);
  write_file(file, whole + R"({"key": "cut)");
  {
    const ScoreStore again(scores(), scorer_, build_);
    for (int i = 0; i < kTexts; ++i) {
      const KeptText* text = again.find_text(std::to_string(i));
      ASSERT_NE(text, nullptr) << i;
      EXPECT_EQ(text->text.substr(long_text.size()), std::to_string(i));
    }
  }
  EXPECT_EQ(read_file(file), whole);
}

TEST_F(ScoreStoreTest, AnotherScorerHasItsOwnFile) {
  ScoreStore store(scores(), scorer_, build_);
  store.add({{"a", {{-1}, {}, 0}}});
  ScoreStore other(scores(), {{"model", "abc"}, {"dtype", "bfloat16"}}, build_);
  EXPECT_EQ(other.find("a"), nullptr);
  EXPECT_NE(other.file(), store.file());
}

TEST_F(ScoreStoreTest, ALineThatWasCutShortIsDropped) {
  std::filesystem::path file;
  {
    ScoreStore store(scores(), scorer_, build_);
    store.add({{"a", {{-1}, {}, 0}}, {"b", {{-2}, {}, 0}}});
    file = store.file();
  }
  const std::string whole = read_file(file);
  for (std::size_t cut = 1; cut < 20; cut += 6) {
    write_file(file, whole.substr(0, whole.size() - 1 - cut));
    {
      ScoreStore store(scores(), scorer_, build_);
      EXPECT_NE(store.find("a"), nullptr);
      EXPECT_EQ(store.find("b"), nullptr);
      store.add({{"b", {{-2}, {}, 0}}});
    }
    EXPECT_EQ(ScoreStore(scores(), scorer_, build_).size(), 2u);
  }
  write_file(file, whole.substr(0, 5));
  EXPECT_EQ(ScoreStore(scores(), scorer_, build_).size(), 0u) << "killed within the first line";
}

TEST_F(ScoreStoreTest, AScoreThatIsNoNumberIsNotKept) {
  {
    ScoreStore store(scores(), scorer_, build_);
    store.add({{"a", {{-std::numeric_limits<double>::infinity(), -1}, {}, 0}}});
    EXPECT_NE(store.find("a"), nullptr) << "but it is the answer of this run";
  }
  EXPECT_EQ(ScoreStore(scores(), scorer_, build_).find("a"), nullptr);
}

TEST_F(ScoreStoreTest, DamageIsToldWithFileAndLine) {
  std::filesystem::path file;
  {
    ScoreStore store(scores(), scorer_, build_);
    store.add({{"a", {{-1}, {}, 0}}, {"b", {{-2}, {}, 0}}});
    file = store.file();
  }
  const std::string whole = read_file(file);
  const auto opened = [&] { return error_of([&] { ScoreStore(scores(), scorer_, build_); }); };
  std::string damaged = whole;
  damaged[damaged.find("\"key\"") + 2] = '!';
  write_file(file, damaged);
  EXPECT_NE(opened().find(file.string() + ":2"), std::string::npos) << opened();
  damaged = whole;
  damaged.replace(damaged.find("abc"), 3, "xyz");
  write_file(file, damaged);
  EXPECT_NE(opened().find("another model, adapter or version"), std::string::npos) << opened();
  write_file(file, "[1]\n" + whole);
  EXPECT_NE(opened().find("Corruption"), std::string::npos) << opened();
}

}  // namespace
}  // namespace graft
