// Which graft it was, as its results tell.
#include "base/build.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "checkpoint/source.h"
#include "eval_fixture.h"

namespace graft::e2e {
namespace {

class Told : public Eval {};

TEST_F(Told, TheCommitIsInEverythingThatIsLeft) {
  EXPECT_EQ(run({"--version"}).out, "graft " + build_version() + "\n");
  tune("runs/a");
  ASSERT_EQ(run(eval({})).code, 0);
  EXPECT_EQ(results().at("commit"), build_commit());
  EXPECT_EQ(json::parse(read_file(folder() / "runs/a/summary.json")).at("commit"), build_commit());
  const auto adapter = open_checkpoint(folder() / "runs/a/adapter/adapter_model.safetensors");
  EXPECT_NE(adapter->metadata().dump().find(build_commit()), std::string::npos) << adapter->metadata();
  for (const char* page : {"out/report.html", "runs/a/report.html"})
    EXPECT_NE(read_file(folder() / page).find("Made by graft " + build_version()), std::string::npos) << page;
}

}  // namespace
}  // namespace graft::e2e
