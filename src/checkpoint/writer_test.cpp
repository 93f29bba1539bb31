#include "checkpoint/writer.h"

#include <sys/resource.h>

#include <csignal>

#include "checkpoint/fixture_test.h"

namespace graft {
namespace {

using testing::expect_error;
using testing::Folder;

std::vector<std::byte> filled(std::size_t size, int value) {
  return std::vector<std::byte>(size, static_cast<std::byte>(value));
}

TEST(Writer, SafetensorsRoundTrip) {
  const Folder folder;
  const auto path = folder.path() / "sub" / "m.safetensors";
  const auto writer = write_safetensors(
      path, {{"b", DType::F32, {2, 1}}, {"a", DType::BF16, {3}}, {"empty", DType::F32, {0, 4}}}, {{"format", "pt"}});
  writer->write(filled(8, 1));
  writer->write(filled(6, 2));
  writer->write({});
  EXPECT_FALSE(std::filesystem::exists(path));
  writer->finish();
  const auto source = open_checkpoint(path);
  EXPECT_EQ(source->metadata()["format"], "pt");
  EXPECT_EQ(source->at("b").shape, (std::vector<std::int64_t>{2, 1}));
  EXPECT_EQ(source->bytes(source->at("a"))[5], std::byte{2});
  EXPECT_EQ(source->at("b").offset % 8, 0u);
  EXPECT_EQ(source->tensors().size(), 3u);
}

TEST(Writer, ShardsWhereTheModelIsLarge) {
  const Folder folder;
  const std::vector<TensorPlan> plan = {
      {"a", DType::U8, {60}}, {"b", DType::U8, {60}}, {"c", DType::U8, {300}}, {"d", DType::U8, {30}}};
  const auto writer = write_safetensors_folder(folder.path(), plan, {128});
  for (const TensorPlan& tensor : plan)
    writer->write(filled(static_cast<std::size_t>(tensor.shape[0]), tensor.name[0]));
  writer->finish();
  const auto source = open_checkpoint(folder.path());
  EXPECT_EQ(source->files().size(), 3u);
  EXPECT_EQ(source->files()[0].filename(), "model-00001-of-00003.safetensors");
  for (const TensorPlan& tensor : plan)
    EXPECT_EQ(source->bytes(source->at(tensor.name)).back(), static_cast<std::byte>(tensor.name[0]));
}

TEST(Writer, KeepsTheFilesThatAreNamed) {
  const Folder folder;
  const std::vector<TensorPlan> plan = {{"a", DType::U8, {60}}, {"b", DType::U8, {60}}, {"c", DType::U8, {60}}};
  const auto writer = write_safetensors_folder(folder.path(), plan, {1, {0, 0, 4}});
  for (std::size_t i = 0; i < plan.size(); ++i) writer->write(filled(60, static_cast<int>(i)));
  writer->finish();
  const auto source = open_checkpoint(folder.path());
  ASSERT_EQ(source->files().size(), 2u);
  EXPECT_EQ(source->at("b").file, 0u);
  EXPECT_EQ(source->at("c").file, 1u);
  const auto index = nlohmann::json::parse(read_file(folder.path() / "model.safetensors.index.json"));
  EXPECT_EQ(index["metadata"]["total_size"], 180);
  for (const Sharding& bad : {Sharding{1, {0, 0}}, Sharding{1, {0, 1, 0}}}) {
    expect_error(Category::InvalidArgument, "one for each tensor",
                 [&] { write_safetensors_folder(folder.path() / "no", plan, bad); });
  }
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "no"));
}

TEST(Writer, OneFileWhereItFits) {
  const Folder folder;
  const auto writer = write_safetensors_folder(folder.path(), {{"a", DType::U8, {60}}});
  writer->write(filled(60, 1));
  writer->finish();
  EXPECT_TRUE(std::filesystem::exists(folder.path() / "model.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "model.safetensors.index.json"));
}

TEST(Writer, RefusesWhatDoesNotFitThePlanAndLeavesNothing) {
  const Folder folder;
  const auto path = folder.path() / "m.safetensors";
  {
    const auto writer = write_safetensors(path, {{"a", DType::U8, {4}}});
    expect_error(Category::InvalidArgument, "needs 4 bytes, 3", [&] { writer->write(filled(3, 0)); });
    expect_error(Category::InvalidArgument, "'a' was planned", [&] { writer->finish(); });
    writer->write(filled(4, 0));
    expect_error(Category::InvalidArgument, "more tensors", [&] { writer->write(filled(4, 0)); });
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  expect_error(Category::Unsupported, "Q4_0", [&] { write_safetensors(path, {{"a", DType::Q4_0, {32}}}); });
  expect_error(Category::InvalidArgument, "'a'", [&] {
    write_safetensors(path, {{"a", DType::U8, {1}}, {"a", DType::U8, {1}}});
  });
  expect_error(Category::InvalidArgument, "only those", [&] { write_safetensors(path, {}, {{"x", 1}}); });
  expect_error(Category::Unsupported, "BOOL", [&] {
    write_gguf(folder.path() / "m.gguf", {{"a", DType::Bool, {1}}}, nlohmann::json::object());
  });
  expect_error(Category::InvalidArgument, "mixes", [&] {
    write_gguf(folder.path() / "m.gguf", {}, {{"k", {1, "x"}}});
  });
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Writer, AFullDiskLeavesNothing) {
  const Folder folder;
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto old = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  expect_error(Category::ResourceExhausted, "free some space", [&] {
    const auto writer = write_safetensors(folder.path() / "m.safetensors", {{"a", DType::U8, {10000}}});
    writer->write(filled(10000, 0));
  });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Writer, AFolderThatCannotBeWrittenIsNamed) {
  const Folder folder;
  const auto file = folder.file("file", "x");
  expect_error(Category::Io, "file", [&] { write_safetensors(file / "m.safetensors", {}); });
  expect_error(Category::Io, "/proc", [&] { write_safetensors("/proc/m.safetensors", {}); });
}

}  // namespace
}  // namespace graft
