// What the tests of graft eval share: a tiny model, forty rows of two classes, and short ways to run on them.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {

namespace fs = std::filesystem;
using nlohmann::json;
using Words = std::vector<std::string>;

inline constexpr int kRows = 40;

class Eval : public ::testing::Test {
 protected:
  Eval() {
    write_model(folder() / "model");
    std::string rows;
    for (int row = 0; row < kRows; ++row) rows += row_of(row);
    write_file(folder() / "rows.jsonl", rows);
    write_file(folder() / "short.yaml",
               "name: short\nformat: jsonl\nsplits: {pool: .}\nlabel: label\nlabels: [sport, tech]\ntemplates:\n"
               "  - {name: colon, prompt: \"{text}:\", choices: [\" s\", \" t\"]}\n"
               "  - {name: is, prompt: \"{text} is\", choices: [\" sport\", \" tech\"]}\n");
  }

  static std::string row_of(int row) {
    const bool sport = row % 2 == 0;
    return json{{"text", (sport ? "goal " : "chip ") + std::to_string(row)}, {"label", sport ? "sport" : "tech"}}
               .dump() +
           "\n";
  }

  static Words eval(const Words& more, const std::string& output = "out") {
    Words arguments = {"eval",       "--model",  "model", "--task",   "short.yaml",      "--data",
                       "rows.jsonl", "--output", output,  "--scores", output + "/scores"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  Outcome run(const Words& arguments) const { return graft(folder(), arguments); }
  const fs::path& folder() const { return folder_.path(); }

  json results(const std::string& output = "out") const {
    return json::parse(read_file(folder() / output / "results.json"));
  }
  json rows(const std::string& output = "out") const { return results(output).at("tasks")[0].at("rows"); }

  std::vector<json> predictions(const std::string& output = "out") const {
    std::vector<json> all;
    for (const auto& line : lines_of(folder() / output / "predictions.jsonl")) all.push_back(json::parse(line));
    return all;
  }

  void tune(const std::string& output, const Words& more = {}) const {
    Words arguments = {"tune",     "--model",    "model",    "--task",   "short.yaml",
                       "--data",   "rows.jsonl", "--recipe", "tfew-cpu", "--shots",
                       "3",        "--steps",    "20",       "--set",    "train.precision=float32",
                       "--output", output};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome end = run(arguments);
    ASSERT_EQ(end.code, 0) << end.err;
  }

  std::vector<fs::path> score_files(const std::string& output = "out") const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(folder() / output / "scores")) files.push_back(entry.path());
    return files;
  }

  /// The same bits.
  static void expect_same_answers(const std::vector<json>& a, const std::vector<json>& b) {
    ASSERT_EQ(a.size(), b.size());
    for (std::size_t i = 0; i < a.size(); ++i) {
      for (const char* key : {"setting", "seed", "id", "truth", "dropped", "scores"})
        EXPECT_EQ(a[i].at(key), b[i].at(key)) << a[i] << b[i];
    }
  }

 private:
  Folder folder_;
};

}  // namespace graft::e2e
