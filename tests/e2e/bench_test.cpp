// graft bench, as a user asks it.
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/file.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

using nlohmann::json;
using Words = std::vector<std::string>;

class Bench : public ::testing::Test {
 protected:
  Bench() { write_model(folder() / "model"); }

  static Words bench(const Words& more) {
    Words all = {"bench", "--model", "model", "--seconds", "1"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  Outcome run(const Words& more) const { return graft(folder(), bench(more)); }
  json answer(Words more) const {
    more.push_back("--json");
    const Outcome end = run(more);
    EXPECT_EQ(end.code, 0) << end.err;
    return json::parse(end.out);
  }
  static Words names(const json& answer) {
    Words all;
    for (const auto& row : answer.at("rows")) all.push_back(row.at("name").get<std::string>());
    return all;
  }

  const std::filesystem::path& folder() const { return folder_.path(); }

 private:
  Folder folder_;
};

TEST_F(Bench, MeasuresTheMachineAndEveryPart) {
  const json all = answer({});
  EXPECT_GT(all.at("machine").at("float32_flops").at("median"), 0);
  EXPECT_GT(all.at("machine").at("read_bytes").at("median"), 0);
  EXPECT_EQ(names(all), (Words{"prefill", "decode_1", "decode_16", "ia3", "lora", "full", "score"}));
  for (const auto& row : all.at("rows")) {
    SCOPED_TRACE(row.dump());
    EXPECT_GE(row.at("repetitions"), 1);
    EXPECT_GT(row.at("flops"), 0);
    EXPECT_GT(row.at("bytes_read"), 0);
    EXPECT_GT(row.at("share_of_limit"), 0);
    EXPECT_GT(row.at("peak_memory_bytes"), 0);
    const json& seconds = row.at("seconds");
    EXPECT_LE(seconds.at("first_quartile"), seconds.at("median"));
    EXPECT_LE(seconds.at("median"), seconds.at("third_quartile"));
  }
  // A context of 128: a prompt leaves room for a token, a text for the one in front of it.
  EXPECT_EQ(all.at("rows")[0].at("what"), "read 127 tokens");
  EXPECT_EQ(all.at("rows")[3].at("what"), "(IA)³ step, 8 × 127 tokens");
  const json& scored = all.at("rows")[6].at("per_second");
  EXPECT_NEAR(scored.at("choices").at("median").get<double>() / scored.at("questions").at("median").get<double>(), 4,
              1e-6);
}

TEST_F(Bench, PartsAndAnExistingTask) {
  write_rows(folder() / "rows.jsonl", 40);
  write_file(folder() / "topics.yaml", topics_task());
  EXPECT_EQ(names(answer({"--only", "decode,lora,score", "--task", "topics.yaml", "--data", "rows.jsonl"})),
            (Words{"decode_1", "decode_16", "lora", "score"}));
  const Outcome table =
      run({"--only", "score", "--data", "rows.jsonl", "--text-column", "text", "--label-column", "label"});
  EXPECT_EQ(table.code, 0) << table.err;
  for (const char* part : {"products in float32", "reading memory", "score choices of ", "questions/s", "choices/s",
                           "of the limit", "bound by "})
    EXPECT_NE(table.out.find(part), std::string::npos) << part << " in\n" << table.out;
  const json machine = answer({"--only", "machine"});
  EXPECT_TRUE(machine.at("rows").empty());
}

TEST_F(Bench, ABaseInBlocksIsNotTunedWhole) {
  write_gguf_model(folder() / "model.gguf", DType::Q8_0);
  const Words words = {"bench",     "--model", "model.gguf", "--weights", "packed",
                       "--seconds", "1",       "--only",     "ia3,full",  "--json"};
  const Outcome end = graft(folder(), words);
  ASSERT_EQ(end.code, 0) << end.err;
  const json rows = json::parse(end.out).at("rows");
  EXPECT_GE(rows[0].at("repetitions"), 1);
  EXPECT_EQ(rows[1].at("repetitions"), 0);
  EXPECT_NE(rows[1].at("not_made").get<std::string>().find("--weights dense"), std::string::npos);
}

TEST_F(Bench, CtrlCEndsIt) {
  Running running(folder(), {"bench", "--model", "model", "--seconds", "100"});
  while (running.alive() && !running.catches(SIGINT)) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  running.send(SIGINT);
  expect_refused(running.wait(), 130, {"the benchmark was stopped"});
}

TEST_F(Bench, Slips) {
  expect_refused(graft(folder(), {"bench"}), 2, {"--model is required"});
  expect_refused(run({"--only", "decode,everything"}), 2, {"--only", "everything"});
  expect_refused(run({"--task", "rte"}), 2, {"--task rte: has no data"});
  expect_refused(run({"--text-column", "text"}), 2, {"--data: name the file or folder"});
  expect_refused(run({"--data", "rows.jsonl"}), 2, {"--task: name a task"});
  expect_refused(run({"--recipe", "lora"}), 2, {"--recipe: says how the examples of --data are tuned", "leave it out"});
  for (const char* option : {"--data", "--task"})
    expect_refused(run({option, "rte", "--only", "decode"}), 2, {std::string(option) + ": is tuned and scored, and"});
  expect_refused(run({"--dtype", "float8"}), 2, {"--dtype"});
  expect_refused(graft(folder(), {"bench", "--model", "model", "--seconds", "0"}), 2, {"--seconds"});
  expect_refused(graft(folder(), {"bench", "--model", "nothing"}), 3, {"nothing"});
}

}  // namespace
}  // namespace graft::e2e
