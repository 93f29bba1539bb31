#include "convert/merge.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "adapters/core/peft.h"
#include "checkpoint/fixture_test.h"
#include "checkpoint/writer.h"
#include "convert/merged_weights.h"
#include "nn/compute_device.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using testing::Folder;

fs::path goldens() {
  const char* given = std::getenv("GRAFT_GOLDENS");
  return given != nullptr ? fs::path(given) : fs::path(GRAFT_SOURCE_DIR) / "tests/golden/data";
}

at::Tensor logits(const Model& model, const SiteHooks* hooks) {
  const c10::InferenceMode inference;
  ForwardOptions options;
  if (hooks != nullptr) options.slots = {hooks};
  const std::int32_t slot = hooks != nullptr ? 0 : -1;
  const std::vector<std::int64_t> tokens = {5, 2, 17, 9, 9, 30, 1};
  StepInput input;
  const std::int32_t source = model.encoder_decoder() ? input.encoder.add(tokens, -1, slot) : -1;
  input.decoder.add(tokens, -1, slot, source);
  return model.logits(model.forward(input, options), options);
}

// Relative to the largest logit: rounding grows with it.
double gap(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

class Merge : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(goldens() / "llama")) GTEST_SKIP() << "no goldens; ./check makes them";
  }
};

TEST_F(Merge, MergedEqualsAdapted) {
  int cases = 0;
  for (const auto& entry : fs::directory_iterator(goldens())) {
    for (const char* method : {"ia3", "lora"}) {
      const auto adapter = entry.path() / method / "adapter";
      if (!fs::exists(adapter)) continue;
      const Folder folder;
      const auto output = folder.path() / "merged";
      const MergeReport report = merge(entry.path() / "model", adapter, output);
      EXPECT_EQ(report.method, method);
      EXPECT_GT(report.changed, 0u);
      const auto base = load_model((entry.path() / "model").string());
      const auto loaded = load_adapter(adapter, *base);
      const at::Tensor adapted = logits(*base, loaded.adapter.get());
      const auto merged = load_model(output.string());
      EXPECT_LE(gap(logits(*merged, nullptr), adapted), 1e-5) << entry.path() << " " << method;
      const MergedWeights in_memory(*base, *loaded.adapter);
      EXPECT_LE(gap(logits(*base, &in_memory), adapted), 1e-5) << entry.path() << " " << method;
      EXPECT_GT(gap(logits(*base, nullptr), adapted), 1e-3) << "an adapter that does nothing proves nothing";
      ++cases;
    }
  }
  EXPECT_GE(cases, 6);
}

TEST_F(Merge, ItsWorkIsToldBeforeItIsWritten) {
  const Folder folder;
  const auto output = folder.path() / "merged";
  const OpenedMerge opened = open_merge(goldens() / "llama/model", goldens() / "llama/lora/adapter", output);
  const WeightWork work = opened.writer->work(merged_parameters(*opened.model, *opened.adapter.adapter));
  std::size_t merged = 0;
  for (const TensorWork& tensor : work.tensors) {
    tensor.make();
    if (tensor.kind.starts_with("merged ")) ++merged;
  }
  EXPECT_FALSE(fs::exists(output));
  const MergeReport report = opened.writer->write();
  EXPECT_EQ(work.tensors.size(), report.tensors);
  EXPECT_EQ(merged, report.changed);
  EXPECT_EQ(work.written, static_cast<std::int64_t>(report.bytes));
}

