#include "adapters/core/manifest.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error_test_support.h"
#include "checkpoint/fixture_test.h"
#include "nn/tensor_file.h"

namespace graft {
namespace {

using Json = nlohmann::json;
using testing::expect_error;
using testing::Folder;

constexpr std::int64_t kRows = 4096, kWidth = 64, kTable = kRows * kWidth;  // of the embeddings: more than all count

// A Llama of one layer. One value of the embeddings may be another.
std::unique_ptr<Model> one_layer(const Folder& folder, std::int64_t changed = -1) {
  const auto place = folder.path() / ("model" + std::to_string(changed));
  const Json config = {{"model_type", "llama"},         {"vocab_size", kRows},        {"hidden_size", kWidth},
                       {"intermediate_size", kWidth},   {"num_hidden_layers", 1},     {"num_attention_heads", 2},
                       {"max_position_embeddings", 64}, {"tie_word_embeddings", true}};
  write_file(place / "config.json", config.dump());
  at::Tensor embeddings = at::arange(kTable, at::kFloat).remainder(251).view({kRows, kWidth}).contiguous();
  if (changed >= 0) embeddings.view({-1})[changed] += 1;
  NamedTensors tensors = {{"model.embed_tokens.weight", embeddings}, {"model.norm.weight", at::ones({kWidth})}};
  const std::string layer = "model.layers.0.";
  for (const char* norm : {"input_layernorm", "post_attention_layernorm"})
    tensors.emplace_back(layer + norm + ".weight", at::ones({kWidth}));
  for (const char* map : {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
                          "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"})
    tensors.emplace_back(layer + map + ".weight", at::eye(kWidth));
  write_tensors(place / "model.safetensors", tensors);
  return load_model(place.string());
}

std::int64_t end_of(const Stretch& stretch) {
  return stretch.first + stretch.count;
}

TEST(Fingerprint, ASmallTensorCountsWhole) {
  for (const std::int64_t elements : {std::int64_t{1}, std::int64_t{5}, std::int64_t{1} << 17}) {
    const auto stretches = sampled_stretches(elements);
    ASSERT_EQ(stretches.size(), 1u);
    EXPECT_EQ(stretches.front().first, 0);
    EXPECT_EQ(stretches.front().count, elements);
  }
}

TEST(Fingerprint, OfALargeTensorStretchesFromEndToEndCount) {
  for (const std::int64_t elements : {std::int64_t{131073}, std::int64_t{1} << 20, std::int64_t{3'000'000'011}}) {
    SCOPED_TRACE(elements);
    const auto stretches = sampled_stretches(elements);
    EXPECT_EQ(stretches.size(), 66u);
    EXPECT_EQ(stretches.front().first, 0);
    EXPECT_EQ(end_of(stretches.back()), elements);
    std::int64_t values = stretches.front().count;
    for (std::size_t i = 1; i < stretches.size(); ++i) {
      const std::int64_t gap = stretches[i].first - end_of(stretches[i - 1]);
      EXPECT_GE(gap, 0) << i;
      EXPECT_LE(gap, elements / 63) << i;
      values += stretches[i].count;
    }
    EXPECT_EQ(values, 2 * 4096 + 64 * 1024);
  }
}

TEST(Fingerprint, OfTheFirstVersionTheEndsCount) {
  const auto large = sampled_stretches(1 << 20, 1), small = sampled_stretches(5, 1);
  ASSERT_EQ(large.size(), 2u);
  EXPECT_EQ(large[0].count, 1 << 14);
  EXPECT_EQ(large[1].first, (1 << 20) - (1 << 14));
  ASSERT_EQ(small.size(), 2u);
  EXPECT_EQ(small[1].first, 0);
  EXPECT_EQ(small[1].count, 5);
}

TEST(Fingerprint, FindsAChangeWhereItLooks) {
  const Folder folder;
  const auto base = one_layer(folder);
  const auto stretches = sampled_stretches(kTable);
  ASSERT_EQ(stretches.size(), 66u);
  const std::int64_t inside = stretches[30].first + 5, beside = end_of(stretches[30]) + 5;
  ASSERT_LT(beside, stretches[31].first);
  const auto within = one_layer(folder, inside);
  EXPECT_NE(base_fingerprint(*within), base_fingerprint(*base));
  EXPECT_EQ(base_fingerprint(*within, 1), base_fingerprint(*base, 1)) << "which the first version did not see";
  EXPECT_EQ(base_fingerprint(*one_layer(folder, beside)), base_fingerprint(*base)) << "one value between two blocks";
  EXPECT_NE(base_fingerprint(*one_layer(folder, 0), 1), base_fingerprint(*base, 1));
}

TEST(Fingerprint, SaysItsVersion) {
  const Folder folder;
  const auto base = one_layer(folder);
  EXPECT_EQ(version_of_fingerprint(base_fingerprint(*base), "file"), 2);
  EXPECT_EQ(version_of_fingerprint(base_fingerprint(*base, 1), "file"), 1);
  EXPECT_TRUE(base_fingerprint(*base, 1).starts_with("model.embed_tokens.weight 4096 64 "));
  expect_error(Category::Unsupported, "file: its file tells the base model by 'fingerprint 3'",
               [] { version_of_fingerprint("fingerprint 3\nmodel.norm.weight 8 0", "file"); });
}

TEST(Manifest, OfAnEarlierVersionIsHeldToItsRule) {
  const Folder folder;
  const auto base = one_layer(folder), in_the_middle = one_layer(folder, sampled_stretches(kTable)[30].first),
             at_the_beginning = one_layer(folder, 0);
  const auto check = [](const std::string& fingerprint, const Model& model) {
    return checked_manifest(Json{{"base", fingerprint}}.dump(), "file", "adapter", model);
  };
  const std::string earlier = base_fingerprint(*base, 1), present = base_fingerprint(*base);
  EXPECT_NO_THROW(check(earlier, *base));
  EXPECT_NO_THROW(check(earlier, *in_the_middle));
  EXPECT_NO_THROW(check(present, *base));
  const char* refused =
      "adapter: this adapter was trained on another base model: the first tensor that differs is "
      "'model.embed_tokens.weight";
  expect_error(Category::InvalidArgument, refused, [&] { check(earlier, *at_the_beginning); });
  expect_error(Category::InvalidArgument, refused, [&] { check(present, *at_the_beginning); });
  expect_error(Category::InvalidArgument, refused, [&] { check(present, *in_the_middle); });
  expect_error(Category::Unsupported, "'fingerprint 3'", [&] { check("fingerprint 3\n", *base); });
}

// Of the two letters, in this order.
std::shared_ptr<const Tokenizer> letters(const Folder& folder, const std::string& first, const std::string& second) {
  const Json file = {{"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
                     {"model", {{"type", "BPE"}, {"vocab", {{first, 0}, {second, 1}}}, {"merges", Json::array()}}}};
  return open_tokenizer(folder.file(first + ".json", file.dump()));
}

TEST(Manifest, AnotherTokenizerIsRefused) {
  const Folder folder;
  const auto own = letters(folder, "a", "b"), other = letters(folder, "b", "a");
  const Json manifest = {{kTokenizerKey, tokenizer_mark(*own)}};
  EXPECT_TRUE(tokenizer_mark(*own).starts_with("v2:"));
  EXPECT_NO_THROW(refuse_other_tokenizer(manifest, "adapter", *own));
  const std::string refused = error_of([&] { refuse_other_tokenizer(manifest, "adapter", *other); });
  EXPECT_TRUE(refused.starts_with("InvalidArgument adapter: this adapter was trained with another tokenizer (v2:"))
      << refused;
  for (const auto& tokenizer : {own, other})
    EXPECT_NE(refused.find(tokenizer_mark(*tokenizer).substr(0, 15)), std::string::npos) << refused;
  EXPECT_EQ(refused.find(own->hash()), std::string::npos) << "hashes are shortened: " << refused;
}

TEST(Manifest, WithoutAMarkOfThisVersionNoTokenizerIsRefused) {
  const Folder folder;
  const auto other = letters(folder, "b", "a");
  EXPECT_NO_THROW(refuse_other_tokenizer(Json(), "adapter", *other)) << "PEFT's own";
  EXPECT_NO_THROW(refuse_other_tokenizer(Json::object(), "adapter", *other));
  for (const std::string& mark : {std::string(64, '0'), "v1:" + std::string(64, '0'), std::string("v22:0")})
    EXPECT_NO_THROW(refuse_other_tokenizer({{kTokenizerKey, mark}}, "adapter", *other)) << mark;
}

}  // namespace
}  // namespace graft
