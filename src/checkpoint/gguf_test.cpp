#include "checkpoint/gguf.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "base/hash.h"
#include "checkpoint/fixture_test.h"
#include "checkpoint/writer.h"

namespace graft {
namespace {

using testing::expect_error;
using testing::Folder;

template <typename T>
std::string raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

std::string text(const std::string& value) {
  return raw<std::uint64_t>(value.size()) + value;
}

std::string head(std::uint64_t tensors, std::uint64_t values, std::uint32_t version = 3) {
  return "GGUF" + raw(version) + raw(tensors) + raw(values);
}

std::string tensor(const std::string& name, std::vector<std::uint64_t> reversed_shape, std::uint32_t type,
                   std::uint64_t offset) {
  std::string entry = text(name) + raw<std::uint32_t>(static_cast<std::uint32_t>(reversed_shape.size()));
  for (std::uint64_t size : reversed_shape) entry += raw(size);
  return entry + raw(type) + raw(offset);
}

std::string padded(std::string file, std::size_t data) {
  file.resize((file.size() + 31) / 32 * 32 + data, '\0');
  return file;
}

void expect_values(const std::string& file, const std::vector<std::pair<std::string, std::string>>& expected) {
  const auto source = open_checkpoint(testing::seed("gguf_fuzz/" + file));
  for (const auto& [name, hash] : expected) {
    const TensorInfo& info = source->at(name);
    std::vector<float> values(static_cast<std::size_t>(info.elements()));
    to_float(info.dtype, source->bytes(info), values);
    Sha256 digest;
    digest.update(std::as_bytes(std::span(values)));
    EXPECT_EQ(digest.finish(), hash) << name;
  }
}

// SHA-256 of the fp32 values that the `gguf` Python package 0.19 gives for the random blocks in these files.
TEST(Gguf, DequantisesAsTheReferenceBitForBit) {
  expect_values("types.gguf", {{"q8_0", "a7d627869b0b5788e7328c6d8311cb1029e001fdafd69e5eeb88acd35f8821a9"},
                               {"q4_0", "391c637d2273997c490c4fb12a1be7eec67427ee55a24350570d07b6f17eb546"},
                               {"q4_1", "311d88a234ec098d84421897a51755c63e03c5cfeaa143741dae61ec12055ee9"},
                               {"q5_0", "fee5ea67591f924715d8031be299a0fa91346d2d497aa8bfd9e35a02350fcf5e"},
                               {"q5_1", "75dbcfc40881a06519afcb4772d7271c9dd2787b8f10800fbfcf6e2ba82b7390"},
                               {"q4_k", "534df3109775bb48561e4c60fdd152d2f08f302eb804051c0de35898e76e5e53"},
                               {"q5_k", "2ec1efc0f7ddbca7456212cd6d068a4d247a154afcc573f3a60d71c911424fff"},
                               {"q6_k", "aa3aaed2f0fb91290d363d94b04f8e417ebaf09bd3ee2cdc3f8487979d3213a6"}});
  expect_values("low_bits.gguf", {{"q2_k", "a0e0c46f3aa7d927c0412c52d786abe004899d3c80eaa8d4448749aa4c03b56e"},
                                  {"q3_k", "d256c4508b4b74a8b616847c0cfba787d7413f45f91354204e62d5ab9081d3fb"},
                                  {"iq4_nl", "bb7ea1457e79662920fde3d918bec634a3f17308def541f08f4c2884e62db802"}});
}

TEST(Gguf, ThreadsDoNotChangeTheValues) {
  const auto source = open_checkpoint(testing::seed("gguf_fuzz/types.gguf"));
  const auto block = source->bytes(source->at("q4_1"));
  constexpr std::size_t kRepeats = 20000;
  std::vector<std::byte> many;
  for (std::size_t i = 0; i < kRepeats; ++i) many.insert(many.end(), block.begin(), block.end());
  std::vector<float> once(192), all(192 * kRepeats);
  to_float(DType::Q4_1, block, once);
  to_float(DType::Q4_1, many, all);
  for (std::size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], once[i % 192]);
}

TEST(Gguf, ReadsMetadataOfEveryType) {
  std::string values;
  values += text("u8") + raw(0u) + raw<std::uint8_t>(200);
  values += text("i8") + raw(1u) + raw<std::int8_t>(-7);
  values += text("u16") + raw(2u) + raw<std::uint16_t>(60000);
  values += text("i16") + raw(3u) + raw<std::int16_t>(-300);
  values += text("u32") + raw(4u) + raw<std::uint32_t>(4000000000u);
  values += text("i32") + raw(5u) + raw<std::int32_t>(-5);
  values += text("f32") + raw(6u) + raw(0.5f);
  values += text("bool") + raw(7u) + raw<std::uint8_t>(1);
  values += text("string") + raw(8u) + text("héllo");
  values += text("array") + raw(9u) + raw(9u) + raw<std::uint64_t>(1) + raw(8u) + raw<std::uint64_t>(2) + text("x") +
            text("y");
  values += text("u64") + raw(10u) + raw<std::uint64_t>(~0ULL);
  values += text("i64") + raw(11u) + raw<std::int64_t>(-1LL << 40);
  values += text("f64") + raw(12u) + raw(0.1);
  const Folder folder;
  for (std::uint32_t version : {2u, 3u}) {
    const auto source = open_checkpoint(folder.file("m.gguf", head(0, 13, version) + values));
    const auto expected = nlohmann::json::parse(
        R"({"u8":200,"i8":-7,"u16":60000,"i16":-300,"u32":4000000000,"i32":-5,"f32":0.5,"bool":true,"string":"héllo",
            "array":[["x","y"]],"u64":18446744073709551615,"i64":-1099511627776,"f64":0.1})");
    EXPECT_EQ(source->metadata(), expected);
  }
}

