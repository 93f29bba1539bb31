// Where training begins and what it trains on: another adapter's values, a mixture of tasks.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "checkpoint/source.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Words = std::vector<std::string>;

const std::string kBeginTask = topics_task();

class Begin : public ::testing::Test {
 protected:
  Begin() {
    write_model(folder() / "model");
    write_rows(folder() / "rows.jsonl", 40);
    write_file(folder() / "topics.yaml", kBeginTask);
  }

  // A run of three steps.
  static Words tune(const std::string& output, const Words& more) {
    Words all = {"tune",
                 "--model",
                 "model",
                 "--shots",
                 "6",
                 "--eval-rows",
                 "5",
                 "--steps",
                 "3",
                 "--set",
                 "train.batch_size=2",
                 "--set",
                 "optimizer.warmup_steps=0",
                 "--output",
                 output};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  static Words on_topics(const std::string& output, const Words& more) {
    Words all = {"--task", "topics.yaml", "--data", "rows.jsonl"};
    all.insert(all.end(), more.begin(), more.end());
    return tune(output, all);
  }

  Outcome run(const Words& given) const {
    const Outcome end = graft(folder(), given);
    EXPECT_EQ(end.code, 0) << end.err;
    return end;
  }

  const fs::path& folder() const { return folder_.path(); }
  std::string text(const std::string& file) const { return read_file(folder() / file); }
  json summary(const std::string& run) const { return json::parse(text(run + "/summary.json")); }
  json manifest(const std::string& run) const {
    const auto adapter = open_checkpoint(folder() / run / "adapter/adapter_model.safetensors");
    return json::parse(adapter->metadata().at("graft_manifest").get<std::string>());
  }
  std::string tensors(const std::string& run) const {
    return content_hash(*open_checkpoint(folder() / run / "adapter/adapter_model.safetensors"));
  }

 private:
  Folder folder_;
};

// Steps too small to move a value away from 1 leave the adapter that training began with.
TEST_F(Begin, FromAnotherAdapter) {
  const Words slow = {"--method", "ia3", "--set", "optimizer.lr=1e-12"};
  run(on_topics("first", {"--method", "ia3", "--set", "optimizer.lr=0.05"}));
  run(on_topics("fresh", slow));
  EXPECT_NE(tensors("fresh"), tensors("first"));
  auto second = on_topics("second", slow);
  second.insert(second.end(), {"--start-from", "first/adapter"});
  run(second);
  const std::string began = tensors("first");
  EXPECT_EQ(tensors("second"), began);
  EXPECT_NE(text("second/config.yaml").find("first/adapter"), std::string::npos);
  // The run has its own copy, and goes on without the first.
  fs::rename(folder() / "first", folder() / "moved");
  fs::remove_all(folder() / "second/adapter");
  run(second);
  EXPECT_EQ(tensors("second"), began);
  fs::rename(folder() / "moved", folder() / "first");
  auto other = on_topics("other", {"--method", "lora", "--start-from", "first/adapter"});
  expect_refused(graft(folder(), other), 2,
                 {"method.start_from", "first/adapter is an adapter of ia3", "--method ia3"});
  other.insert(other.end(), {"--set", "method.options.rank=2"});
  expect_refused(graft(folder(), other), 2, {"method.options.rank", "leave this one out"});
  EXPECT_FALSE(fs::exists(folder() / "other"));
}

// A run's config.yaml is such a recipe: with it the run can be repeated.
TEST_F(Begin, WithTheRowsThatARecipeNames) {
  run(tune("first", {"--data", "rows.jsonl", "--text-column", "text", "--label-column", "label"}));
  run(tune("second", {"--recipe", "first/config.yaml"}));
  EXPECT_EQ(tensors("second"), tensors("first"));
  write_file(folder() / "mine.yaml", "data: {text_column: text, label_column: label}\n");
  run(tune("third", {"--recipe", "mine.yaml", "--data", "rows.jsonl"}));
  write_file(folder() / "task.yaml", "task: {name: topics.yaml}\n");
  EXPECT_NE(run(tune("fourth", {"--recipe", "task.yaml", "--data", "rows.jsonl"})).err.find("task: topics, "),
            std::string::npos);
}

class Mixture : public Begin {
 protected:
  Mixture() {
    std::string other = kBeginTask;
    other.replace(other.find("name: topics"), 12, "name: other");
    write_file(folder() / "other.yaml", other);
  }

