// Without a network: one line that says what to do, and the exit status of input and output.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/environment_variable_test.h"
#include "command.h"

namespace graft::e2e {
namespace {

class NoNetwork : public ::testing::Test {
 protected:
  NoNetwork() {
    // Port 1 of this machine: refused at once.
    ::setenv("HF_ENDPOINT", "http://127.0.0.1:1", 1);
    ::setenv("HF_HOME", (folder_.path() / "cache").c_str(), 1);
  }
  ~NoNetwork() override {
    for (const char* name : {"HF_ENDPOINT", "HF_HOME", "HF_HUB_OFFLINE"}) ::unsetenv(name);
  }

  const ProxyVariables no_proxy_;
  Folder folder_;
};

TEST_F(NoNetwork, AModelIsNotPulledAndNothingIsLeft) {
  expect_refused(graft(folder_.path(), {"pull", "organisation/model"}), 6, {"127.0.0.1:1", "check the network"});
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "cache/hub/models--organisation--model/snapshots"));
}

TEST_F(NoNetwork, OfflineSaysThatTheCacheHoldsNone) {
  ::setenv("HF_HUB_OFFLINE", "1", 1);
  expect_refused(graft(folder_.path(), {"pull", "organisation/model"}), 3, {"organisation/model"});
}

}  // namespace
}  // namespace graft::e2e
