// Which models' blocks are kept for the next process, and where.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "arch/core/fingerprint_test_support.h"
#include "arch/core/model.h"
#include "base/environment_variable_test.h"
#include "checkpoint/fixture_test.h"
#include "nn/tensor_file.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using testing::Folder;

std::unique_ptr<Model> in_blocks(const fs::path& model) {
  return load_model(model.string(), {at::kFloat, at::kCPU, WeightFormat::Q4_1});
}

TEST(ModelBlocks, OfManyValuesAreKeptWhereTheEnvironmentSays) {
  const EnvironmentVariable chosen("GRAFT_WEIGHT_CACHE"), cache("XDG_CACHE_HOME");
  const Folder folder;
  chosen.set(nullptr);
  cache.set((folder.path() / "cache").c_str());
  const fs::path file = testing::one_layer(folder)->parameters().files().front(), model = file.parent_path();
  in_blocks(model);
  EXPECT_FALSE(fs::exists(folder.path() / "cache")) << "so few values are quantised in no time";

  // Values that count and are not read: Llama's files may hold such a tensor, which is passed over.
  NamedTensors tensors = read_tensors(file);
  tensors.emplace_back("model.rotary_emb.inv_freq", at::zeros({std::int64_t{1} << 24}, at::kByte));
  write_tensors(file, tensors);
  chosen.set("no");
  in_blocks(model);
  EXPECT_FALSE(fs::exists(folder.path() / "cache"));
  chosen.set(nullptr);
  const auto made = in_blocks(model), found = in_blocks(model);
  EXPECT_TRUE(fs::exists(folder.path() / "cache" / "graft" / "weights"));
  const std::int64_t embeddings = found->parameters().store(0).bytes();
  EXPECT_GE(found->parameters().residency().bytes(), made->parameters().residency().bytes() + embeddings);
  for (std::size_t i = 0; i < made->parameters().all().size(); ++i)
    EXPECT_TRUE(at::equal(found->parameters().all()[i].value(), made->parameters().all()[i].value())) << i;

  chosen.set((folder.path() / "elsewhere").c_str());
  EXPECT_EQ(in_blocks(model)->parameters().residency().bytes(), made->parameters().residency().bytes());
  EXPECT_TRUE(fs::exists(folder.path() / "elsewhere"));
  chosen.set("elsewhere");
  testing::expect_error(Category::InvalidArgument, "GRAFT_WEIGHT_CACHE", [&] { in_blocks(model); });
}

}  // namespace
}  // namespace graft