  void refused(const Words& more, const Words& parts) const {
    expect_refused(graft(folder(), tune("refused", more)), 2, parts);
    EXPECT_FALSE(fs::exists(folder() / "refused"));
  }
};

TEST_F(Mixture, TrainsOneAdapterOnSeveralTasks) {
  const Outcome end = run(tune("mixed", {"--task", "topics.yaml=rows.jsonl", "--task", "other.yaml=rows.jsonl",
                                         "--recipe", "ia3-pretraining", "--set", "data.mixture_cap=7"}));
  // 6 rows of 2 classes in 2 templates each.
  EXPECT_NE(end.err.find("mixture: other, 7 of 24 training examples"), std::string::npos) << end.err;
  EXPECT_NE(end.out.find("  topics: accuracy before "), std::string::npos) << end.out;
  const json after = summary("mixed").at("after"), tasks = after.at("tasks");
  EXPECT_EQ(tasks.size(), 2u) << after;
  EXPECT_NEAR(after.at("accuracy"), (tasks.at("topics").get<double>() + tasks.at("other").get<double>()) / 2, 1e-9);
  EXPECT_EQ(lines_of(folder() / "mixed/train.jsonl").size(), 14u);
  const std::string both = manifest("mixed").at("tasks");
  for (const char* part : {"name: other\n", "\n---\n", "name: topics\n", "What is this about?"})
    EXPECT_NE(both.find(part), std::string::npos) << both;
  EXPECT_NE(text("mixed/report.html").find("id=\"tasks\""), std::string::npos);
  EXPECT_EQ(json::parse(run({"verify", "--run", "mixed", "--json"}).out).at("examples"), 10);
  expect_refused(graft(folder(), {"predict", "--run", "mixed", "--data", "rows.jsonl", "--output", "out.csv"}), 2,
                 {"--task", "name the task"});
}

TEST_F(Mixture, IsSaidByARecipeToo) {
  write_file(folder() / "mixed.yaml", "task: {mixture: {topics.yaml: rows.jsonl, other.yaml: rows.jsonl}}\n");
  run(tune("recipe", {"--recipe", "mixed.yaml"}));
  EXPECT_EQ(summary("recipe").at("after").at("tasks").size(), 2u);
  refused({"--recipe", "mixed.yaml", "--set", "data.path=rows.jsonl"}, {"task.mixture", "leave one out"});
}

TEST_F(Mixture, Slips) {
  refused({"--task", "topics.yaml", "--task", "other.yaml=rows.jsonl", "--data", "rows.jsonl"},
          {"--data", "one place for 2 tasks"});
  refused({"--task", "topics.yaml=rows.jsonl", "--task", "topics.yaml=rows.jsonl"},
          {"--task", "topics.yaml is named twice"});
  refused({"--task", "topics.yaml=rows.jsonl", "--data", "rows.jsonl"}, {"--data", "leave --data out"});
  write_file(folder() / "copy.yaml", kBeginTask);
  refused({"--task", "topics.yaml=rows.jsonl", "--task", "copy.yaml=rows.jsonl"},
          {"task.mixture", "two of its tasks are called topics"});
  write_file(folder() / "write.yaml",
             "name: write\nformat: jsonl\nsplits: {pool: .}\ntemplates:\n  - {name: a, prompt: \"{text}\", target: "
             "\"{label}\"}\nmetrics: [bleu]\n");
  refused({"--task", "topics.yaml=rows.jsonl", "--task", "write.yaml=rows.jsonl"},
          {"objective.name", "write has a text to write"});
}

}  // namespace
}  // namespace graft::e2e
