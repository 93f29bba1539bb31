// graft convert: an adapter written anew is the same adapter.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

class Convert : public ::testing::Test {
 protected:
  Convert() {
    write_model(folder() / "model");
    write_rows(folder() / "rows.jsonl", 20);
    const Outcome tuned =
        graft(folder(), {"tune", "--model", "model", "--data", "rows.jsonl", "--text-column", "text", "--label-column",
                         "label", "--recipe", "lora", "--steps", "5", "--shots", "4", "--output", "run"});
    EXPECT_EQ(tuned.code, 0) << tuned.err;
  }

  const std::filesystem::path& folder() const { return folder_.path(); }
  static std::vector<std::string> convert(const std::string& output) {
    return {"convert", "--model", "model", "--adapter", "run/adapter", "--output", output};
  }

 private:
  Folder folder_;
};

TEST_F(Convert, WritesTheSameAdapterWithItsManifest) {
  const Outcome end = graft(folder(), convert("copy"));
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.err.find("run/adapter: lora adapter, "), std::string::npos) << end.err;
  for (const char* file : {"adapter_model.safetensors", "adapter_config.json"})
    EXPECT_EQ(read_file(folder() / "copy" / file), read_file(folder() / "run/adapter" / file)) << file;
}

TEST_F(Convert, AnAdapterIsInspected) {
  const Outcome end = graft(folder(), {"inspect", "run/adapter"});
  ASSERT_EQ(end.code, 0) << end.err;
  for (const char* part : {"method             lora", "targets            q_proj, v_proj (", "rank               8",
                           "parameters    ", "base               sha256 ", "seed               0"})
    EXPECT_NE(end.out.find(part), std::string::npos) << part << " in\n" << end.out;
  EXPECT_EQ(end.out.find("absent"), std::string::npos) << end.out;
  // The hash is the one that the run's report shows.
  const std::string hash = end.out.substr(end.out.find("sha256 "), 7 + 64);
  EXPECT_NE(read_file(folder() / "run/report.html").find(hash), std::string::npos) << hash;
  const auto all = nlohmann::json::parse(graft(folder(), {"inspect", "run/adapter", "--json"}).out);
  EXPECT_NE(all.at("adapter_details").at("manifest").at("recipe").get<std::string>().find("steps: 5"),
            std::string::npos);
}

TEST_F(Convert, RefusesAnOccupiedFolderAndLeavesNothingElse) {
  expect_refused(graft(folder(), convert("run")), 2, {"run", "is not empty"});
  EXPECT_TRUE(leftovers(folder()).empty());
}

}  // namespace
}  // namespace graft::e2e
