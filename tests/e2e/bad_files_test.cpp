// Model and adapter files that are cut, damaged, hostile or somebody else's.
#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/rng.h"
#include "checkpoint/writer.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::int64_t kMostBytes = 1LL << 30;

class BadFiles : public ::testing::Test {
 protected:
  BadFiles() { write_model(model()); }

  fs::path model() const { return folder_.path() / "model"; }
  fs::path gguf() const {
    if (!fs::exists(folder_.path() / "model.gguf")) write_gguf_model(folder_.path() / "model.gguf");
    return folder_.path() / "model.gguf";
  }
  fs::path zip() const {
    return folder_.file("plain.pt",
                        read_file(fs::path(GRAFT_SOURCE_DIR) / "tests/fuzz/corpus/torch_zip_fuzz/plain.pt"));
  }
  fs::path adapter() const {
    if (!fs::exists(folder_.path() / "run")) {
      write_rows(folder_.path() / "rows.jsonl", 20);
      const Outcome tuned =
          run({"tune", "--model", "model", "--data", "rows.jsonl", "--text-column", "text", "--label-column", "label",
               "--recipe", "lora", "--output", "run", "--shots", "4", "--eval-rows", "4", "--steps", "2"});
      EXPECT_EQ(tuned.code, 0) << tuned.err;
    }
    return folder_.path() / "run/adapter";
  }

