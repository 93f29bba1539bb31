// graft pull: a model from a hub, which this test is, by the environment alone; and what can be done with it then.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/environment_variable_test.h"
#include "base/file.h"
#include "checkpoint/fake_hub_test.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;

class Pull : public ::testing::Test {
 protected:
  Pull() : hub_(weights_of(folder_.path() / "made")) {
    hub_.config_ = read_file(folder_.path() / "made/config.json");
    endpoint_.set(hub_.endpoint().c_str());
    home_.set((folder_.path() / "home").c_str());
    token_.set("secret");
    for (const auto* other : {&cache_, &token_path_, &offline_}) other->set(nullptr);
  }

  Outcome run(const std::vector<std::string>& arguments) const { return graft(folder_.path(), arguments); }

  void expect_pulled(const Outcome& end, const fs::path& snapshot) const {
    ASSERT_EQ(end.code, 0) << end.err;
    EXPECT_NE(end.out.find(snapshot.string() + ": "), std::string::npos) << end.out;
    EXPECT_NE(end.out.find("next: graft inspect " + snapshot.string() + "\n"), std::string::npos) << end.out;
    for (const char* file : {"config.json", "model.safetensors"})
      EXPECT_EQ(read_file(snapshot / file), read_file(folder_.path() / "made" / file)) << file;
  }

  fs::path snapshot_in(const std::string& cache) const {
    return folder_.path() / cache / "models--org--model/snapshots/c0ffee";
  }

  const Folder folder_;
  testing::FakeHub hub_;
  const EnvironmentVariable endpoint_{"HF_ENDPOINT"}, home_{"HF_HOME"}, cache_{"HF_HUB_CACHE"}, token_{"HF_TOKEN"},
      token_path_{"HF_TOKEN_PATH"}, offline_{"HF_HUB_OFFLINE"};

 private:
  static std::string weights_of(const fs::path& made) {
    write_model(made);
    return read_file(made / "model.safetensors");
  }
};

TEST_F(Pull, BringsAModelWithTheTokenOfTheEnvironmentAndNamesTheNextCommand) {
  expect_pulled(run({"pull", "org/model"}), snapshot_in("home/hub"));
  EXPECT_EQ(hub_.token_, "Bearer secret");
  EXPECT_FALSE(hub_.leaked_) << "the token went to another host";
  const Outcome told = run({"inspect", snapshot_in("home/hub").string(), "--json"});
  ASSERT_EQ(told.code, 0) << told.err;
  EXPECT_NE(told.out.find("\"llama\""), std::string::npos) << told.out;
}

TEST_F(Pull, TheTokenOfTheFileIsSentWhereTheEnvironmentHasNone) {
  token_.set(nullptr);
  folder_.file("home/token", "of-file\n");
  expect_pulled(run({"pull", "org/model"}), snapshot_in("home/hub"));
  EXPECT_EQ(hub_.token_, "Bearer of-file");
  fs::remove(folder_.path() / "home/token");
  expect_refused(run({"pull", "org/private"}), 2, {"HF_TOKEN"});
}

TEST_F(Pull, WhatIsThereIsNotFetchedAgainAndAnswersOffline) {
  cache_.set((folder_.path() / "models").c_str());
  const fs::path snapshot = snapshot_in("models");
  expect_pulled(run({"pull", "org/model"}), snapshot);
  expect_pulled(run({"pull", "org/model"}), snapshot);
  EXPECT_EQ(hub_.requests_, 1);
  endpoint_.set("http://127.0.0.1:1");  // refused at once
  expect_refused(run({"pull", "org/model"}), 6, {"127.0.0.1:1"});
  expect_pulled(run({"pull", "org/model", "--offline"}), snapshot);
  offline_.set("1");
  expect_pulled(run({"pull", "org/model"}), snapshot);
  EXPECT_FALSE(fs::exists(folder_.path() / "home"));
}

TEST_F(Pull, AWrongHashIsRefusedAndNothingOfItIsLeft) {
  hub_.promised_ = std::string(64, '0');
  expect_refused(run({"pull", "org/model"}), 4, {"model.safetensors", "SHA-256"});
  EXPECT_FALSE(fs::exists(snapshot_in("home/hub") / "model.safetensors"));
}

// What was fetched stays beside the whole files, and the next pull goes on with it.
TEST_F(Pull, AFullDiskIsToldAndThePartGoesOn) {
  const std::size_t room = hub_.weights_.size() / 2;
  Limits full;
  full.file_bytes = room;
  expect_refused(graft(folder_.path(), {"pull", "org/model"}, full), 7, {".incomplete", "free some space"});
  EXPECT_FALSE(fs::exists(snapshot_in("home/hub") / "model.safetensors"));
  EXPECT_FALSE(fs::exists(folder_.path() / "home/hub/models--org--model/refs"));
  expect_pulled(run({"pull", "org/model"}), snapshot_in("home/hub"));
  EXPECT_EQ(hub_.ranges_, ";bytes=" + std::to_string(room) + "-;");
}

TEST_F(Pull, ACacheThatCannotBeWrittenIsTold) {
  Limits limits;
  limits.as_nobody = ::geteuid() == 0;
  if (limits.as_nobody && graft(folder_.path(), {"list"}, limits).code != 0)
    GTEST_SKIP() << "the program lies where only root may go";
  const fs::path closed = folder_.path() / "closed";
  fs::create_directories(closed);
  fs::permissions(closed,
                  fs::perms::owner_read | fs::perms::owner_exec | fs::perms::others_read | fs::perms::others_exec);
  home_.set(closed.c_str());
  expect_refused(graft(folder_.path(), {"pull", "org/model"}, limits), 6,
                 {"closed/hub", "Permission denied", "choose a folder you may write to"});
  EXPECT_TRUE(fs::is_empty(closed));
}

}  // namespace
}  // namespace graft::e2e
