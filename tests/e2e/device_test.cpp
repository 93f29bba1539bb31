// --device: which verbs have it, what it refuses, and that a run may go on without it.
#include <nlohmann/json.hpp>

#include "topics_fixture.h"

namespace graft::e2e {
namespace {

class Device : public Topics {
 protected:
  static Words tune_on(const Words& device) {
    Words more = {"--recipe", "lora", "--steps", "3", "--output", "run"};
    more.insert(more.end(), device.begin(), device.end());
    return tune_words({}, more);
  }
};

TEST_F(Device, IsAnOptionOfEveryVerbThatComputes) {
  for (const char* verb :
       {"tune", "eval", "compare", "verify", "generate", "predict", "bench", "merge", "blend", "similarity"})
    EXPECT_NE(run({verb, "--help"}).out.find("--device"), std::string::npos) << verb;
  EXPECT_NE(run({"plan", "tune", "--help"}).out.find("--device"), std::string::npos);
  expect_refused(run({"inspect", "model", "--device", "cpu"}), 2, {"inspect: unknown option '--device'"});
}

TEST_F(Device, ThatIsNotThereIsRefusedBeforeAnythingIsWritten) {
  expect_refused(run(tune_on({"--device", "gpu"})), 2, {"--device: 'gpu' is none of auto, cpu, cuda, cuda:N"});
  expect_refused(run(tune_on({"--device", ""})), 2, {"--device: '' is none of auto, cpu, cuda, cuda:N"});
  expect_refused(run(tune_on({"--device", "cuda:99"})), 5, {"--device cuda:99: "});
  EXPECT_FALSE(std::filesystem::exists(folder() / "run"));
}

TEST_F(Device, IsNoSettingOfARun) {
  const Outcome first = run(tune_on({"--device", "cpu"}));
  ASSERT_EQ(first.code, 0) << first.err;
  const auto summary = nlohmann::json::parse(read_file(folder() / "run/summary.json"));
  EXPECT_EQ(summary.at("device").get<std::string>(), "cpu");
  EXPECT_EQ(read_file(folder() / "run/config.yaml").find("device"), std::string::npos);
  const Outcome again = run(tune_on({}));
  EXPECT_EQ(again.code, 0) << again.err;
}

TEST_F(Device, OfAPlanIsThatOfTheCommand) {
  const Words plan =
      tune_words({"plan"}, {"--recipe", "lora", "--steps", "3", "--output", "run", "--device", "cuda:99"});
  expect_refused(run(plan), 5, {"--device cuda:99: "});
  expect_refused(run({"generate", "--model", "model", "--prompt", "the", "--device", "cuda:99"}), 5,
                 {"--device cuda:99: "});
  const Outcome written =
      run({"generate", "--model", "model", "--prompt", "the", "--max-new-tokens", "2", "--device", "cpu"});
  EXPECT_EQ(written.code, 0) << written.err;
}

}  // namespace
}  // namespace graft::e2e
