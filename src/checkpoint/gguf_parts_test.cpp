#include "checkpoint/gguf_parts.h"

#include "checkpoint/fixture_test.h"
#include "checkpoint/gguf.h"
#include "checkpoint/writer.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::expect_error;
using testing::Folder;

std::string part_file(int number, int count = 3) {
  return fmt::format("tiny-{:05}-of-{:05}.gguf", number, count);
}

std::vector<std::byte> four(float value) {
  const std::vector<float> values(4, value);
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

// A part with one tensor of four values that are its number.
void write_part(const fs::path& path, int number, const std::string& tensor, const json& keys) {
  const auto writer = write_gguf(path, {{tensor, DType::F32, {4}}}, keys);
  writer->write(four(static_cast<float>(number)));
  writer->finish();
}

json keys_of(unsigned number, unsigned count = 3) {
  json keys = {{"split.no", number - 1}, {"split.count", count}, {"split.tensors.count", 3}};
  if (number == 1) keys["general.architecture"] = "llama";
  return keys;
}

json of_a_whole() {
  json keys = json::object();
  keys["general.architecture"] = "llama";
  return keys;
}

class GgufPartsTest : public ::testing::Test {
 protected:
  GgufPartsTest() {
    for (int number = 1; number <= 3; ++number) write_good(number);
  }
  fs::path part(int number) const { return folder_.path() / part_file(number); }
  void write_good(int number) const {
    write_part(part(number), number, fmt::format("t{}", number), keys_of(static_cast<unsigned>(number)));
  }
  const fs::path& folder() const { return folder_.path(); }

 private:
  Folder folder_;
};

TEST_F(GgufPartsTest, ReadAsOneWhicheverIsNamed) {
  for (const fs::path& path : {part(1), part(2), part(3), folder()}) {
    SCOPED_TRACE(path);
    const auto source = open_checkpoint(path);
    EXPECT_EQ(source->format(), "gguf");
    EXPECT_EQ(source->metadata(), of_a_whole());
    ASSERT_EQ(source->files(), (std::vector<fs::path>{part(1), part(2), part(3)}));
    ASSERT_EQ(source->tensors().size(), 3u);
    for (int number = 1; number <= 3; ++number) {
      const auto bytes = source->bytes(source->at(fmt::format("t{}", number)));
      EXPECT_EQ((std::vector<std::byte>{bytes.begin(), bytes.end()}), four(static_cast<float>(number)));
    }
  }
}

// A copy is one file: it must not go on saying that it is a part.
TEST_F(GgufPartsTest, TheirMetadataIsThatOfAWhole) {
  const GgufMetadata metadata = gguf_metadata(part(1));
  EXPECT_EQ(metadata.count, 1u);
  write_gguf_copy(folder() / "whole.gguf", {}, metadata)->finish();
  EXPECT_EQ(open_gguf(folder() / "whole.gguf")->metadata(), of_a_whole());
}

TEST_F(GgufPartsTest, AMissingOneIsNamed) {
  fs::remove(part(2));
  for (const fs::path& path : {part(1), part(3), folder()})
    expect_error(Category::NotFound, "'tiny-00002-of-00003.gguf' is not beside it", [&] { open_checkpoint(path); });
}

TEST_F(GgufPartsTest, ThoseThatDoNotBelongTogetherAreRefused) {
  write_part(part(2), 2, "t2", keys_of(3));
  expect_error(Category::Corruption, "says that it is part 3 of 3", [&] { open_checkpoint(part(1)); });
  write_part(part(2), 2, "t2", keys_of(2, 4));
  expect_error(Category::Corruption, "part 2 of 4", [&] { open_checkpoint(part(1)); });
  write_part(part(2), 2, "t1", keys_of(2));
  expect_error(Category::Corruption, "tensor 't1' is in an earlier part", [&] { open_checkpoint(part(1)); });
  write_good(2);
  auto keys = keys_of(1);
  keys["split.tensors.count"] = 9;
  write_part(part(1), 1, "t1", keys);
  expect_error(Category::Corruption, "says that the model has 9 tensors", [&] { open_checkpoint(part(1)); });
  keys["split.count"] = "three";
  write_part(part(1), 1, "t1", keys);
  expect_error(Category::Corruption, "split.count is \"three\"", [&] { open_checkpoint(part(1)); });
}

TEST_F(GgufPartsTest, ANameThatSaysNothingIsRefused) {
  const fs::path path = folder() / "renamed.gguf";
  fs::copy_file(part(1), path);
  expect_error(Category::InvalidArgument, "NAME-00001-of-00003.gguf", [&] { open_checkpoint(path); });
  fs::remove(path);
  fs::copy_file(part(1), folder() / part_file(1, 2));
  expect_error(Category::InvalidArgument, "is one of 3 files", [&] { open_checkpoint(folder() / part_file(1, 2)); });
  expect_error(Category::InvalidArgument, "holds 4 GGUF files", [&] { open_checkpoint(folder()); });
}

TEST(GgufPartName, IsToldFromOthers) {
  const auto name = gguf_part_name("somewhere/a-b-00002-of-00010.gguf");
  ASSERT_TRUE(name.has_value());
  EXPECT_EQ(name->stem, "a-b");
  EXPECT_EQ(name->number, 2u);
  EXPECT_EQ(name->count, 10u);
  for (const char* other : {"a.gguf", "a-2-of-3.gguf", "a-00001-of-00002.safetensors", "00001-of-00002.gguf"})
    EXPECT_FALSE(gguf_part_name(other).has_value()) << other;
}

}  // namespace
}  // namespace graft
