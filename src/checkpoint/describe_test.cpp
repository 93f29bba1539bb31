#include "checkpoint/describe.h"

#include "checkpoint/fixture_test.h"
#include "checkpoint/writer.h"

namespace graft {
namespace {

TEST(Describe, CountsWhatAFolderHolds) {
  const testing::Folder folder;
  const auto writer =
      write_safetensors_folder(folder.path(), {{"model.embed_tokens.weight", DType::F16, {10, 4}},
                                               {"model.layers.0.self_attn.q_proj.weight", DType::F16, {4, 4}},
                                               {"model.layers.0.mlp.up_proj.weight", DType::F32, {8, 4}},
                                               {"model.norm.weight", DType::F32, {4}}});
  for (std::size_t size : {80, 32, 128, 16}) writer->write(std::vector<std::byte>(size));
  writer->finish();
  folder.file("config.json", R"({"model_type":"llama"})");
  folder.file("merges.txt", "");
  const auto found = describe(folder.path());
  EXPECT_EQ(found["format"], "safetensors");
  EXPECT_EQ(found["architecture"], "llama");
  EXPECT_EQ(
      found["parameters"],
      nlohmann::json::parse(R"({"total":92,"embedding":40,"attention":16,"feed_forward":32,"norm":4,"other":0})"));
  EXPECT_EQ(
      found["dtypes"],
      nlohmann::json::parse(
          R"([{"dtype":"F16","tensors":2,"parameters":56,"bytes":112},{"dtype":"F32","tensors":2,"parameters":36,"bytes":144}])"));
  EXPECT_EQ(found["tensors"].size(), 4u);
  EXPECT_TRUE(found["adapter"].is_null());
  const std::string table = describe_table(found);
  EXPECT_NE(table.find("BPE"), std::string::npos) << table;
  EXPECT_NE(table.find("model.layers.0.mlp.up_proj.weight"), std::string::npos) << table;
  EXPECT_EQ(describe_table(found, false).find("model.layers.0.mlp"), std::string::npos);
  std::filesystem::remove(folder.path() / "merges.txt");
  for (const char* file : {"sentencepiece.bpe.model", "tokenizer.model", "spiece.model"}) {
    folder.file(file, "");
    EXPECT_EQ(describe(folder.path())["tokenizer"], "SentencePiece") << file;
    std::filesystem::remove(folder.path() / file);
  }
}

TEST(Describe, ReadsAnAdapterAndAGgufFile) {
  const testing::Folder folder;
  const auto writer = write_safetensors(folder.path() / "adapter_model.safetensors", {{"x.ia3_l", DType::F32, {4}}});
  writer->write(std::vector<std::byte>(16));
  writer->finish();
  folder.file("adapter_config.json", R"({"peft_type":"IA3","base_model_name_or_path":"org/base"})");
  EXPECT_NE(describe_table(describe(folder.path())).find("IA3 for org/base"), std::string::npos);
  const auto gguf = describe(testing::seed("gguf_fuzz/types.gguf"));
  EXPECT_EQ(gguf["architecture"], "llama");
  EXPECT_EQ(gguf["tensors"].size(), 12u);
  folder.file("adapter_config.json", "[");
  testing::expect_error(Category::Corruption, "adapter_config.json", [&] { describe(folder.path()); });
}

}  // namespace
}  // namespace graft
