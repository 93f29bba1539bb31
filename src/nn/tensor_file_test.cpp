#include "nn/tensor_file.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <filesystem>
#include <vector>

#include "checkpoint/fixture_test.h"
#include "checkpoint/source.h"
#include "checkpoint/writer.h"

namespace graft {
namespace {

using testing::expect_error;
using testing::Folder;

NamedTensors three_kinds() {
  return {{"wide", at::arange(6, at::kFloat).view({2, 3})},
          {"half", at::arange(4, at::kFloat).to(at::kBFloat16)},
          {"places", at::arange(3, at::kLong)}};
}

void expect_same(const NamedTensors& read, const NamedTensors& written) {
  ASSERT_EQ(read.size(), written.size());
  for (std::size_t i = 0; i < read.size(); ++i) {
    EXPECT_EQ(read[i].first, written[i].first);
    EXPECT_EQ(read[i].second.scalar_type(), written[i].second.scalar_type());
    EXPECT_TRUE(at::equal(read[i].second, written[i].second)) << read[i].first;
  }
}

TEST(TensorFile, GivesBackWhatWasWritten) {
  const Folder folder;
  const auto file = folder.path() / "three.safetensors";
  write_tensors(file, three_kinds());
  expect_same(read_tensors(file), three_kinds());
}

TEST(TensorFile, OfAnOpenSourceIsNotOpenedAgainAndOutlivesIt) {
  const Folder folder;
  const auto file = folder.path() / "three.safetensors";
  write_tensors(file, three_kinds());
  auto source = open_checkpoint(file);
  std::filesystem::remove(file);
  const NamedTensors read = read_tensors(*source);
  source.reset();
  expect_same(read, three_kinds());
}

TEST(TensorFile, WithBlocksIsRefusedByItsName) {
  const Folder folder;
  const auto file = folder.path() / "blocks.gguf";
  const std::vector<TensorPlan> plan = {{"w", DType::Q8_0, {32}}};
  const auto writer = write_gguf(file, plan, {{"general.architecture", "llama"}});
  writer->write(std::vector<std::byte>(static_cast<std::size_t>(block_bytes(DType::Q8_0))));
  writer->finish();
  expect_error(Category::Unsupported, file.string() + ": tensor w is stored as Q8_0", [&] { read_tensors(file); });
}

}  // namespace
}  // namespace graft
