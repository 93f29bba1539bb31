// bench/gpu.sh --dry-run: all its jobs at small sizes on the CPU, on the tiny model.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "../hygiene/shell.h"
#include "base/file.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;

// Forty of either class, which fit the context.
std::string rows_of_rte() {
  std::string rows;
  for (int row = 0; row < 80; ++row) {
    const bool follows = row % 2 == 0;
    rows += nlohmann::json{{"premise", "Ann has " + std::to_string(row) + " cats."},
                           {"hypothesis", follows ? "Ann has cats." : "Ann has no cat."},
                           {"label", follows ? 0 : 1}}
                .dump() +
            "\n";
  }
  return rows;
}

TEST(GpuScript, ADryRunDoesEveryJobAndWorksOutTheBars) {
  const Folder folder;
  write_model(folder.path() / "model");
  const fs::path data = folder.file("rte.jsonl", rows_of_rte()), model = folder.path() / "model",
                 output = folder.path() / "out";
  // The runner of this test may have told it which of its tests to run.
  const std::string told =
      printed_by("env -u GTEST_TOTAL_SHARDS -u GTEST_SHARD_INDEX OMP_NUM_THREADS=1 XDG_CACHE_HOME='" +
                     folder.path().string() + "/cache' '" + GRAFT_SOURCE_DIR + "/bench/gpu.sh' --dry-run --build '" +
                     GRAFT_BINARY_DIR + "' --model '" + model.string() + "' --data '" + data.string() + "' --t0 '" +
                     model.string() + "' --output '" + output.string() + "'",
                 0);
  for (const char* job : {"device", "engine_tests", "command_tests", "tune", "verify", "bench", "bench_t0", "tune_t0"})
    EXPECT_NE(told.find("gpu.sh: " + std::string(job) + ": "), std::string::npos) << job << " in\n" << told;
  for (const char* said : {"training: bench, (IA)³ step", "training: bench_t0, (IA)³ step", "writing: bench, write one",
                           "recipe: 1,000 steps, from 2: ", " (measured), asked: 45%, ", "run-t0: 2 steps in "})
    EXPECT_NE(told.find(said), std::string::npos) << said << " in\n" << told;
  EXPECT_TRUE(fs::exists(output / "verdict.txt"));
  EXPECT_EQ(told.find("FAILED"), std::string::npos) << told;
}

TEST(GpuScript, Slips) {
  const std::string script = "'" + std::string(GRAFT_SOURCE_DIR) + "/bench/gpu.sh' ";
  EXPECT_NE(printed_by(script + "--dryrun", 2).find("unknown option '--dryrun'"), std::string::npos);
  EXPECT_NE(printed_by(script + "--dry-run", 2).find("give --model and --data"), std::string::npos);
  EXPECT_NE(printed_by(script + "--model m --data d --build b", 2).find("--build is of --dry-run"), std::string::npos);
}

}  // namespace
}  // namespace graft::e2e
