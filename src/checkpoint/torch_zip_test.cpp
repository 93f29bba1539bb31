#include "checkpoint/torch_zip.h"

#include "checkpoint/fixture_test.h"
#include "checkpoint/pickle.h"

namespace graft {
namespace {

using testing::expect_error;
using testing::Folder;
using testing::seed;

std::vector<float> values(const TensorSource& source, const char* name) {
  const TensorInfo& info = source.at(name);
  std::vector<float> out(static_cast<std::size_t>(info.elements()));
  to_float(info.dtype, source.bytes(info), out);
  return out;
}

TEST(TorchZip, ReadsTensorsViewsAndParameters) {
  const auto source = open_checkpoint(seed("torch_zip_fuzz/plain.pt"));
  EXPECT_EQ(source->format(), "pytorch");
  EXPECT_EQ(source->tensors().size(), 6u);
  EXPECT_EQ(values(*source, "w"), (std::vector<float>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}));
  EXPECT_EQ(source->at("t").shape, (std::vector<std::int64_t>{4, 3}));
  EXPECT_EQ(values(*source, "t"), (std::vector<float>{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11}));
  EXPECT_EQ(values(*source, "slice"), (std::vector<float>{5, 6, 9, 10}));
  EXPECT_EQ(values(*source, "half"), (std::vector<float>{1.0f, -0.5f}));
  EXPECT_EQ(values(*source, "p"), (std::vector<float>{3}));
  EXPECT_EQ(source->at("n").dtype, DType::I64);
}

// Strides (1, 2^63 - 1, 2): the sanitizer build stops where it is added to anything.
TEST(TorchZip, TheStrideOfAnAxisOfOneValueHasNoSay) {
  const auto source = open_checkpoint(seed("torch_zip_fuzz/huge_stride.pt"));
  EXPECT_EQ(source->at("w").shape, (std::vector<std::int64_t>{2, 1, 3}));
  EXPECT_EQ(values(*source, "w"), (std::vector<float>{0, 2, 4, 1, 3, 5}));
}

TEST(TorchZip, FindsTheStateDictInsideATrainingCheckpoint) {
  const auto source = open_checkpoint(seed("torch_zip_fuzz/wrapped.pt"));
  ASSERT_EQ(source->tensors().size(), 1u);
  EXPECT_EQ(source->tensors()[0].name, "w");
}

TEST(TorchZip, ExecutesNothingAndNamesTheGlobal) {
  expect_error(Category::Unsupported, "'posix.system'", [] { open_checkpoint(seed("torch_zip_fuzz/evil.pt")); });
  expect_error(Category::Unsupported, "'os.system'", [] {
    read_pickle(
        "\x80\x02"
        "cos\nsystem\nX\x02\x00\x00\x00id\x85R.",
        "evil");
  });
}

TEST(TorchZip, RefusesBadPickles) {
  using namespace std::string_literals;
  const std::vector<std::tuple<std::string, Category, const char*>> cases = {
      {"", Category::Corruption, "ends too early"},
      {"\x80\x02"s, Category::Corruption, "ends too early"},
      {"\x80\x09.", Category::Unsupported, "protocol 9"},
      {"\x80\x02N0.", Category::Corruption, "one value"},
      {"\x80\x02.", Category::Corruption, "one value"},
      {"\x80\x02u.", Category::Corruption, "mark"},
      {"\x80\x02h\x05.", Category::Corruption, "never stored"},
      {"\x80\x02X\xff\xff\xff\xffzz.", Category::Corruption, "ends too early"},
      {"\x80\x02NQ.", Category::Corruption, "persistent id"},
      {"\x80\x02i.", Category::Unsupported, "opcode 0x69"},
      {"\x80\x02\x81.", Category::Unsupported, "opcode 0x81"},
      {"\x80\x02(N.", Category::Corruption, "one value"},
      {"\x80\x02"
       "ctorch._utils\n_rebuild_tensor_v2\n)R.",
       Category::Corruption, "no storage"},
      {"\x80\x02N)R.", Category::Corruption, "no global"},
  };
  for (const auto& [stream, category, says] : cases)
    expect_error(category, says, [&stream = stream] { read_pickle(stream, "p"); });
}

TEST(TorchZip, APickleThatRepeatsItselfStaysSmall) {
  // One list of 100 pairs, made into a dictionary again and again.
  std::string stream = "\x80\x02](";
  for (int i = 0; i < 100; ++i) stream += "NN\x86";
  stream += "eq";
  stream += '\0';
  for (int i = 0; i < 100000; ++i) stream += std::string("0ccollections\nOrderedDict\nh\0\x85R", 30);
  stream += '.';
  expect_error(Category::Unsupported, "more than", [&] { read_pickle(stream, "bomb"); });
}

TEST(TorchZip, EveryTruncationIsRefused) {
  const std::string whole = read_file(seed("torch_zip_fuzz/plain.pt"));
  const Folder folder;
  for (std::size_t size = 0; size < whole.size(); size += 11) {
    const auto path = folder.file("cut.pt", whole.substr(0, size));
    expect_error(Category::Corruption, "cut.pt", [&] { open_checkpoint(path); });
  }
}

TEST(TorchZip, AFlippedBitIsFound) {
  const std::string whole = read_file(seed("torch_zip_fuzz/plain.pt"));
  const std::uint64_t at = open_checkpoint(seed("torch_zip_fuzz/plain.pt"))->at("w").offset;
  const Folder folder;
  std::string flipped = whole;
  flipped[at + 5] ^= 0x10;
  const auto source = open_checkpoint(folder.file("flipped.pt", flipped));
  for (int attempt = 0; attempt < 2; ++attempt) {
    expect_error(Category::Corruption, "checksum", [&] { source->bytes(source->at("w")); });
  }
  flipped = whole;
  flipped[whole.find("torch._utils")] ^= 1;
  expect_error(Category::Corruption, "checksum", [&] { open_checkpoint(folder.file("flipped.pt", flipped)); });
}

TEST(TorchZip, NamesWhatElseAZipMayBe) {
  const Folder folder;
  std::string compressed = read_file(seed("torch_zip_fuzz/wrapped.pt"));
  compressed[compressed.find("PK\x01\x02") + 10] = 8;
  expect_error(Category::Unsupported, "compressed", [&] { open_checkpoint(folder.file("c.pt", compressed)); });
  expect_error(Category::Unsupported, "before 1.6", [&] {
    open_checkpoint(folder.file("o.bin",
                                "\x80\x02\x8a\x0al\xfc\x9c"
                                "F\xf9 j\xa8P\x19."));
  });
  for (const char* name : {"p.bin", "p.pt", "p.pkl"})
    expect_error(Category::Unsupported, "is a bare pickle", [&] { open_checkpoint(folder.file(name, "\x80\x04}.")); });
  const std::string empty = std::string("PK\x05\x06", 4) + std::string(18, '\0');
  expect_error(Category::Corruption, "without data.pkl", [&] { open_checkpoint(folder.file("e.pt", empty)); });
}

}  // namespace
}  // namespace graft
