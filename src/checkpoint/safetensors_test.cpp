#include "checkpoint/safetensors.h"

#include <cstring>

#include "checkpoint/fixture_test.h"

namespace graft {
namespace {

using testing::expect_error;
using testing::Folder;

std::string with_header(const std::string& header, const std::string& data) {
  std::string file(8, '\0');
  const std::uint64_t length = header.size();
  std::memcpy(file.data(), &length, sizeof length);
  return file + header + data;
}

struct Bad {
  const char* what;
  std::string header;
  std::string data;
  Category category;
  const char* says;
};

TEST(Safetensors, ReadsWhatTheReferenceWrote) {
  const auto source = open_checkpoint(testing::seed("safetensors_fuzz/small.safetensors"));
  EXPECT_EQ(source->format(), "safetensors");
  EXPECT_EQ(source->metadata()["format"], "pt");
  const TensorInfo& a = source->at("a");
  EXPECT_EQ(a.shape, (std::vector<std::int64_t>{2, 3}));
  std::vector<float> values(6);
  to_float(a.dtype, source->bytes(a), values);
  EXPECT_EQ(values, (std::vector<float>{0, 1, 2, 3, 4, 5}));
  values.resize(2);
  to_float(DType::BF16, source->bytes(source->at("b")), values);
  EXPECT_EQ(values, (std::vector<float>{1.5f, -2.0f}));
  EXPECT_TRUE(source->at("s").shape.empty());
  EXPECT_EQ(source->find("c"), nullptr);
}

// A header of 640 bytes: its length begins as a pickle does.
TEST(Safetensors, IsNoPickleWhateverItsLength) {
  const Folder folder;
  std::string header = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
  header.resize(640, ' ');
  EXPECT_EQ(open_checkpoint(folder.file("m.bin", with_header(header, "x")))->format(), "safetensors");
}

TEST(Safetensors, NamesTheNearestTensor) {
  const Folder folder;
  const auto path = folder.file("m.safetensors",
                                with_header(R"({"model.norm":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "x"));
  const auto source = open_checkpoint(path);
  expect_error(Category::NotFound, "did you mean 'model.norm'", [&] { source->at("model.nrm"); });
}

TEST(Safetensors, RefusesBadHeaders) {
  const std::vector<Bad> cases = {
      {"truncated", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "1234", Category::Corruption,
       "truncated"},
      {"petabytes", R"({"a":{"dtype":"F32","shape":[1000000000000000],"data_offsets":[0,4000000000000000]}})", "1234",
       Category::Corruption, "4000 TB"},
      {"overflow", R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", "",
       Category::Corruption, "too large"},
      {"overlap",
       R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
       "123456", Category::Corruption, "'a' and 'b' overlap; fetch it again"},
      {"twice",
       R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})",
       "12", Category::Corruption, "'a' twice; fetch it again"},
      {"field twice", R"({"a":{"dtype":"U8","dtype":"I8","shape":[2],"data_offsets":[0,2]}})", "12",
       Category::Corruption, "'dtype' twice"},
      {"gap", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", "12", Category::Corruption,
       "belong to none; fetch it again"},
      {"tail", R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "12", Category::Corruption,
       "belong to none"},
      {"size", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,2]}})", "12", Category::Corruption,
       "needs 4 bytes"},
      {"negative", R"({"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,1]}})", "1", Category::Corruption,
       "'shape' holds -1"},
      {"dtype", R"({"a":{"dtype":"F3","shape":[1],"data_offsets":[0,1]}})", "1", Category::Unsupported, "dtype 'F3'"},
      {"no shape", R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", "1", Category::Corruption, "no 'shape'"},
      {"deep", R"({"a":[[[[[[[[]]]]]]]]})", "", Category::Corruption, "nested"},
      {"not json", "{nonsense", "", Category::Corruption, "not valid JSON"},
      {"not utf-8", "{\"\xff\":1}", "", Category::Corruption, "not valid JSON"},
      {"metadata", R"({"__metadata__":{"a":1}})", "", Category::Corruption, "not a string"},
      {"list", "[1]", "", Category::Corruption, "not a JSON object"},
  };
  const Folder folder;
  for (const Bad& bad : cases) {
    SCOPED_TRACE(bad.what);
    const auto path = folder.file("bad.safetensors", with_header(bad.header, bad.data));
    expect_error(bad.category, bad.says, [&] { open_checkpoint(path); });
  }
}

