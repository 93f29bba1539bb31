// Adapters as llama.cpp's GGUF files, and adapters merged into GGUF models, as a user meets them.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "checkpoint/writer.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

class GgufAdapter : public ::testing::Test {
 protected:
  GgufAdapter() {
    write_model(folder() / "model");
    write_gguf_model(folder() / "model.gguf", DType::Q8_0);
    write_rows(folder() / "rows.jsonl", 20);
  }

  const fs::path& folder() const { return folder_.path(); }
  Outcome run(const std::vector<std::string>& arguments) const { return graft(folder(), arguments); }

  void tune(const std::string& model, const std::vector<std::string>& sets = {}) const {
    std::vector<std::string> arguments = {"tune", "--model",        model,   "--data",   "rows.jsonl", "--text-column",
                                          "text", "--label-column", "label", "--recipe", "lora",       "--steps",
                                          "5",    "--shots",        "4",     "--output", "run"};
    for (const auto& set : sets) arguments.insert(arguments.end(), {"--set", set});
    const Outcome tuned = run(arguments);
    ASSERT_EQ(tuned.code, 0) << tuned.err;
  }

  Outcome convert(const std::string& model, const std::string& from, const std::string& to) const {
    return run({"convert", from, "--model", model, "--output", to});
  }
  std::string generated(const std::string& model, const std::string& adapter) const {
    const Outcome end = run({"generate", "--model", model, "--adapter", adapter, "--prompt", "the coach", "--dtype",
                             "float32", "--max-new-tokens", "8"});
    EXPECT_EQ(end.code, 0) << end.err;
    return end.out;
  }

 private:
  Folder folder_;
};

TEST_F(GgufAdapter, GoesFromPeftToGgufAndBackUnchanged) {
  for (const std::string model : {"model", "model.gguf"}) {
    SCOPED_TRACE(model);
    tune(model);
    const Outcome there = convert(model, "run/adapter", "lora.gguf");
    ASSERT_EQ(there.code, 0) << there.err;
    EXPECT_NE(there.out.find("llama.cpp's layout"), std::string::npos) << there.out;
    const Outcome back = convert(model, "lora.gguf", "back");
    ASSERT_EQ(back.code, 0) << back.err;
    EXPECT_EQ(read_file(folder() / "back/adapter_model.safetensors"),
              read_file(folder() / "run/adapter/adapter_model.safetensors"));
    EXPECT_EQ(generated(model, "lora.gguf"), generated(model, "run/adapter"));
    const Outcome inspected = run({"inspect", "lora.gguf"});
    ASSERT_EQ(inspected.code, 0) << inspected.err;
    for (const char* part : {"attn_q, attn_v (4 maps)", "rank               8", "base               sha256 "})
      EXPECT_NE(inspected.out.find(part), std::string::npos) << part << " in\n" << inspected.out;
    for (const char* made : {"run", "back", "lora.gguf"}) fs::remove_all(folder() / made);
  }
}

TEST_F(GgufAdapter, AFlippedBitOfItsNumbersIsTold) {
  tune("model");
  ASSERT_EQ(convert("model", "run/adapter", "lora.gguf").code, 0);
  const std::uint64_t first = open_checkpoint(folder() / "lora.gguf")->tensors().front().offset;
  std::string bytes = read_file(folder() / "lora.gguf");
  bytes[first] = static_cast<char>(bytes[first] ^ 1);
  write_file(folder() / "lora.gguf", bytes);
  expect_refused(convert("model", "lora.gguf", "back"), 4,
                 {"lora.gguf: its tensors are not those that it was saved with", "fetch it again"});
  EXPECT_FALSE(fs::exists(folder() / "back"));
}

TEST_F(GgufAdapter, AMergedFileIsAModelThatVerifies) {
  tune("model.gguf", {"optimizer.lr=0.1"});
  const Outcome merged = run({"merge", "--model", "model.gguf", "--adapter", "run/adapter", "--output", "merged.gguf"});
  ASSERT_EQ(merged.code, 0) << merged.err;
  for (const char* part : {"4 changed by the lora adapter and written as Q8_0", "survives the rounding", "worst"})
    EXPECT_NE(merged.out.find(part), std::string::npos) << part << " in\n" << merged.out;
  EXPECT_EQ(fs::file_size(folder() / "merged.gguf"), fs::file_size(folder() / "model.gguf"));
  const auto before = open_checkpoint(folder() / "model.gguf"), after = open_checkpoint(folder() / "merged.gguf");
  EXPECT_EQ(after->metadata(), before->metadata());
  EXPECT_NE(content_hash(*after), content_hash(*before));
  const Outcome verified = run({"verify", "--model", "merged.gguf", "--data", "rows.jsonl", "--text-column", "text",
                                "--label-column", "label", "--rows", "4"});
  EXPECT_EQ(verified.code, 0) << verified.out << verified.err;
  EXPECT_TRUE(leftovers(folder()).empty());
}

