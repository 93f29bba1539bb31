// What the tests of a run's memory and time share: a tiny model, forty rows, a task on them, and the words of a run.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {

using Words = std::vector<std::string>;

class Topics : public ::testing::Test {
 protected:
  Topics() {
    write_model(folder() / "model");
    write_rows(folder() / "rows.jsonl", 40);
    write_file(folder() / "topics.yaml", topics_task());
  }

  /// `first`, then `graft tune` on six rows of each class in one template, in float32, then `more`.
  static Words tune_words(Words first, const Words& more) {
    const Words shared = {"tune",
                          "--model",
                          "model",
                          "--data",
                          "rows.jsonl",
                          "--task",
                          "topics.yaml",
                          "--shots",
                          "6",
                          "--eval-rows",
                          "12",
                          "--set",
                          "data.template=0",
                          "--set",
                          "train.eval_every=0",
                          "--set",
                          "train.precision=float32"};
    first.insert(first.end(), shared.begin(), shared.end());
    first.insert(first.end(), more.begin(), more.end());
    return first;
  }

  Outcome run(const Words& arguments) const { return graft(folder(), arguments); }
  const std::filesystem::path& folder() const { return folder_.path(); }

 private:
  Folder folder_;
};

}  // namespace graft::e2e
