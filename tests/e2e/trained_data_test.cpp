// What an adapter's manifest tells of the rows that it was trained on.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

using Words = std::vector<std::string>;

class TrainedData : public ::testing::Test {
 protected:
  TrainedData() {
    write_model(folder() / "model");
    write_rows(folder() / "rows.jsonl", 20);
    rows_ = lines_of(folder() / "rows.jsonl");
  }

  void write(const std::string& name, const std::vector<std::string>& rows) const {
    std::string text;
    for (const auto& row : rows) text += row + "\n";
    write_file(folder() / name, text);
  }

  /// The data_hash of an adapter that is tuned on all rows of a file, unless `more` says otherwise.
  std::string hash_of(const std::string& output, const std::string& file, const Words& more = {}) const {
    Words tune = {"tune",
                  "--model",
                  "model",
                  "--data",
                  file,
                  "--text-column",
                  "text",
                  "--label-column",
                  "label",
                  "--output",
                  output,
                  "--set",
                  "data.held_out_share=0",
                  "--steps",
                  "2"};
    tune.insert(tune.end(), more.begin(), more.end());
    const Outcome tuned = graft(folder(), tune);
    EXPECT_EQ(tuned.code, 0) << tuned.err;
    const Outcome told = graft(folder(), {"inspect", output + "/adapter", "--json"});
    EXPECT_EQ(told.code, 0) << told.err;
    return nlohmann::json::parse(told.out).at("adapter_details").at("manifest").at("data_hash").get<std::string>();
  }

  const std::filesystem::path& folder() const { return folder_.path(); }
  std::vector<std::string> rows_;

 private:
  Folder folder_;
};

TEST_F(TrainedData, OfTheSameRowsTheHashIsTheSame) {
  const std::string hash = hash_of("one", "rows.jsonl");
  EXPECT_EQ(hash.size(), 64U);
  EXPECT_EQ(hash.find_first_not_of("0123456789abcdef"), std::string::npos) << hash;
  EXPECT_EQ(hash_of("two", "rows.jsonl", {"--set", "train.seed=7", "--set", "optimizer.lr=1e-4"}), hash);
  std::reverse(rows_.begin(), rows_.end());
  write("reversed.jsonl", rows_);
  EXPECT_EQ(hash_of("three", "reversed.jsonl"), hash) << "the order of the rows is not theirs";
}

TEST_F(TrainedData, OfOtherRowsItIsAnother) {
  const std::string hash = hash_of("one", "rows.jsonl");
  std::vector<std::string> changed = rows_;
  const auto end = changed[7].find(" 7\"");
  ASSERT_NE(end, std::string::npos) << changed[7];
  changed[7].insert(end, "!");
  write("changed.jsonl", changed);
  EXPECT_NE(hash_of("two", "changed.jsonl"), hash) << "one character of one row";
  rows_.pop_back();
  write("fewer.jsonl", rows_);
  EXPECT_NE(hash_of("three", "fewer.jsonl"), hash);
  EXPECT_NE(hash_of("four", "rows.jsonl", {"--shots", "4"}), hash) << "of the rows that trained alone";
}

}  // namespace
}  // namespace graft::e2e
