// Writers of one place do not meet, whoever they are.
#include "base/file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <iterator>
#include <string>
#include <system_error>

#include "base/error.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

class Files : public ::testing::Test {
 protected:
  Files() : folder_(fs::temp_directory_path() / ("graft-files-" + std::to_string(::getpid()))) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~Files() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }

  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  fs::path folder_;
};

// As of two processes of one id, in containers that share a folder.
TEST_F(Files, TwoWritersOfOneFileAreEachWhole) {
  const fs::path place = folder_ / "config.json";
  AtomicFile first(place), second(place);
  first.write("first, ");
  second.write("second");
  first.write("and whole");
  first.commit();
  EXPECT_EQ(read_file(place), "first, and whole");
  second.commit();
  EXPECT_EQ(read_file(place), "second");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(Files, WhatWasNotCommittedIsGone) {
  { AtomicFile(folder_ / "a").write("half"); }
  EXPECT_EQ(entries(), 0u);
}

TEST_F(Files, LeftoversOfAKilledProcessAreKnownByTheirNames) {
  write_file(temporary_beside(folder_ / "state"), "half");
  write_file(folder_ / "state.tmp-notes", "somebody's own");
  remove_leftovers(folder_);
  EXPECT_EQ(entries(), 1u);
  EXPECT_TRUE(fs::exists(folder_ / "state.tmp-notes"));
}

TEST_F(Files, OfSeveralFilesNoneIsNewerThanAnother) {
  const fs::path first = folder_ / "predictions", second = folder_ / "results", blocked = folder_ / "results/in/a/file";
  write_files({{first, "old"}, {second, "old"}});
  EXPECT_THROW(write_files({{first, "new"}, {blocked, "new"}}), Error);
  EXPECT_EQ(read_file(first), "old");
  EXPECT_EQ(read_file(second), "old");
  EXPECT_EQ(entries(), 2u) << "something temporary is left";
  write_files({{first, "new"}, {second, "newer"}});
  EXPECT_EQ(read_file(first), "new");
  EXPECT_EQ(read_file(second), "newer");
}

TEST_F(Files, AFolderThatReplacesAnotherDoesSoWhole) {
  const fs::path place = folder_ / "adapter";
  write_file(place / "weights", "old");
  write_file(place / "config", "old");
  {
    AtomicFolder given_up(place, AtomicFolder::Occupied::Replaced);
    write_file(given_up.path() / "weights", "half");
  }
  EXPECT_EQ(read_file(place / "weights"), "old");
  {
    AtomicFolder whole(place, AtomicFolder::Occupied::Replaced);
    write_file(whole.path() / "weights", "new");
    EXPECT_EQ(read_file(place / "weights"), "old");
    whole.commit();
  }
  EXPECT_EQ(read_file(place / "weights"), "new");
  EXPECT_FALSE(fs::exists(place / "config")) << "of the old one nothing stays";
  EXPECT_EQ(entries(), 1u);
}

TEST_F(Files, LeftoversMayBeFolders) {
  write_file(temporary_beside(folder_ / "run" / "adapter") / "weights", "half");
  remove_leftovers(folder_);
  EXPECT_TRUE(fs::is_empty(folder_ / "run"));
}

TEST_F(Files, RoomIsThatOfTheFolderWhereAFileWillBe) {
  const auto here = free_space(folder_);
  ASSERT_TRUE(here.has_value());
  EXPECT_GT(*here, 0);
  const auto there = free_space(folder_ / "not" / "yet" / "model.gguf");
  ASSERT_TRUE(there.has_value()) << "other programs may write meanwhile: the number is not compared";
  EXPECT_GT(*there, 0);
}

TEST(FileNames, OfParquetAreToldByTheirEnding) {
  EXPECT_TRUE(is_parquet("data/train-00000-of-00002.parquet"));
  EXPECT_FALSE(is_parquet("train.parquet.gz"));
  EXPECT_FALSE(is_parquet("train.parquet/rows.jsonl"));
  EXPECT_FALSE(is_parquet("parquet"));
}

}  // namespace
}  // namespace graft