TEST(Safetensors, RefusesBadLengths) {
  const Folder folder;
  expect_error(Category::Corruption, "too few", [&] { open_checkpoint(folder.file("a.safetensors", "123")); });
  expect_error(Category::Corruption, "at most",
               [&] { open_checkpoint(folder.file("a.safetensors", std::string(64, '\xff'))); });
  const std::string length{100, 0, 0, 0, 0, 0, 0, 0};
  expect_error(Category::Corruption, "truncated",
               [&] { open_checkpoint(folder.file("a.safetensors", length + "{}")); });
}

TEST(Safetensors, EveryTruncationIsRefused) {
  const std::string whole = read_file(testing::seed("safetensors_fuzz/small.safetensors"));
  const Folder folder;
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto path = folder.file("cut.safetensors", whole.substr(0, size));
    expect_error(Category::Corruption, "cut.safetensors", [&] { open_checkpoint(path); });
  }
}

TEST(Safetensors, ShardsNeedTheirIndexToBeRight) {
  const Folder folder;
  folder.file("one.safetensors", with_header(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "x"));
  folder.file("two.safetensors", with_header(R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})", "y"));
  const auto index = [&](const std::string& map) {
    return folder.file("model.safetensors.index.json", R"({"weight_map":)" + map + "}");
  };
  index(R"({"a":"one.safetensors","b":"two.safetensors"})");
  const auto source = open_checkpoint(folder.path());
  EXPECT_EQ(source->files().size(), 2u);
  EXPECT_EQ(static_cast<char>(source->bytes(source->at("b"))[0]), 'y');
  expect_error(Category::NotFound, "three.safetensors",
               [&] { open_checkpoint(index(R"({"a":"three.safetensors"})")); });
  expect_error(Category::Corruption, "'b' is not in", [&] { open_checkpoint(index(R"({"b":"one.safetensors"})")); });
  for (const char* elsewhere : {"../one.safetensors", "..", ".", ""}) {
    expect_error(Category::Corruption, "beside the index",
                 [&] { open_checkpoint(index(fmt::format(R"({{"a":"{}"}})", elsewhere))); });
  }
  expect_error(Category::Corruption, "weight_map", [&] { open_checkpoint(index("[]")); });
}

TEST(Safetensors, AnIndexThatLeadsBackToItselfIsRefused) {
  const Folder folder;
  const auto index = folder.file("model.safetensors.index.json", R"({"weight_map":{"a":"other.index.json"}})");
  folder.file("other.index.json", R"({"weight_map":{"a":"model.safetensors.index.json"}})");
  expect_error(Category::Corruption, "'other.index.json'", [&] { open_checkpoint(index); });
  std::filesystem::create_directories(folder.path() / "shard");
  folder.file("model.safetensors.index.json", R"({"weight_map":{"a":"shard"}})");
  expect_error(Category::Corruption, "is no file", [&] { open_checkpoint(index); });
}

TEST(OpenCheckpoint, SaysWhatItLookedFor) {
  const Folder folder;
  expect_error(Category::NotFound, "model.safetensors", [&] { open_checkpoint(folder.path()); });
  expect_error(Category::NotFound, "no such", [&] { open_checkpoint(folder.path() / "absent"); });
  expect_error(Category::Unsupported, "no checkpoint",
               [&] { open_checkpoint(folder.file("a.txt", "hello world, hello")); });
}

TEST(ContentHash, DoesNotDependOnShardingOrOrder) {
  const Folder folder;
  const std::string a = R"("a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})",
                    b = R"("b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  folder.file("one.safetensors", with_header("{" + a + "}", "x"));
  folder.file("two.safetensors", with_header("{" + b + "}", "y"));
  folder.file("model.safetensors.index.json", R"({"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  const std::string a2 = R"("a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]})";
  const auto whole = folder.file("whole.safetensors", with_header("{" + a2 + "," + b + "}", "yx"));
  const auto other = folder.file("other.safetensors", with_header("{" + a2 + "," + b + "}", "yz"));
  const std::string hash = content_hash(*open_checkpoint(folder.path()));
  EXPECT_EQ(hash, content_hash(*open_checkpoint(whole)));
  EXPECT_NE(hash, content_hash(*open_checkpoint(other)));
}

}  // namespace
}  // namespace graft