  Outcome run(const std::vector<std::string>& arguments) const {
    const Outcome outcome = graft(folder_.path(), arguments);
    EXPECT_LT(outcome.peak_bytes, kMostBytes);
    return outcome;
  }
  Outcome generate(const std::string& model, std::vector<std::string> more = {}) const {
    std::vector<std::string> arguments = {"generate", "--model",          model, "--prompt", "the coach", "--dtype",
                                          "float32",  "--max-new-tokens", "3"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  }

  static void expect_cuts_refused(const fs::path& file, const std::function<Outcome()>& use) {
    const std::string whole = read_file(file);
    ASSERT_EQ(use().code, 0) << use().err;
    for (const double share : {0.0, 0.001, 0.02, 0.3, 0.9, 0.9999}) {
      write_file(file, whole.substr(0, static_cast<std::size_t>(static_cast<double>(whole.size()) * share)));
      expect_refused(use(), 4, {file.filename().string()});
    }
    write_file(file, whole);
  }

  /// Flips one to four bits and asks only for an orderly end: success, or one line and the exit status of its kind.
  static void expect_flips_survived(const fs::path& file, const std::function<Outcome()>& use) {
    const char* asked = std::getenv("GRAFT_FLIPS");
    const int flips = asked != nullptr ? std::atoi(asked) : 16;
    ASSERT_GT(flips, 0) << "GRAFT_FLIPS is '" << asked << "', no whole number from 1 on; correct or unset it";
    const std::string whole = read_file(file);
    ASSERT_EQ(use().code, 0) << use().err;
    Rng rng(3);
    for (int flip = 0; flip < flips; ++flip) {
      std::string flipped = whole;
      for (std::uint64_t bits = 1 + rng.below(4); bits > 0; --bits) {
        // Half of them early, where a header is.
        const std::size_t end = rng.below(2) == 0 ? std::min<std::size_t>(whole.size(), 600) : whole.size();
        flipped[rng.below(end)] ^= static_cast<char>(1 << rng.below(8));
      }
      write_file(file, flipped);
      const Outcome end = use();
      SCOPED_TRACE("flip " + std::to_string(flip) + ": " + end.err);
      EXPECT_FALSE(end.timed_out);
      EXPECT_EQ(end.signal, 0);
      EXPECT_TRUE(end.code == 0 || (end.code >= 2 && end.code <= 7)) << end.code;
      EXPECT_EQ(end.complaints().size(), end.code == 0 ? 0u : 1u);
      if (HasFailure()) write_file(fs::temp_directory_path() / ("graft-flip-" + file.filename().string()), flipped);
      ASSERT_FALSE(HasFailure()) << "the damaged file is kept beside the temporary folders";
    }
    write_file(file, whole);
  }

  Folder folder_;
};

std::string little_endian(std::uint64_t value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

std::string safetensors(const std::string& header, std::size_t data) {
  return little_endian(header.size()) + header + std::string(data, '\0');
}

TEST_F(BadFiles, CutSafetensors) {
  expect_cuts_refused(model() / "model.safetensors", [this] { return generate("model"); });
}

TEST_F(BadFiles, CutGguf) {
  expect_cuts_refused(gguf(), [this] { return generate("model.gguf"); });
}

TEST_F(BadFiles, CutZip) {
  expect_cuts_refused(zip(), [this] { return run({"inspect", "plain.pt"}); });
}

TEST_F(BadFiles, FlippedBitsOfWeights) {
  expect_flips_survived(model() / "model.safetensors", [this] { return generate("model"); });
}

TEST_F(BadFiles, FlippedBitsOfTheConfiguration) {
  expect_flips_survived(model() / "config.json", [this] { return generate("model"); });
}

TEST_F(BadFiles, FlippedBitsOfTheTokenizer) {
  expect_flips_survived(model() / "tokenizer.json", [this] { return generate("model"); });
}

TEST_F(BadFiles, FlippedBitsOfGguf) {
  expect_flips_survived(gguf(), [this] { return generate("model.gguf"); });
}

TEST_F(BadFiles, FlippedBitsOfZip) {
  expect_flips_survived(zip(), [this] { return run({"inspect", "plain.pt"}); });
}

TEST_F(BadFiles, FlippedBitsOfAnAdapter) {
  const auto use = [this] { return generate("model", {"--adapter", "run/adapter"}); };
  expect_flips_survived(adapter() / "adapter_model.safetensors", use);
  expect_flips_survived(adapter() / "adapter_config.json", use);
}

// One that leaves the file whole and every number finite.
TEST_F(BadFiles, AFlippedBitOfAnAdaptersNumbersIsTold) {
  const auto file = adapter() / "adapter_model.safetensors";
  ASSERT_EQ(generate("model", {"--adapter", "run/adapter"}).code, 0);
  std::string bytes = read_file(file);
  const std::size_t lowest = bytes.size() - sizeof(float);  // of the last number
  bytes[lowest] = static_cast<char>(bytes[lowest] ^ 1);
  write_file(file, bytes);
  expect_refused(generate("model", {"--adapter", "run/adapter"}), 4,
                 {"adapter_model.safetensors: its tensors are not those that it was saved with", "fetch it again"});
}

TEST_F(BadFiles, AConfigurationThatCannotBe) {
  const Json sound = Json::parse(read_file(model() / "config.json"));
  for (const auto& [key, value] : std::vector<std::pair<std::string, Json>>{{"num_hidden_layers", 1LL << 31},
                                                                            {"num_hidden_layers", 1},
                                                                            {"head_dim", 1LL << 31},
                                                                            {"head_dim", 1LL << 27},
                                                                            {"head_dim", 8192},
                                                                            {"vocab_size", 1LL << 31},
                                                                            {"hidden_size", -16},
                                                                            {"vocab_size", "many"},
                                                                            {"num_attention_heads", 3},
                                                                            {"rms_norm_eps", -5},
                                                                            {"rms_norm_eps", 1e300},
                                                                            {"hidden_act", "sillu"},
                                                                            {"rope_theta", 0},
                                                                            {"model_type", "lama"}}) {
    Json wrong = sound;
    wrong[key] = value;
    write_file(model() / "config.json", wrong.dump());
    const Outcome end = generate("model");
    SCOPED_TRACE(key + " " + value.dump() + ": " + end.err);
    EXPECT_GE(end.code, 2);
    EXPECT_LE(end.code, 5);
    expect_refused(end, end.code, {"model/"});
  }
}

TEST_F(BadFiles, HeadersThatClaimPetabytes) {
  const auto weights = model() / "model.safetensors";
  write_file(weights, little_endian(1ULL << 60) + "{}");
  expect_refused(generate("model"), 4, {"model.safetensors: claims a header of 1152921504606846976 bytes"});
  write_file(weights, safetensors(R"({"model.norm.weight":{"dtype":"F32","shape":[16777216,16777216],)"
                                  R"("data_offsets":[0,1125899906842624]}})",
                                  64));
  expect_refused(generate("model"), 4, {"'model.norm.weight' claims 1126 TB", "truncated", "fetch it again"});
  const std::string three = "GGUF" + std::string("\3\0\0\0", 4);
  folder_.file("tensors.gguf", three + little_endian(1ULL << 50) + little_endian(0) + std::string(64, '\0'));
  expect_refused(run({"inspect", "tensors.gguf"}), 4, {"tensors.gguf: "});
  folder_.file("key.gguf", three + little_endian(0) + little_endian(1) + little_endian(1ULL << 50) + "general");
  expect_refused(run({"inspect", "key.gguf"}), 4, {"key.gguf: "});
}

TEST_F(BadFiles, OverlappingTensors) {
  folder_.file("overlap.safetensors", safetensors(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},)"
                                                  R"("b":{"dtype":"F32","shape":[4],"data_offsets":[8,24]}})",
                                                  24));
  expect_refused(run({"inspect", "overlap.safetensors"}), 4,
                 {"overlap.safetensors: tensors 'a' and 'b' overlap; fetch it again"});
}

