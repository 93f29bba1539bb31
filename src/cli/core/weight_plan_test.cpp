// Of each kind of work one tensor is made, and what is told of the others follows from it; and of files, whether the
// disk has room for them.
#include "cli/core/weight_plan.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "adapters/core/combination.h"
#include "base/memory.h"
#include "base/rng.h"
#include "checkpoint/fixture_test.h"
#include "convert/merged_weights.h"
#include "train/wide_llama_test.h"

namespace graft {
namespace {

constexpr std::int64_t kMany = std::int64_t{1} << 24;

TEST(WeightPlan, OneTensorOfEachKindIsMadeBehindTheSmallest) {
  std::vector<std::int64_t> made;
  std::vector<TensorWork> tensors;
  const auto add = [&](const char* kind, std::int64_t values) {
    tensors.push_back({kind, values, [&made, values] { made.push_back(values); }});
  };
  for (const std::int64_t values : {2 * kMany, std::int64_t{30}, kMany, std::int64_t{10}}) add("a", values);
  for (const std::int64_t values : {3 * kMany, 2 * kMany}) add("b", values);
  const TensorEstimate all = estimate_tensors(tensors);
  EXPECT_EQ(made, (std::vector<std::int64_t>{10, kMany, 2 * kMany}));
  EXPECT_GE(all.seconds, 0);
  EXPECT_GT(all.memory, 0);
}

TEST(WeightPlan, WhatTheLargestTakesFollowsFromTheOneThatIsMade) {
  constexpr std::size_t kTaken = std::size_t{32} << 20;
  std::int64_t before = 0;  // where estimating has given back what earlier tests left in the heap
  const auto make = [&before] {
    before = resident_memory();
    std::vector<char> bytes(kTaken, 1);
    EXPECT_EQ(bytes.back(), 1);
  };
  const TensorEstimate all = estimate_tensors({{"a", kMany, make}, {"a", 4 * kMany, make}});
  EXPECT_GT(all.memory - before, static_cast<std::int64_t>(3 * kTaken));
  EXPECT_EQ(estimate_tensors({}).seconds, 0);
}

TEST(WeightPlan, FilesThatTheDiskHasNoRoomForAreToldWithWhatWritesLess) {
  WorkPlan plan;
  plan.available = 1000;
  plan.files = PlannedFiles{10, 100, "model.gguf", 50, {}};
  EXPECT_TRUE(plan.fits_memory());
  EXPECT_FALSE(plan.fits_files());
  EXPECT_FALSE(plan.fits());
  add_smaller_files(plan, "--dtype q4_k", 40);
  add_smaller_files(plan, "--dtype q8_0", 70);
  add_smaller_files(plan, "--dtype float32", 200);
  ASSERT_EQ(plan.files->smaller.size(), 2u) << "more is no way out";
  EXPECT_TRUE(plan.files->smaller[0].fits);
  EXPECT_FALSE(plan.files->smaller[1].fits);
  ::testing::internal::CaptureStdout();
  print_plan(plan, false);
  const std::string words = ::testing::internal::GetCapturedStdout();
  for (const char* part : {"100 B to write to model.gguf; 50 B are free there", "The disk has no room for it",
                           "What would write less:", "--dtype q4_k"})
    EXPECT_NE(words.find(part), std::string::npos) << part << " in\n" << words;
  ::testing::internal::CaptureStdout();
  print_plan(plan, true);
  const auto json = nlohmann::json::parse(::testing::internal::GetCapturedStdout());
  EXPECT_EQ(json.at("fits"), false);
  EXPECT_EQ(json.at("files").at("smaller").size(), 2u);
  plan.files->free.reset();
  EXPECT_TRUE(plan.fits()) << "where the system does not tell";
}

TEST(WeightPlan, AModelThatIsUsedInItsBlocksSaysWhy) {
  testing::Folder folder;
  testing::write_wide_llama(folder, 1);
  const auto model = load_model(folder.path().string(), {at::kFloat, at::kCPU, WeightFormat::Q8_0});
  EXPECT_NE(begin_weight_plan(*model, WeightFormat::Dense, 1).saving.find("a dense copy has no room"),
            std::string::npos);
  const WorkPlan asked = begin_weight_plan(*model, WeightFormat::Q8_0, 1);
  EXPECT_EQ(asked.saving, "");
  EXPECT_EQ(asked.weight_bytes, model->parameters().bytes());
  EXPECT_EQ(asked.seconds(), 1);
}

TEST(WeightPlan, WhatMergingChangesIsToldByWhereTheAdapterActs) {
  testing::Folder folder;
  testing::write_wide_llama(folder, 2);
  const auto model = load_model(folder.path().string());
  Rng rng(5);
  const auto adapter = MethodChoice("ia3").create(*model, nlohmann::json::object(), rng);
  const auto changed = merged_parameters(*model, *adapter);
  EXPECT_EQ(changed.size(), 6u) << "keys, values and down of each layer";
  std::size_t merged = 0;
  for (const TensorWork& tensor : merging_work(*model, *adapter, changed)) {
    tensor.make();
    if (tensor.kind == "merged F32") ++merged;
  }
  EXPECT_EQ(merged, changed.size());
  const auto biases = MethodChoice("bitfit").create(*model, nlohmann::json::object(), rng);
  EXPECT_TRUE(merged_parameters(*model, *biases).empty());
}

}  // namespace
}  // namespace graft
