// Every verb that loads an adapter says how many tensors of it found their place.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "checkpoint/source.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

using Words = std::vector<std::string>;

class PlacedTensors : public ::testing::Test {
 protected:
  PlacedTensors() {
    write_model(folder() / "model");
    write_rows(folder() / "rows.jsonl", 20);
    write_file(folder() / "topics.yaml", topics_task());
    const Outcome tuned = graft(folder(), on_topics({"tune", "--method", "lora", "--steps", "2", "--output", "run"}));
    EXPECT_EQ(tuned.code, 0) << tuned.err;
    EXPECT_EQ(tuned.err.find("every one placed"), std::string::npos) << "nothing was loaded: " << tuned.err;
  }

  static Words on_topics(Words more) {
    more.insert(more.end(), {"--model", "model", "--task", "topics.yaml", "--data", "rows.jsonl", "--shots", "4",
                             "--eval-rows", "4"});
    return more;
  }
  const std::filesystem::path& folder() const { return folder_.path(); }

  // Returns what went to standard output.
  std::string expect_told(const Words& arguments) const {
    SCOPED_TRACE(arguments.front());
    const Outcome end = graft(folder(), arguments);
    EXPECT_EQ(end.code, 0) << end.err;
    const std::size_t count = open_checkpoint(folder() / "run/adapter/adapter_model.safetensors")->tensors().size();
    EXPECT_GT(count, 1u);
    const std::string line = fmt::format("run/adapter: lora adapter, {} tensors, every one placed\n", count);
    const std::size_t at = end.err.find(line);
    EXPECT_NE(at, std::string::npos) << end.err;
    EXPECT_EQ(end.err.find(line, at + 1), std::string::npos) << "told again: " << end.err;
    EXPECT_EQ(end.out.find("every one placed"), std::string::npos) << end.out;
    return end.out;
  }

 private:
  Folder folder_;
};

TEST_F(PlacedTensors, OfAnAdapterThatAnswers) {
  expect_told({"generate", "--model", "model", "--adapter", "run/adapter", "--prompt", "a", "--max-new-tokens", "1"});
  const auto verified = nlohmann::json::parse(expect_told({"verify", "--run", "run", "--rows", "2", "--json"}));
  EXPECT_EQ(verified.at("adapter"), "run/adapter");
  expect_told(on_topics({"eval", "--adapter", "run", "--output", "out", "--scores", "scores"}));
  expect_told({"predict", "--run", "run", "--data", "rows.jsonl", "--output", "answers.jsonl"});
}

TEST_F(PlacedTensors, OfAnAdapterThatSomethingIsMadeOf) {
  const auto blended = nlohmann::json::parse(
      expect_told({"blend", "--model", "model", "--adapter", "run/adapter", "--output", "blended", "--json"}));
  EXPECT_EQ(blended.at("form"), "lora adapter");
  expect_told({"merge", "--model", "model", "--adapter", "run/adapter", "--output", "merged"});
  expect_told({"convert", "--model", "model", "--adapter", "run/adapter", "--output", "copy"});
  const auto alike = nlohmann::json::parse(expect_told({"similarity", "--model", "model", "--adapter", "run/adapter",
                                                        "run/adapter", "--output", "page.html", "--json"}));
  EXPECT_EQ(alike.at("first"), "run/adapter");
}

TEST_F(PlacedTensors, OfAnAdapterThatTrainingBeginsWith) {
  expect_told(on_topics({"tune", "--method", "lora", "--start-from", "run/adapter", "--steps", "2", "--output", "on"}));
  write_file(folder() / "further.yaml",
             "recipe: tfew-cpu\nvariants:\n  further: {method: {name: lora, start_from: run/adapter}}\n");
  expect_told(
      on_topics({"compare", "--comparison", "further.yaml", "--seeds", "2", "--steps", "2", "--output", "all"}));
}

TEST_F(PlacedTensors, AreNotToldWhereItIsToBeQuiet) {
  const Outcome end = graft(folder(), {"--quiet", "generate", "--model", "model", "--adapter", "run/adapter",
                                       "--prompt", "a", "--max-new-tokens", "1"});
  EXPECT_EQ(end.code, 0) << end.err;
  EXPECT_EQ(end.err.find("every one placed"), std::string::npos) << end.err;
}

// By the name it was given.
TEST_F(PlacedTensors, OfAnAdapterWithAName) {
  const Outcome end = graft(folder(), {"generate", "--model", "model", "--adapter", "topic=run/adapter", "--prompt",
                                       "a", "--max-new-tokens", "1"});
  EXPECT_NE(end.err.find("topic = run/adapter: lora adapter, "), std::string::npos) << end.err;
}

}  // namespace
}  // namespace graft::e2e
