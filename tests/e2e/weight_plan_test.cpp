// graft plan of merge, blend, convert and similarity, beside what these then write.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "base/environment_variable_test.h"
#include "checkpoint/source.h"
#include "topics_fixture.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class PlanOfWeights : public Topics {
 protected:
  void tune(const std::string& model) const {
    const Outcome end =
        run({"tune", "--model", model, "--data", "rows.jsonl", "--task", "topics.yaml", "--recipe", "lora", "--steps",
             "2", "--shots", "4", "--eval-rows", "4", "--set", "train.precision=float32", "--output", "run"});
    ASSERT_EQ(end.code, 0) << end.err;
  }

  std::set<fs::path> files() const {
    std::set<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(folder())) found.insert(entry.path());
    return found;
  }

  json plan_of(const Words& command) const {
    const auto before = files();
    Words words = {"plan", "--json"};
    words.insert(words.end(), command.begin(), command.end());
    const Outcome end = run(words);
    EXPECT_EQ(end.code, 0) << end.err;
    EXPECT_EQ(files(), before);
    const json plan = json::parse(end.out);
    EXPECT_EQ(plan.at("fits"), true);
    EXPECT_GT(plan.at("seconds").get<double>(), 0);
    return plan;
  }

  // Of one file or a folder.
  std::int64_t bytes_of_tensors(const std::string& name) const {
    const auto source = open_checkpoint(folder() / name);
    std::int64_t bytes = 0;
    for (const TensorInfo& info : source->tensors()) bytes += static_cast<std::int64_t>(info.bytes);
    return bytes;
  }

  // Runs it behind its plan, which foretold as many bytes as the tensors of `written` then have.
  void expect_foretold(const Words& command, const std::string& written) const {
    const std::int64_t told = foretold(command);
    EXPECT_EQ(told, bytes_of_tensors(written)) << command.front();
  }

  std::int64_t foretold(const Words& command) const {
    const json plan = plan_of(command);
    const Outcome end = run(command);
    EXPECT_EQ(end.code, 0) << end.err;
    // Most of a process of this size is the program itself.
    EXPECT_LT(plan.at("memory_bytes").get<double>(), 2.0 * static_cast<double>(end.peak_bytes));
    EXPECT_GT(plan.at("memory_bytes").get<double>(), 0.5 * static_cast<double>(end.peak_bytes));
    EXPECT_EQ(plan.at("files").at("fits"), true);
    EXPECT_GT(plan.at("files").at("free_bytes").get<std::int64_t>(), 0);
    return plan.at("files").at("written_bytes").get<std::int64_t>();
  }

  void expect_words(Words command, const Words& parts) const {
    command.insert(command.begin(), "plan");
    const Outcome end = run(command);
    ASSERT_EQ(end.code, 0) << end.err;
    for (const auto& part : parts) EXPECT_NE(end.out.find(part), std::string::npos) << part << " in\n" << end.out;
  }
};

TEST_F(PlanOfWeights, MergingTellsWhatItWrites) {
  write_gguf_model(folder() / "model.gguf", DType::Q8_0);
  tune("model.gguf");
  const Words merge = {"merge", "--model", "model.gguf", "--adapter", "run/adapter", "--output"};
  Words to_folder = merge, to_file = merge;
  to_folder.insert(to_folder.end(), {"merged", "--dtype", "float32"});
  to_file.emplace_back("merged.gguf");
  expect_words(to_folder, {"memory    ", "merging   ", "21 tensors", "files     ", " to write to merged; ",
                           "how long the disk takes to read and write the files is not foretold"});
  expect_foretold(to_folder, "merged");
  const std::int64_t whole_file = foretold(to_file);
  EXPECT_EQ(whole_file, static_cast<std::int64_t>(fs::file_size(folder() / "merged.gguf")));
  const json as_lora = plan_of({"blend", "--model", "model.gguf", "--adapter", "run/adapter", "--as", "lora", "--rank",
                                "2", "--probes", "0", "--output", "lora"});
  EXPECT_EQ(as_lora.at("files").at("read_bytes"), bytes_of_tensors("model.gguf"));
  expect_refused(run({"plan", "merge", "--model", "model.gguf", "--adapter", "run/adapter", "--output", "merged"}), 2,
                 {"merged", "is not empty"});
  const EnvironmentVariable given("GRAFT_MEMORY");
  given.set("1kB");
  for (Words command : {Words{"plan"}, Words()}) {
    command.insert(command.end(), merge.begin(), merge.end());
    command.emplace_back("other");
    expect_refused(run(command), 7, {"model.gguf: its weights ", "0 B can be had", "GRAFT_MEMORY="});
  }
}

TEST_F(PlanOfWeights, ConvertingTellsWhatItWrites) {
  const Words to_file = {"convert", "--model", "model", "--dtype", "q8_0", "--output", "model.gguf"},
              to_folder = {"convert", "--model", "model.gguf", "--output", "back"};
  const json plan = plan_of(to_file);
  EXPECT_EQ(plan.at("files").at("read_bytes"), bytes_of_tensors("model"));
  expect_foretold(to_file, "model.gguf");
  expect_foretold(to_folder, "back");
  expect_words({"convert", "--model", "model", "--output", "half", "--dtype", "bfloat16"},
               {"rewriting ", "21 tensors", " to read, "});
  expect_refused(run({"plan", "convert", "--model", "model", "--output", "m.gguf", "--dtype", "q9_0"}), 2,
                 {"'q9_0' is not known"});
}

TEST_F(PlanOfWeights, BlendsAndConvertedAdaptersTellTheirFiles) {
  tune("model");
  const auto blend = [](const std::string& output, const Words& more) {
    Words words = {"blend",    "--model", "model", "--adapter", "run/adapter", "run/adapter",
                   "--factor", "0.5",     "0.5",   "--output",  output};
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  const std::string weights = "/adapter_model.safetensors";
  expect_foretold(blend("same", {}), "same" + weights);
  expect_foretold(blend("lora", {"--as", "lora", "--rank", "2"}), "lora" + weights);
  expect_foretold(blend("whole", {"--as", "model"}), "whole");
  expect_words(blend("again", {"--as", "model"}), {"merging   ", "probing   ", "8 random texts"});
  expect_foretold({"convert", "run/adapter", "--model", "model", "--output", "copy"}, "copy" + weights);
  const Words similarity = {"similarity", "--model", "model", "--adapter", "run/adapter", "same"};
  EXPECT_FALSE(plan_of(similarity).contains("files"));
  expect_words(similarity, {"comparing ", "4 tensors", "in all    "});
}

}  // namespace
}  // namespace graft::e2e