// The rest of it is shown; what needs a tokenizer says that there is none.
TEST_F(BadFiles, AGgufFileWithoutATokenizer) {
  Json metadata;
  metadata["general.architecture"] = "llama";
  write_gguf(folder_.path() / "bare.gguf", {}, metadata)->finish();
  const Outcome shown = run({"inspect", "bare.gguf"});
  EXPECT_EQ(shown.code, 0) << shown.err;
  EXPECT_NE(shown.out.find("bare.gguf: holds no tokenizer"), std::string::npos) << shown.out;
  expect_refused(generate("bare.gguf"), 3, {"bare.gguf: holds no tokenizer", "use a file that has one"});
}

TEST_F(BadFiles, APickleThatCallsTheSystem) {
  fs::remove(model() / "model.safetensors");
  write_file(model() / "pytorch_model.bin",
             read_file(fs::path(GRAFT_SOURCE_DIR) / "tests/fuzz/corpus/torch_zip_fuzz/evil.pt"));
  const Outcome refused = generate("model");
  expect_refused(refused, 5, {"pytorch_model.bin: ", "'posix.system'"});
  EXPECT_EQ(refused.out, "");
}

TEST_F(BadFiles, TheTokenizerOfAnotherModel) {
  Json tokenizer = Json::parse(read_file(model() / "tokenizer.json"));
  for (int id = 259; id < 300; ++id) tokenizer["model"]["vocab"]["word" + std::to_string(id)] = id;
  write_file(model() / "tokenizer.json", tokenizer.dump());
  write_rows(folder_.path() / "rows.jsonl", 20);
  for (const auto& outcome :
       {generate("model"), run({"tune", "--model", "model", "--data", "rows.jsonl", "--text-column", "text",
                                "--label-column", "label", "--output", "run"})}) {
    expect_refused(outcome, 2, {"model: the tokenizer has 300 tokens, the model 260", "do not belong together"});
  }
  EXPECT_FALSE(fs::exists(folder_.path() / "run"));
}

TEST_F(BadFiles, AnAdapterOfAnotherBase) {
  adapter();
  std::string weights = read_file(model() / "model.safetensors");
  weights.back() ^= 1;
  write_file(model() / "model.safetensors", weights);
  expect_refused(generate("model", {"--adapter", "run/adapter"}), 2,
                 {"run/adapter: this adapter was trained on another base model", "first tensor that differs"});
  expect_refused(run({"merge", "--model", "model", "--adapter", "run/adapter", "--output", "merged"}), 2,
                 {"another base model"});
  EXPECT_FALSE(fs::exists(folder_.path() / "merged"));
}

TEST_F(BadFiles, AnAdapterThatHoldsNaN) {
  adapter();
  const auto file = folder_.path() / "run/adapter/adapter_model.safetensors";
  std::string bytes = read_file(file);
  bytes.replace(bytes.size() - 4, 4, std::string("\0\0\xc0\x7f", 4));
  write_file(file, bytes);
  expect_refused(generate("model", {"--adapter", "run/adapter"}), 4, {"are not those that it was saved with"});
  // As one of PEFT's, which does not say what it was saved with.
  bytes.replace(bytes.find("tensors_hash"), 12, "another_word");
  write_file(file, bytes);
  expect_refused(generate("model", {"--adapter", "run/adapter"}), 4,
                 {"adapter_model.safetensors: ", "holds NaN or infinity; fetch the adapter again"});
}

