#include "eval/verify.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "adapters/core/peft.h"
#include "base/error.h"
#include "base/progress.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

fs::path goldens() {
  const char* given = std::getenv("GRAFT_GOLDENS");
  return given != nullptr ? fs::path(given) : fs::path(GRAFT_SOURCE_DIR) / "tests/golden/data";
}

// Prompts and choices of several lengths.
std::vector<ChoiceTokens> examples(const Model& model) {
  Rng rng(3);
  const auto tokens = [&](std::int64_t count) {
    std::vector<std::int64_t> ids;
    for (std::int64_t t = 0; t < count; ++t)
      ids.push_back(static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(model.config().vocab_size))));
    return ids;
  };
  std::vector<ChoiceTokens> all;
  for (std::int64_t e = 0; e < 5; ++e) {
    ChoiceTokens example;
    example.prompt = tokens(3 + e);
    for (std::int64_t c = 0; c < 3; ++c) example.choices.push_back({tokens(1 + (e + c) % 4), 4, 4});
    all.push_back(example);
  }
  return all;
}

VerifyOptions options() {
  VerifyOptions options;
  options.tolerance = 1e-4;
  options.batch_size = 2;
  return options;
}

// An adapter that is off by a thousandth in one path only.
class Perturbed : public Adapter {
 public:
  enum class Where { Training, Generation, Merged, Unmergeable };
  Perturbed(const Adapter& inner, Where where) : inner_(inner), where_(where) {}

  bool acts_on(const Site& site) const override { return inner_.acts_on(site); }
  at::Tensor input_scale(const Site& site) const override { return inner_.input_scale(site); }
  at::Tensor output(const Site& site, const at::Tensor& x, const at::Tensor& y) const override {
    const at::Tensor right = adapted_output(inner_, site, x, y);
    const bool training = where_ == Where::Training && at::GradMode::is_enabled();
    const bool generation = where_ == Where::Generation && y.size(0) == 1;  // one token a step
    return training || generation ? right * 1.05 : right;
  }
  std::vector<AdapterTensor> parameters() const override { return inner_.parameters(); }
  nlohmann::json peft_config() const override { return inner_.peft_config(); }
  std::vector<PeftTensor> peft_tensors() const override { return inner_.peft_tensors(); }
  at::Tensor merged(std::int64_t index, const at::Tensor& base) const override {
    if (where_ == Where::Unmergeable) fail(Category::Unsupported, "perturbed", "cannot be merged");
    const at::Tensor right = inner_.merged(index, base);
    return right.defined() && where_ == Where::Merged ? right * 1.05 : right;
  }

 private:
  const Adapter& inner_;
  Where where_;
};

class Verify : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(goldens() / "llama")) GTEST_SKIP() << "no goldens; ./check makes them";
    Progress::set_quiet(true);
  }
};

TEST_F(Verify, EveryPathAgreesOnEveryGoldenModel) {
  int models = 0;
  for (const auto& entry : fs::directory_iterator(goldens())) {
    for (const char* method : {"ia3", "lora"}) {
      if (!fs::exists(entry.path() / method / "adapter")) continue;
      const auto model = load_model((entry.path() / "model").string());
      const auto loaded = load_adapter(entry.path() / method / "adapter", *model);
      const auto report = verify(*model, loaded.adapter.get(), examples(*model), options());
      ASSERT_EQ(report.paths.size(), 3u);
      for (const auto& path : report.paths) {
        EXPECT_TRUE(path.passed && path.skipped.empty())
            << entry.path() << " " << method << " " << path.path << ": " << path.logit_gap;
        EXPECT_GT(path.tokens, 15);
        EXPECT_EQ(path.other_winners, 0);
      }
      ++models;
    }
  }
  EXPECT_GE(models, 6);
}

TEST_F(Verify, TellsWhichPathIsOff) {
  const auto model = load_model((goldens() / "llama/model").string());
  const auto loaded = load_adapter(goldens() / "llama/ia3/adapter", *model);
  const std::vector<std::pair<Perturbed::Where, std::string>> cases = {{Perturbed::Where::Training, "training"},
                                                                       {Perturbed::Where::Generation, "generation"},
                                                                       {Perturbed::Where::Merged, "merged"}};
  for (const auto& [where, name] : cases) {
    const Perturbed adapter(*loaded.adapter, where);
    const auto report = verify(*model, &adapter, examples(*model), options());
    EXPECT_FALSE(report.passed()) << name;
    for (const auto& path : report.paths) EXPECT_EQ(path.passed, path.path != name) << name << ": " << path.path;
  }
}

TEST_F(Verify, SaysWhyNothingIsMerged) {
  const auto model = load_model((goldens() / "llama/model").string());
  const auto loaded = load_adapter(goldens() / "llama/ia3/adapter", *model);
  const Perturbed adapter(*loaded.adapter, Perturbed::Where::Unmergeable);
  const auto report = verify(*model, &adapter, examples(*model), options());
  EXPECT_TRUE(report.passed());
  EXPECT_NE(report.paths.back().skipped.find("cannot be merged"), std::string::npos);
  const auto base = verify(*model, nullptr, examples(*model), options());
  EXPECT_TRUE(base.passed());
  EXPECT_FALSE(base.paths.back().skipped.empty());
  EXPECT_THROW(verify(*model, nullptr, {}, options()), Error);
}

TEST_F(Verify, RanksAsEvaluationDoes) {
  const auto model = load_model((goldens() / "llama/model").string());
  const auto all = examples(*model);
  const auto want = rank(*model, all, {});
  const auto got = verify(*model, nullptr, all, options()).evaluation;
  for (std::size_t e = 0; e < all.size(); ++e) {
    EXPECT_EQ(got[e].prediction, want[e].prediction);
    EXPECT_NEAR(got[e].scores[0], want[e].scores[0], 1e-6);
  }
}

}  // namespace
}  // namespace graft