TEST(Gguf, UndoesTheReversedShape) {
  const Folder folder;
  const auto source = open_checkpoint(folder.file("m.gguf", padded(head(1, 0) + tensor("t", {3, 2}, 0, 0), 24)));
  EXPECT_EQ(source->at("t").shape, (std::vector<std::int64_t>{2, 3}));
}

TEST(Gguf, RefusesBadFiles) {
  const std::string array = text("k") + raw(9u);
  const std::vector<std::tuple<const char*, std::string, Category, const char*>> cases = {
      {"magic", "GGML" + raw(3u) + std::string(16, '\0'), Category::Corruption, "not a GGUF"},
      {"version", head(0, 0, 1), Category::Unsupported, "version 1"},
      {"big-endian", head(0, 0, 0x03000000), Category::Unsupported, "big-endian"},
      {"tensors", head(1ULL << 60, 0), Category::Corruption, "more than its"},
      {"values", head(0, 1ULL << 60), Category::Corruption, "more than its"},
      {"key", head(0, 1) + raw(~0ULL) + std::string(40, 'x'), Category::Corruption, "metadata key"},
      {"type", head(0, 1) + text("k") + raw(99u) + raw(0u), Category::Corruption, "value type 99"},
      {"array", head(0, 1) + array + raw(4u) + raw(1ULL << 61), Category::Corruption, "more than can be true"},
      {"nesting",
       head(0, 1) + array + raw(9u) + raw(1ULL) + raw(9u) + raw(1ULL) + raw(9u) + raw(1ULL) + raw(9u) + raw(1ULL) +
           raw(9u) + raw(0ULL),
       Category::Corruption, "nested"},
      {"twice", head(0, 2) + text("k") + raw(4u) + raw(0u) + text("k") + raw(4u) + raw(0u), Category::Corruption,
       "'k' is there twice"},
      {"alignment", head(0, 1) + text("general.alignment") + raw(4u) + raw(0u), Category::Corruption, "power of two"},
      {"petabytes", padded(head(1, 0) + tensor("t", {1ULL << 50}, 0, 0), 4), Category::Corruption, "truncated"},
      {"overflow", padded(head(1, 0) + tensor("t", {1ULL << 40, 1ULL << 40}, 0, 0), 4), Category::Corruption,
       "too large"},
      {"negative", padded(head(1, 0) + tensor("t", {~0ULL}, 0, 0), 4), Category::Corruption, "too large"},
      {"dimensions", padded(head(1, 0) + tensor("t", {1, 1, 1, 1, 1}, 0, 0), 4), Category::Corruption, "5 dimensions"},
      {"dtype", padded(head(1, 0) + tensor("t", {1}, 16, 0), 4), Category::Unsupported, "GGML type 16"},
      {"blocks", padded(head(1, 0) + tensor("t", {33}, 2, 0), 64), Category::Corruption, "whole Q4_0 blocks"},
      {"offset", padded(head(1, 0) + tensor("t", {1}, 0, 1ULL << 63), 4), Category::Corruption, "truncated"},
      {"unaligned", padded(head(1, 0) + tensor("t", {1}, 0, 4), 64), Category::Corruption, "alignment"},
      {"overlap", padded(head(2, 0) + tensor("a", {16}, 0, 0) + tensor("b", {16}, 0, 32), 128), Category::Corruption,
       "'a' and 'b' overlap"},
      {"names", padded(head(2, 0) + tensor("a", {1}, 0, 0) + tensor("a", {1}, 0, 32), 128), Category::Corruption,
       "'a' is there twice"},
      {"utf-8", padded(head(1, 0) + tensor("\xff", {1}, 0, 0), 4), Category::Corruption, "\\xff"},
  };
  const Folder folder;
  for (const auto& [what, file, category, says] : cases) {
    SCOPED_TRACE(what);
    const auto path = folder.file("bad.gguf", file);
    expect_error(category, says, [&] { open_checkpoint(path); });
  }
}

