#include "report/score_store.h"

#include <cmath>
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
  const Json scorer_ = {{"model", "abc"}, {"dtype", "float32"}};
};

TEST_F(ScoreStoreTest, KeepsEveryBitAcrossProcesses) {
  const std::vector<double> sums = {-1.0 / 3, -12.345678901234567, -1e-300};
  {
    ScoreStore store(scores(), scorer_);
    EXPECT_EQ(store.find("a"), nullptr);
    store.add({{"a", {sums, {true, false, true}, 0.25}}, {"b", {{-1}, {}, 0}}});
    ASSERT_NE(store.find("a"), nullptr);
  }
  {
    ScoreStore again(scores(), scorer_);
    EXPECT_EQ(again.size(), 2u);
    ASSERT_NE(again.find("a"), nullptr);
    EXPECT_EQ(again.find("a")->sums, sums);
    EXPECT_EQ(again.find("a")->greedy, (std::vector<bool>{true, false, true}));
    EXPECT_EQ(again.find("a")->seconds, 0.25);
    again.add({{"c", {{-2}, {}, 0}}});
    const std::string refused = error_of([&] { ScoreStore(scores(), scorer_); });
    EXPECT_NE(refused.find("another graft eval is writing there"), std::string::npos) << refused;
  }
  EXPECT_EQ(ScoreStore(scores(), scorer_).size(), 3u);
}

TEST_F(ScoreStoreTest, KeepsTextsBesideScores) {
  {
    ScoreStore store(scores(), scorer_);
    store.add({{"a", {{-1}, {}, 0}}});
    store.add_texts({{"a", {" 143\n\u00E9", 4, 0.5}}, {"b", {"", 1, 0}}});
  }
  const ScoreStore again(scores(), scorer_);
  EXPECT_EQ(again.size(), 1u);
  ASSERT_NE(again.find_text("a"), nullptr);
  EXPECT_EQ(again.find_text("a")->text, " 143\n\u00E9");
  EXPECT_EQ(again.find_text("a")->tokens, 4);
  EXPECT_EQ(again.find_text("a")->seconds, 0.5);
  ASSERT_NE(again.find_text("b"), nullptr) << "an empty text is one, too";
  EXPECT_EQ(again.find_text("c"), nullptr);
  EXPECT_NE(again.find("a"), nullptr);
}

TEST_F(ScoreStoreTest, AnotherScorerHasItsOwnFile) {
  ScoreStore store(scores(), scorer_);
  store.add({{"a", {{-1}, {}, 0}}});
  ScoreStore other(scores(), {{"model", "abc"}, {"dtype", "bfloat16"}});
  EXPECT_EQ(other.find("a"), nullptr);
  EXPECT_NE(other.file(), store.file());
}

TEST_F(ScoreStoreTest, ALineThatWasCutShortIsDropped) {
  std::filesystem::path file;
  {
    ScoreStore store(scores(), scorer_);
    store.add({{"a", {{-1}, {}, 0}}, {"b", {{-2}, {}, 0}}});
    file = store.file();
  }
  const std::string whole = read_file(file);
  for (std::size_t cut = 1; cut < 20; cut += 6) {
    write_file(file, whole.substr(0, whole.size() - 1 - cut));
    {
      ScoreStore store(scores(), scorer_);
      EXPECT_NE(store.find("a"), nullptr);
      EXPECT_EQ(store.find("b"), nullptr);
      store.add({{"b", {{-2}, {}, 0}}});
    }
    EXPECT_EQ(ScoreStore(scores(), scorer_).size(), 2u);
  }
  write_file(file, whole.substr(0, 5));
  EXPECT_EQ(ScoreStore(scores(), scorer_).size(), 0u) << "killed within the first line";
}

TEST_F(ScoreStoreTest, AScoreThatIsNoNumberIsNotKept) {
  {
    ScoreStore store(scores(), scorer_);
    store.add({{"a", {{-std::numeric_limits<double>::infinity(), -1}, {}, 0}}});
    EXPECT_NE(store.find("a"), nullptr) << "but it is the answer of this run";
  }
  EXPECT_EQ(ScoreStore(scores(), scorer_).find("a"), nullptr);
}

TEST_F(ScoreStoreTest, DamageIsToldWithFileAndLine) {
  std::filesystem::path file;
  {
    ScoreStore store(scores(), scorer_);
    store.add({{"a", {{-1}, {}, 0}}, {"b", {{-2}, {}, 0}}});
    file = store.file();
  }
  const std::string whole = read_file(file);
  const auto opened = [&] { return error_of([&] { ScoreStore(scores(), scorer_); }); };
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
