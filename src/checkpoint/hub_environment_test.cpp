// What the environment says of a hub: where it is, whose it is, and where its files are kept.
#include <filesystem>
#include <map>
#include <string>

#include "base/environment_variable_test.h"
#include "checkpoint/fixture_test.h"
#include "checkpoint/hub.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

class HubEnvironment : public ::testing::Test {
 protected:
  HubEnvironment() {
    for (const char* name : {"HF_ENDPOINT", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE",
                             "HF_DATASETS_SERVER", "XDG_CACHE_HOME", "HOME"})
      variables_.try_emplace(name, name).first->second.set(nullptr);
    set("HOME", home().string());
  }

  fs::path home() const { return folder_.path() / "home"; }
  const testing::Folder& folder() const { return folder_; }
  void set(const std::string& name, const std::string& value) const { variables_.at(name).set(value.c_str()); }

 private:
  testing::Folder folder_;
  std::map<std::string, EnvironmentVariable> variables_;
};

TEST_F(HubEnvironment, WhereItSaysNothingTheHubIsThePublicOneAndNobodyAsks) {
  const HubOptions options = hub_options_from_environment();
  EXPECT_EQ(options.endpoint, "https://huggingface.co");
  EXPECT_EQ(options.token, "");
  EXPECT_EQ(options.cache, home() / ".cache/huggingface/hub");
  EXPECT_FALSE(options.offline);
  EXPECT_EQ(options.rows_server, "");
  EXPECT_EQ(options.revision, "main");
  EXPECT_TRUE(options.files.empty());
}

TEST_F(HubEnvironment, ServersAreTakenWithoutTheSlashesAtTheirEnds) {
  set("HF_ENDPOINT", "http://mirror.example:8080/hub//");
  set("HF_DATASETS_SERVER", "http://rows.example/");
  EXPECT_EQ(hub_options_from_environment().endpoint, "http://mirror.example:8080/hub");
  EXPECT_EQ(hub_options_from_environment().rows_server, "http://rows.example");
  set("HF_ENDPOINT", "");
  EXPECT_EQ(hub_options_from_environment().endpoint, "https://huggingface.co") << "empty counts as not set";
}

TEST_F(HubEnvironment, TheMostExactNameOfTheCacheHolds) {
  set("XDG_CACHE_HOME", "/caches");
  EXPECT_EQ(hub_options_from_environment().cache, "/caches/huggingface/hub");
  set("HF_HOME", "/faces");
  EXPECT_EQ(hub_options_from_environment().cache, "/faces/hub");
  set("HF_HUB_CACHE", "/models");
  EXPECT_EQ(hub_options_from_environment().cache, "/models");
  set("HF_HUB_CACHE", "");
  set("HF_HOME", "");
  EXPECT_EQ(hub_options_from_environment().cache, "/caches/huggingface/hub") << "empty counts as not set";
}

// A folder of whatever place the user is in would be found again by nobody.
TEST_F(HubEnvironment, WithoutAHomeThereIsNoCacheAndNothingIsFetched) {
  set("HOME", "");
  HubOptions options = hub_options_from_environment();
  EXPECT_EQ(options.cache, "");
  EXPECT_EQ(options.token, "");
  for (const bool offline : {false, true}) {
    options.offline = offline;
    testing::expect_error(Category::InvalidArgument, "HF_HUB_CACHE: is not set", [&] { pull("org/model", options); });
  }
  set("HF_HUB_CACHE", "/models");
  EXPECT_EQ(hub_options_from_environment().cache, "/models");
}

TEST_F(HubEnvironment, TheTokenIsTheVariablesElseTheFiles) {
  folder().file("home/.cache/huggingface/token", "of-home\n");
  EXPECT_EQ(hub_options_from_environment().token, "of-home") << "as the hub's own program keeps it";
  folder().file("faces/token", "of-faces\n");
  set("HF_HOME", (folder().path() / "faces").string());
  EXPECT_EQ(hub_options_from_environment().token, "of-faces");
  set("HF_TOKEN_PATH", folder().file("own", "  of-file \r\n").string());
  EXPECT_EQ(hub_options_from_environment().token, "of-file");
  set("HF_TOKEN", " of-variable\n");
  EXPECT_EQ(hub_options_from_environment().token, "of-variable");
  set("HF_TOKEN", "");
  EXPECT_EQ(hub_options_from_environment().token, "of-file");
}

TEST_F(HubEnvironment, AFileThatIsNoneHoldsNoToken) {
  folder().file("home/.cache/huggingface/token", "of-home");
  set("HF_TOKEN_PATH", (folder().path() / "nowhere").string());
  EXPECT_EQ(hub_options_from_environment().token, "") << "another file was named";
  set("HF_TOKEN_PATH", folder().path().string());
  EXPECT_EQ(hub_options_from_environment().token, "");
}

TEST_F(HubEnvironment, OfflineIsAskedForInAnyOfTheUsualWords) {
  for (const char* yes : {"1", "true", "TRUE", "yes", "Yes", "on", "ON"}) {
    set("HF_HUB_OFFLINE", yes);
    EXPECT_TRUE(hub_options_from_environment().offline) << yes;
  }
  for (const char* no : {"", "0", "false", "no", "off"}) {
    set("HF_HUB_OFFLINE", no);
    EXPECT_FALSE(hub_options_from_environment().offline) << no;
  }
}

}  // namespace
}  // namespace graft