// A file's own arrays and settings of the tokenizer, with its tokens, their scores and an array in an array.
std::string with_tokenizer() {
  const auto array = [](const std::string& key, std::uint32_t type, std::uint64_t count) {
    return text(key) + raw(9u) + raw(type) + raw(count);
  };
  return head(0, 5) + array("general.sizes", 4, 1) + raw(7u) + array("tokenizer.ggml.tokens", 8, 2) + text("a") +
         text("bc") + array("tokenizer.ggml.scores", 6, 2) + raw(1.5F) + raw(-1.0F) + array("tokenizer.nested", 9, 1) +
         raw(8u) + raw(std::uint64_t{1}) + text("x") + text("tokenizer.ggml.model") + raw(8u) + text("gpt2");
}

TEST(Gguf, TheTokenizersArraysAreReadWhenTheyAreAskedFor) {
  const Folder folder;
  const auto source = open_checkpoint(folder.file("m.gguf", with_tokenizer()));
  nlohmann::json want = {{"general.sizes", {7}}, {"tokenizer.ggml.model", "gpt2"}};
  EXPECT_EQ(source->settings(), want);
  want["tokenizer.ggml.tokens"] = {"a", "bc"};
  want["tokenizer.ggml.scores"] = {1.5, -1.0};
  want["tokenizer.nested"] = nlohmann::json::array({nlohmann::json::array({"x"})});
  EXPECT_EQ(source->metadata(), want);
  EXPECT_EQ(source->metadata(), want);
  EXPECT_FALSE(source->settings().contains("tokenizer.ggml.tokens"));
}

TEST(Gguf, WhatIsWrongInTheTokenizersArraysIsRefusedAtOnce) {
  const Folder folder;
  const std::string whole = with_tokenizer();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const auto cut = folder.file("cut.gguf", whole.substr(0, size));
    expect_error(Category::Corruption, "cut.gguf", [&] { open_checkpoint(cut); });
  }
  const std::string tokens = text("tokenizer.t") + raw(9u) + raw(8u) + raw(std::uint64_t{0});
  const auto twice = folder.file("twice.gguf", head(0, 2) + tokens + tokens);
  expect_error(Category::Corruption, "'tokenizer.t' is there twice", [&] { open_checkpoint(twice); });
  const auto many = folder.file("many.gguf", head(0, 1) + text("tokenizer.t") + raw(9u) + raw(4u) + raw(1ULL << 61));
  expect_error(Category::Corruption, "more than can be true", [&] { open_checkpoint(many); });
}

TEST(Gguf, EveryTruncationIsRefused) {
  const std::string whole = read_file(testing::seed("gguf_fuzz/types.gguf"));
  const std::size_t data = whole.size() - 4600;
  const Folder folder;
  for (std::size_t size = 0; size < data; size += 7) {
    const auto path = folder.file("cut.gguf", whole.substr(0, size));
    expect_error(Category::Corruption, "cut.gguf", [&] { open_checkpoint(path); });
  }
}