TEST_F(BadFiles, AnAdapterFolderThatIsNone) {
  expect_refused(generate("model", {"--adapter", "nowhere"}), 3, {"nowhere/adapter_config.json: no such file"});
  expect_refused(generate("model", {"--adapter", "model"}), 3, {"model/adapter_config.json: no such file"});
  folder_.file("other/adapter_config.json", R"({"peft_type": "LORAA"})");
  expect_refused(generate("model", {"--adapter", "other"}), 5, {"peft_type 'LORAA'", "did you mean 'LORA'?"});
}

TEST_F(BadFiles, WeightsThatAreNoNumbers) {
  write_model(model(), Weights::WithNaN);
  write_rows(folder_.path() / "rows.jsonl", 20);
  const char* culprit = "model.layers.1.mlp.up_proj.weight holds NaN or infinity";
  expect_refused(generate("model"), 4, {culprit, "fetch the model again"});
  const std::vector<std::string> tune = {"tune", "--model",        "model", "--data",   "rows.jsonl", "--text-column",
                                         "text", "--label-column", "label", "--output", "run",        "--shots",
                                         "4",    "--steps",        "3"};
  expect_refused(run(tune), 4, {"evaluate before: ", culprit});
  EXPECT_FALSE(fs::exists(folder_.path() / "run/adapter"));
}

// Weight decay alone multiplies every parameter by -9 a step.
TEST_F(BadFiles, TrainingThatIsNoNumber) {
  write_rows(folder_.path() / "rows.jsonl", 20);
  for (const std::string method : {"full", "ia3"}) {
    std::vector<std::string> tune = {
        "tune",    "--model", "model",   "--data", "rows.jsonl", "--text-column", "text",           "--method", method,
        "--shots", "4",       "--steps", "60",     "--output",   method + "-run", "--label-column", "label"};
    for (const char* setting :
         {"optimizer.lr=10", "optimizer.warmup_steps=0", "objective.lm_weight=1e6", "optimizer.name=adamw",
          "optimizer.eps=1e-30", "optimizer.weight_decay=1", "optimizer.schedule=constant"})
      tune.insert(tune.end(), {"--set", setting});
    expect_refused(run(tune), 4, {"of step ", "lower the learning rate"});
    const fs::path left = folder_.path() / (method + "-run");
    EXPECT_TRUE(fs::exists(left / "config.yaml")) << method;
    for (const char* product : {"adapter", "model", "report.html"})
      EXPECT_FALSE(fs::exists(left / product)) << method << " left " << product;
  }
}

TEST_F(BadFiles, FilesThatAreNoModels) {
  folder_.file("notes.txt", "nothing");
  folder_.file("empty.safetensors", "");
  folder_.file("random.bin", std::string("\x01\x93\x00\xff\x7f\x22", 6));
  folder_.file("pickle.bin", "\x80\x04}.");
  folder_.file("nothing/readme.md", "");
  expect_refused(run({"inspect", "notes.txt"}), 5, {"notes.txt: is no checkpoint graft knows"});
  expect_refused(run({"inspect", "empty.safetensors"}), 4, {"empty.safetensors: ", "too few"});
  expect_refused(run({"inspect", "random.bin"}), 4, {"random.bin: "});
  expect_refused(run({"inspect", "pickle.bin"}), 5, {"pickle.bin: is a bare pickle", "safetensors"});
  expect_refused(run({"inspect", "nothing"}), 3, {"nothing: holds no checkpoint"});
  expect_refused(run({"inspect", "absent"}), 3, {"absent: no such file or folder"});
  expect_refused(run({"inspect", "/dev/zero"}), 6, {"/dev/zero: is neither a file nor a folder"});
  expect_refused(generate("absent"), 3, {"absent: no such file or folder"});
  expect_refused(generate("nothing"), 3, {"nothing: holds no tokenizer"});
}

}  // namespace
}  // namespace graft::e2e
