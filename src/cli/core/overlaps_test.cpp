#include "cli/core/overlaps.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "report/run_folder.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

const std::string kShared = "one two three four five six seven eight nine ten eleven twelve thirteen";

Example example_with(const std::string& content) {
  Example example;
  example.content = content;
  example.prompt = "Read this and answer with one of the words that are given below, please: " + content;
  return example;
}

TEST(Overlaps, OfAJobAreOfItsRowsAndNotOfItsTemplates) {
  Job job;
  job.templates = {{"a", {}, {}}, {"b", {}, {}}};
  for (int again = 0; again < 2; ++again) {
    for (const auto& content : {"x " + kShared, std::string("other words")}) job.train.push_back(example_with(content));
  }
  for (const auto& content : {kShared + " y", std::string("new words"), std::string("words of nobody")})
    job.held_out.push_back(example_with(content));
  const auto overlap = overlap_of(job);
  ASSERT_TRUE(overlap.has_value());
  EXPECT_EQ(overlap->examples, 3);
  EXPECT_EQ(overlap->shared, 1);
  job.held_out.clear();
  EXPECT_FALSE(overlap_of(job).has_value());
}

class QuestionOverlaps : public ::testing::Test {
 protected:
  QuestionOverlaps() : folder_(fs::temp_directory_path() / ("graft-overlaps-" + std::to_string(::getpid()))) {
    RunFolder::create(folder_ / "run");
    write_file(folder_ / "run/train.jsonl",
               "{\"id\": \"a\", \"where\": \"m:1\", \"label\": 0, \"choices\": [\" b\"], \"prompt\": \"Say: " +
                   kShared + "\"}\n");
    data_.task.templates = {{"first", "{text}", {" x"}, "", ""}};
    data_.questions = {{example_with(kShared), example_with("something else")}};
    data_.candidates_hash = "candidates";
    adapters_.emplace_back();
    adapters_.back().path = (folder_ / "run/adapter/").string();
    adapters_.back().name = "run (ia3)";
    adapters_.back().loaded.manifest = {{"data_hash", "others"}};
  }
  ~QuestionOverlaps() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  fs::path folder_;
  EvalData data_;
  std::vector<EvalAdapter> adapters_;
};

TEST_F(QuestionOverlaps, AreWithTheCandidatesAndWithWhatTrainedAnAdapter) {
  data_.candidates = {{{{"text", "something else"}}, "m:2"}};
  note_overlaps(data_, {&adapters_.back()});
  EXPECT_THAT(data_.notes,
              ElementsAre("1 of 2 questions share an 8-gram with the candidates for demonstrations",
                          "1 of 2 questions share an 8-gram with the examples that run (ia3) was tuned on"));
  ASSERT_EQ(data_.overlaps.size(), 2u);
  EXPECT_EQ(data_.overlaps[1].with, "run (ia3)");
  EXPECT_EQ(data_.overlaps[1].overlap.shared, 1);
}

TEST_F(QuestionOverlaps, ARowOfShortFieldsThatTrainedIsFound) {
  write_file(folder_ / "run/train.jsonl",
             "{\"id\": \"pairs/7\", \"where\": \"m:1\", \"label\": 0, \"choices\": [\" yes\"], \"prompt\": "
             "\"First: it rained. Second: it was wet.\"}\n");
  data_.questions = {{example_with("it rained it was wet"), example_with("it rained it was dry")}};
  data_.questions[0][0].id = "7";
  data_.questions[0][1].id = "8";
  note_overlaps(data_, {&adapters_.back()});
  EXPECT_THAT(data_.notes,
              ElementsAre("1 of 2 questions share an 8-gram with the examples that run (ia3) was tuned on"));
}

TEST_F(QuestionOverlaps, AreToldOnceWhereTheCandidatesTrained) {
  data_.candidates = {{{{"text", "nothing"}}, "m:2"}};
  adapters_.back().loaded.manifest = {{"data_hash", "candidates"}};
  note_overlaps(data_, {&adapters_.back()});
  EXPECT_THAT(data_.notes, ElementsAre("0 of 2 questions share an 8-gram with the candidates for demonstrations"));
}

TEST_F(QuestionOverlaps, ThatCouldNotBeLookedForAreTold) {
  const std::string note =
      "not checked: the examples that run (ia3) was tuned on are not at hand; a run folder has them in train.jsonl";
  adapters_.back().path = (folder_ / "elsewhere/adapter").string();
  note_overlaps(data_, {&adapters_.back()});
  EXPECT_THAT(data_.notes, ElementsAre(note));
  EXPECT_TRUE(data_.overlaps.empty());
  fs::remove(folder_ / "run/train.jsonl");
  adapters_.back().path = (folder_ / "run/adapter").string();
  data_.notes.clear();
  note_overlaps(data_, {&adapters_.back()});
  EXPECT_THAT(data_.notes, ElementsAre(note));
}

TEST_F(QuestionOverlaps, AFileOfThatNameOutsideARunIsNotRead) {
  write_file(folder_ / "elsewhere/train.jsonl", "{\"text\": \"somebody's own rows\", \"label\": 1}\n");
  adapters_.back().path = (folder_ / "elsewhere/adapter").string();
  note_overlaps(data_, {&adapters_.back()});
  EXPECT_TRUE(data_.overlaps.empty());
  EXPECT_THAT(data_.notes, ElementsAre(::testing::StartsWith("not checked: ")));
}

}  // namespace
}  // namespace graft