TEST(Gguf, WritesWhatItReads) {
  const auto source = open_checkpoint(testing::seed("gguf_fuzz/types.gguf"));
  std::vector<TensorPlan> plan;
  for (const TensorInfo& info : source->tensors()) plan.push_back(plan_of(info));
  const Folder folder;
  const auto writer = write_gguf(folder.path() / "copy.gguf", plan, source->metadata());
  for (const TensorInfo& info : source->tensors()) writer->write(source->bytes(info));
  writer->finish();
  const auto copy = open_checkpoint(folder.path() / "copy.gguf");
  EXPECT_EQ(copy->metadata(), source->metadata());
  EXPECT_EQ(content_hash(*copy), content_hash(*source));
}

// As JSON a U8 would come back as U32, an F64 as F32.
TEST(Gguf, CopiesTheMetadataOfAnotherFileByteForByte) {
  const std::string values = text("general.alignment") + raw(4u) + raw(64u) + text("u8") + raw(0u) +
                             raw<std::uint8_t>(200) + text("f64") + raw(12u) + raw(0.1) + text("i16s") + raw(9u) +
                             raw(3u) + raw<std::uint64_t>(1) + raw<std::int16_t>(-300);
  const std::string entries = tensor("a", {2}, 0, 0) + tensor("b", {1}, 0, 64);
  std::string whole = head(2, 4) + values + entries;
  whole.resize((whole.size() + 63) / 64 * 64, '\0');
  whole += raw(1.5f) + raw(2.5f) + std::string(56, '\0') + raw(3.5f) + std::string(60, '\0');
  const Folder folder;
  const auto base = folder.file("base.gguf", whole);
  const auto source = open_checkpoint(base);
  const auto writer = write_gguf_copy(folder.path() / "copy.gguf", {plan_of(source->at("a")), plan_of(source->at("b"))},
                                      gguf_metadata(base));
  for (const TensorInfo& info : source->tensors()) writer->write(source->bytes(info));
  writer->finish();
  EXPECT_EQ(read_file(folder.path() / "copy.gguf"), whole);
  write_gguf_copy(folder.path() / "other.gguf", {}, gguf_metadata(base, {"f64"}), {{"f64", 7u}})->finish();
  auto expected = source->metadata();
  expected["f64"] = 7;
  EXPECT_EQ(open_checkpoint(folder.path() / "other.gguf")->metadata(), expected);
}

TEST(ToFloat, RefusesWhatHoldsNoNumbersAndWrongSizes) {
  std::vector<float> out(1);
  const std::vector<std::byte> bytes(4);
  expect_error(Category::Unsupported, "I32", [&] { to_float(DType::I32, bytes, out); });
  expect_error(Category::InvalidArgument, "not 1 values", [&] { to_float(DType::F16, bytes, out); });
}

TEST(ToFloat, ConvertsEdgesOfSmallTypes) {
  const auto half = [](std::uint16_t bits) {
    float value = 0;
    to_float(DType::F16, std::as_bytes(std::span(&bits, 1)), std::span(&value, 1));
    return value;
  };
  EXPECT_EQ(half(0x0001), 0x1p-24f);
  EXPECT_EQ(half(0x03ff), 1023 * 0x1p-24f);
  EXPECT_EQ(half(0x0400), 0x1p-14f);
  EXPECT_EQ(half(0x7bff), 65504.0f);
  EXPECT_EQ(half(0xfc00), -std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(half(0x7e00)));
  EXPECT_TRUE(std::signbit(half(0x8000)));
  const auto e4m3 = [](std::uint8_t bits) {
    float value = 0;
    to_float(DType::F8_E4M3, std::as_bytes(std::span(&bits, 1)), std::span(&value, 1));
    return value;
  };
  EXPECT_EQ(e4m3(0x7e), 448.0f);
  EXPECT_EQ(e4m3(0x01), 0x1p-9f);
  EXPECT_EQ(e4m3(0xb8), -1.0f);
  EXPECT_TRUE(std::isnan(e4m3(0x7f)));
}

}  // namespace
}  // namespace graft