TEST_F(GgufAdapter, AChangeThatIsRoundedAwayIsToldWithItsFix) {
  write_gguf_model(folder() / "model.gguf", DType::Q4_0);
  tune("model.gguf", {"optimizer.lr=1e-4"});
  const Outcome merged = run({"merge", "--model", "model.gguf", "--adapter", "run/adapter", "--output", "merged.gguf"});
  ASSERT_EQ(merged.code, 0) << merged.err;
  EXPECT_NE(merged.err.find("was rounded away; merge again with --dtype q8_0 or float16"), std::string::npos)
      << merged.out << merged.err;
  const Outcome wider = run(
      {"merge", "--model", "model.gguf", "--adapter", "run/adapter", "--output", "wider.gguf", "--dtype", "float32"});
  ASSERT_EQ(wider.code, 0) << wider.err;
  EXPECT_EQ(wider.err.find("rounded away"), std::string::npos) << wider.err;
  EXPECT_GT(fs::file_size(folder() / "wider.gguf"), fs::file_size(folder() / "merged.gguf"));
}

void write_lora(const fs::path& file, const std::string& architecture, const std::string& tensor, std::int64_t in) {
  const std::vector<TensorPlan> plan = {{tensor + ".lora_a", DType::F32, {2, in}},
                                        {tensor + ".lora_b", DType::F32, {32, 2}}};
  const auto writer = write_gguf(file, plan,
                                 {{"general.type", "adapter"},
                                  {"general.architecture", architecture},
                                  {"adapter.type", "lora"},
                                  {"adapter.lora.alpha", 4.0}});
  writer->write(std::vector<std::byte>(static_cast<std::size_t>(2 * in * 4)));
  writer->write(std::vector<std::byte>(32 * 2 * 4));
  writer->finish();
}

TEST_F(GgufAdapter, FilesThatDoNotFitAreRefused) {
  const fs::path file = folder() / "lora.gguf";
  write_lora(file, "llama", "blk.1.attn_q.weight", 32);
  EXPECT_EQ(convert("model", "lora.gguf", "fits").code, 0);
  const auto used = [&] {
    return run({"generate", "--model", "model", "--adapter", "lora.gguf", "--prompt", "the", "--max-new-tokens", "2"});
  };
  write_lora(file, "gemma3", "blk.1.attn_q.weight", 32);
  expect_refused(used(), 2, {"lora.gguf", "'gemma3'", "'llama'"});
  write_lora(file, "llama", "blk.7.attn_q.weight", 32);
  expect_refused(used(), 4, {"blk.7.attn_q.weight.lora_a", "no place"});
  write_lora(file, "llama", "token_embd.weight", 32);
  expect_refused(used(), 4, {"token_embd.weight", "no [tokens, rank]"});
  write_lora(file, "llama", "output.weight", 32);
  expect_refused(used(), 4, {"output.weight", "from 32 to 32"});
  write_lora(file, "llama", "blk.1.attn_q.weight", 64);
  expect_refused(used(), 4, {"blk.1.attn_q.weight", "from 64 to 32"});
  const std::string whole = read_file(file);
  write_file(file, whole.substr(0, whole.size() / 2));
  expect_refused(used(), 4, {"lora.gguf"});
  fs::copy_file(folder() / "model.gguf", file, fs::copy_options::overwrite_existing);
  expect_refused(used(), 2, {"lora.gguf", "not an adapter"});
  EXPECT_FALSE(fs::exists(folder() / "no"));
}

TEST_F(GgufAdapter, OutputsThatCannotBeAreRefused) {
  tune("model");
  ASSERT_EQ(convert("model", "run/adapter", "lora.gguf").code, 0);
  expect_refused(convert("model", "run/adapter", "lora.gguf"), 2, {"lora.gguf", "there already"});
  expect_refused(run({"merge", "--model", "model", "--adapter", "run/adapter", "--output", "merged.gguf"}), 2,
                 {"merged.gguf", "give a folder"});
  expect_refused(
      run({"merge", "--model", "model", "--adapter", "run/adapter", "--output", "merged", "--dtype", "q8_0"}), 2,
      {"q8_0", "NAME.gguf"});
  EXPECT_FALSE(fs::exists(folder() / "merged.gguf"));
}

}  // namespace
}  // namespace graft::e2e