// The tensors of each file of the base together, as whoever reads a few of them expects.
TEST_F(Merge, KeepsTheFilesOfABaseThatHasSeveral) {
  const Folder folder;
  const auto whole = goldens() / "llama/model", base = folder.path() / "base",
             adapter = goldens() / "llama/ia3/adapter";
  const auto source = open_checkpoint(whole / "model.safetensors");
  std::vector<TensorPlan> plan;
  Sharding sharding;
  sharding.most_bytes = fs::file_size(whole / "model.safetensors") / 3;
  for (const TensorInfo& info : source->tensors()) plan.push_back(plan_of(info));
  const auto writer = write_safetensors_folder(base, plan, sharding);
  for (const TensorInfo& info : source->tensors()) writer->write(source->bytes(info));
  writer->finish();
  fs::copy_file(whole / "config.json", base / "config.json");
  const MergeReport report = merge(base, adapter, folder.path() / "merged");
  const auto before = open_checkpoint(base), after = open_checkpoint(folder.path() / "merged");
  ASSERT_GT(before->files().size(), 1u);
  EXPECT_EQ(after->files().size(), before->files().size());
  EXPECT_EQ(after->tensors().size(), report.tensors);
  for (const TensorInfo& info : after->tensors()) {
    EXPECT_EQ(after->files()[info.file].filename().string(),
              before->files()[before->at(info.name).file].filename().string())
        << info.name;
  }
  merge(whole, adapter, folder.path() / "one");
  EXPECT_TRUE(fs::exists(folder.path() / "one/model.safetensors"));
  EXPECT_EQ(content_hash(*after), content_hash(*open_checkpoint(folder.path() / "one")));
}

// A pickle is read and never written.
TEST_F(Merge, WritesSafetensorsWhateverTheBaseIsIn) {
  const auto adapter = goldens() / "llama-gqa/ia3/adapter";
  const Folder folder;
  merge(goldens() / "llama-gqa/model", adapter, folder.path() / "of-safetensors");
  for (const std::string kind : {"bin", "bin-sharded"}) {
    const auto base = goldens() / "readers" / kind, output = folder.path() / kind;
    ASSERT_EQ(open_checkpoint(base)->format(), "pytorch");
    merge(base, adapter, output);
    const auto merged = open_checkpoint(output);
    EXPECT_EQ(merged->format(), "safetensors");
    EXPECT_EQ(merged->files().size(), open_checkpoint(base)->files().size());
    for (const auto& entry : fs::directory_iterator(output)) EXPECT_NE(entry.path().extension(), ".bin");
    EXPECT_EQ(content_hash(*merged), content_hash(*open_checkpoint(folder.path() / "of-safetensors")));
  }
}

TEST_F(Merge, RefusesAnOccupiedFolder) {
  const auto model = goldens() / "llama/model", adapter = goldens() / "llama/ia3/adapter";
  for (const char* file : {"model.safetensors", "model.safetensors.index.json", "config.json"}) {
    const Folder folder;
    folder.file(file, "mine");
    expect_error(Category::InvalidArgument, "is not empty", [&] { merge(model, adapter, folder.path()); });
    EXPECT_EQ(read_file(folder.path() / file), "mine");
  }
}

TEST_F(Merge, RefusesWhatDoesNotFit) {
  const Folder folder;
  const auto output = folder.path() / "merged";
  const auto model = goldens() / "llama/model";
  expect_error(Category::InvalidArgument, "float31",
               [&] { merge(model, goldens() / "llama/ia3/adapter", output, {"float31"}); });
  expect_error(Category::Corruption, "", [&] { merge(model, goldens() / "gpt2/ia3/adapter", output); });
  EXPECT_FALSE(fs::exists(output / "config.json"));
}

TEST_F(Merge, OfAGgufFileIsWorkForTheCpu) {
  const Folder folder;
  const auto output = folder.path() / "merged.gguf";
  choose_device("cuda", {true, 1});
  expect_error(Category::Unsupported, "--device cuda: a GGUF file is merged on the CPU",
               [&] { merge(goldens() / "llama/model", goldens() / "llama/ia3/adapter", output); });
  choose_device("auto");
  EXPECT_FALSE(fs::exists(output));
}

TEST_F(Merge, CopiesTheTokenizerAndSaysWhereThereIsNone) {
  const Folder folder;
  const auto model = folder.path() / "base", adapter = goldens() / "llama/ia3/adapter";
  fs::copy(goldens() / "llama/model", model);
  const std::string why = merge(model, adapter, folder.path() / "without").no_tokenizer;
  EXPECT_NE(why, "");
  EXPECT_EQ(no_tokenizer_text(why, "merged"),
            "No tokenizer was written: " + why + ". Copy the model's tokenizer.json into merged to make it whole.");
  write_file(model / "tokenizer.json", "{}");
  EXPECT_EQ(merge(model, adapter, folder.path() / "with").no_tokenizer, "");
  EXPECT_EQ(read_file(folder.path() / "with/tokenizer.json"), "{}");
}

}  // namespace
}  // namespace graft
