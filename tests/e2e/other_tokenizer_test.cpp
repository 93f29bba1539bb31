// An adapter beside a tokenizer that it was not trained with, and a model beside one that is not its own.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "checkpoint/source.h"
#include "checkpoint/writer.h"
#include "command.h"
#include "tiny_model.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Words = std::vector<std::string>;

class OtherTokenizer : public ::testing::Test {
 protected:
  OtherTokenizer() {
    write_model(folder() / "model");
    write_rows(folder() / "rows.jsonl", 24);
    write_file(folder() / "topics.yaml", topics_task() + "metrics: [accuracy, macro_f1]\n");
    fs::copy(folder() / "model", folder() / "other");
    json tokenizer = json::parse(read_file(folder() / "other/tokenizer.json"));
    json& vocabulary = tokenizer["model"]["vocab"];
    std::swap(vocabulary["a"], vocabulary["b"]);
    write_file(folder() / "other/tokenizer.json", tokenizer.dump());
    const Outcome tuned = run({"tune", "--model", "model", "--data", "rows.jsonl", "--task", "topics.yaml", "--recipe",
                               "lora", "--steps", "5", "--shots", "4", "--set", "data.template=0", "--output", "run"});
    EXPECT_EQ(tuned.code, 0) << tuned.err;
  }

  Outcome run(const Words& arguments) const { return graft(folder(), arguments); }
  const fs::path& folder() const { return folder_.path(); }

  Outcome generate(const std::string& model, const std::string& adapter) const {
    return run({"generate", "--model", model, "--adapter", adapter, "--prompt", "the", "--max-new-tokens", "2"});
  }

  void set_ids(std::int64_t bos, std::int64_t eos) const {
    json config = json::parse(read_file(folder() / "model/config.json"));
    config["bos_token_id"] = bos;
    config["eos_token_id"] = eos;
    write_file(folder() / "model/config.json", config.dump());
  }

  /// The same tensors without what graft says of them.
  void drop_manifest(const fs::path& file) const {
    const fs::path bare = folder() / "bare.safetensors";
    {
      const auto source = open_checkpoint(file);
      std::vector<TensorPlan> plan;
      for (const auto& info : source->tensors()) plan.push_back({info.name, info.dtype, info.shape});
      const auto writer = write_safetensors(bare, plan);
      for (const auto& info : source->tensors()) writer->write(source->bytes(info));
      writer->finish();
    }
    fs::rename(bare, file);
  }

 private:
  Folder folder_;
};

TEST_F(OtherTokenizer, IsRefusedWhereverAnAdapterIsUsed) {
  const std::vector<Words> uses = {{"generate", "--prompt", "the"},
                                   {"eval", "--data", "rows.jsonl", "--task", "topics.yaml", "--output", "new"},
                                   {"predict", "--data", "rows.jsonl", "--output", "new.jsonl"},
                                   {"verify", "--data", "rows.jsonl", "--task", "topics.yaml", "--rows", "4"},
                                   {"merge", "--output", "new"},
                                   {"blend", "--output", "new"}};
  for (const Words& use : uses) {
    SCOPED_TRACE(use.front());
    Words words = use;
    words.insert(words.end(), {"--model", "other", "--adapter", "run/adapter"});
    expect_refused(run(words), 2,
                   {"run/adapter: this adapter was trained with another tokenizer (v2:", "the model's is v2:"});
  }
  expect_refused(run({"tune", "--model", "other", "--start-from", "run/adapter", "--data", "rows.jsonl", "--task",
                      "topics.yaml", "--recipe", "lora", "--steps", "1", "--shots", "4", "--output", "new"}),
                 2, {"run/adapter: this adapter was trained with another tokenizer"});
  EXPECT_FALSE(fs::exists(folder() / "new"));
  EXPECT_FALSE(fs::exists(folder() / "new.jsonl"));
}

TEST_F(OtherTokenizer, IsRefusedOfEveryPartOfACombination) {
  for (const std::string model : {"model", "other"}) {
    Words words = {"tune",    "--data", "rows.jsonl", "--task", "topics.yaml", "--method",       "ia3+layernorm",
                   "--steps", "1",      "--shots",    "4",      "--set",       "data.template=0"};
    words.insert(words.end(), {"--model", model, "--output", "of-" + model});
    const Outcome tuned = run(words);
    ASSERT_EQ(tuned.code, 0) << tuned.err;
  }
  EXPECT_EQ(generate("model", "of-model/adapter").code, 0);
  fs::copy(folder() / "of-other/adapter/layernorm", folder() / "of-model/adapter/layernorm",
           fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  const std::string told = "of-model/adapter/layernorm: this adapter was trained with another tokenizer (v2:";
  expect_refused(generate("model", "of-model/adapter"), 2, {told});
  expect_refused(run({"merge", "--model", "model", "--adapter", "of-model/adapter", "--output", "new"}), 2, {told});
  EXPECT_FALSE(fs::exists(folder() / "new"));
}

TEST_F(OtherTokenizer, IsNotToldOfAnAdapterOfAnotherProgram) {
  EXPECT_EQ(generate("model", "run/adapter").code, 0);
  drop_manifest(folder() / "run/adapter/adapter_model.safetensors");
  const Outcome end = generate("other", "run/adapter");
  EXPECT_EQ(end.code, 0) << end.err;
}

TEST_F(OtherTokenizer, TheGgufOfAModelHasTheSame) {
  write_gguf_model(folder() / "model.gguf");
  const auto hash = [this](const char* model) {
    const Outcome end = run({"inspect", model, "--json"});
    EXPECT_EQ(end.code, 0) << end.err;
    return json::parse(end.out).at("tokenizer_details").at("hash").get<std::string>();
  };
  EXPECT_EQ(hash("model.gguf"), hash("model"));
  EXPECT_NE(hash("other"), hash("model"));
}

TEST_F(OtherTokenizer, BesideAModelIsTellableByItsIds) {
  set_ids(257, 259);
  const Outcome odd = generate("model", "run/adapter");
  EXPECT_EQ(odd.code, 0) << odd.err;
  EXPECT_NE(odd.err.find("graft: note: model: eos_token_id is 259, and the tokenizer has 259 tokens; is this the "
                         "model's own tokenizer?"),
            std::string::npos)
      << odd.err;
  set_ids(259, 259);
  expect_refused(generate("model", "run/adapter"), 2,
                 {"model: the tokenizer and the model do not belong together: bos_token_id is 259", "config.json"});
}

// Every number that the evaluation behind the training found.
TEST_F(OtherTokenizer, OrNotAnAdapterTellsItsScores) {
  const Outcome end = run({"inspect", "run/adapter", "--json"});
  ASSERT_EQ(end.code, 0) << end.err;
  const json manifest = json::parse(end.out).at("adapter_details").at("manifest"),
             after = json::parse(read_file(folder() / "run/summary.json")).at("after");
  for (const char* name : {"accuracy", "macro_f1", "expected_calibration_error", "brier_score"})
    EXPECT_NEAR(std::stod(manifest.at(name).get<std::string>()), after.at(name).get<double>(), 1e-6) << name;
}

}  // namespace
}  // namespace graft::e2e
