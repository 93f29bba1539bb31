// Whole models between Hugging Face folders and GGUF files: golden models compute the same in both, their tensors lie
// as the tables of as_gguf.h have them, and come back bit for bit.
#include "convert/export.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "../golden/folder.h"
#include "adapters/core/peft.h"
#include "as_gguf.h"
#include "base/file.h"
#include "base/rng.h"
#include "checkpoint/fixture_test.h"
#include "convert/merge.h"
#include "parity_texts.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::expect_error;

at::Tensor logits_of(const fs::path& file) {
  const auto model = load_model(file.string());
  return model->logits(model->forward(parity_texts(*model))).detach();
}

// A golden as published models of its family are: T5's distance is 128, which files hold no word of, and OLMo 2 has no
// biases. Others are themselves.
fs::path as_published(const fs::path& golden, const fs::path& made) {
  auto config = json::parse(read_file(golden / "config.json"));
  const std::string type = config.at("model_type");
  if (type != "olmo2" && type != "t5" && type != "mt5") return golden;
  if (type == "olmo2") {
    config["attention_bias"] = false;
  } else {
    config["relative_attention_max_distance"] = 128;
  }
  NamedTensors tensors;
  for (auto& [name, value] : read_tensors(golden / "model.safetensors")) {
    if (!name.ends_with(".bias")) tensors.emplace_back(name, value);
  }
  fs::create_directories(made);
  write_file(made / "config.json", config.dump());
  write_tensors(made / "model.safetensors", tensors);
  return made;
}

double largest_gap(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

class ExportParity : public ::testing::TestWithParam<std::pair<const char*, const char*>> {
 protected:
  void SetUp() override {
    const fs::path golden = goldens() / GetParam().first / "model";
    if (!fs::exists(golden)) GTEST_SKIP() << "no goldens in " << goldens() << "; ./check makes them";
    source_ = as_published(golden, place("published"));
  }
  const fs::path& source() const { return source_; }
  fs::path place(const std::string& name) const { return folder_.path() / name; }
  std::string architecture() const { return GetParam().second; }
  bool counts_from_one() const { return architecture().starts_with("gemma"); }
  bool has_factors() const { return std::string(GetParam().first) == "llama-llama3"; }

  // A LoRA of a model, away from where it begins, as a PEFT folder; returns its number of maps.
  std::size_t write_adapter(const fs::path& model_path, const fs::path& folder) const {
    const auto model = load_model(model_path.string());
    Rng rng(3);
    const auto adapter = adapters::find("lora").create(*model, {{"roles", {"o", "down"}}}, rng);
    const at::NoGradGuard no_grad;
    const auto generator = at::detail::createCPUGenerator(11);
    for (const auto& parameter : adapter->parameters())
      at::Tensor(parameter.value).add_(at::randn(parameter.value.sizes(), generator), 0.1);
    save_adapter(folder, *adapter, *model, {});
    return adapter->parameters().size() / 2;
  }

  // A Gemma's folder is to an adapter of its file another base: norms differ in their last digit.
  at::Tensor adapted(const fs::path& adapter_path) const {
    const auto model = load_model((counts_from_one() ? place("model.gguf") : source()).string());
    const LoadedAdapter loaded = load_adapter(adapter_path, *model);
    ForwardOptions options;
    options.slots = {loaded.adapter.get()};
    return model->logits(model->forward(parity_texts(*model, 0), options), options).detach();
  }

 private:
  testing::Folder folder_;
  fs::path source_;
};

// Norms that were counted from one, and are again, have lost the last digits that published models do not have.
void expect_nearly_same_tensors(const TensorSource& got, const TensorSource& want) {
  ASSERT_EQ(got.tensors().size(), want.tensors().size());
  for (const TensorInfo& info : want.tensors()) {
    const TensorInfo& other = got.at(info.name);
    ASSERT_EQ(other.shape, info.shape) << info.name;
    std::vector<float> left(static_cast<std::size_t>(info.elements())), right(left.size());
    to_float(other.dtype, got.bytes(other), left);
    to_float(info.dtype, want.bytes(info), right);
    const float most = info.name.ends_with("norm.weight") ? 1e-6F : 0.0F;
    for (std::size_t i = 0; i < left.size(); ++i) ASSERT_NEAR(left[i], right[i], most) << info.name << " " << i;
  }
}

TEST_P(ExportParity, AFileComputesWhatTheFolderComputes) {
  const ExportReport report = export_model(source(), place("model.gguf"), "");
  EXPECT_EQ(report.error.tensors, 0u) << "a type of the file does not hold all of the folder's";
  EXPECT_LE(largest_gap(logits_of(place("model.gguf")), logits_of(source())), 1e-5);
  EXPECT_NE(report.no_tokenizer.find("holds none"), std::string::npos) << report.no_tokenizer;
  const auto file = open_checkpoint(place("model.gguf"));
  EXPECT_EQ(report.tensors, file->tensors().size());
  EXPECT_EQ(file->metadata().at("general.architecture"), architecture());
  EXPECT_EQ(file->metadata().at("general.file_type"), 0);
}

TEST_P(ExportParity, TensorsLieAsLlamaCppsConverterPutsThem) {
  export_model(source(), place("model.gguf"), "");
  write_as_gguf(source(), place("want.gguf"), architecture());
  const auto got = open_checkpoint(place("model.gguf")), want = open_checkpoint(place("want.gguf"));
  EXPECT_EQ(got->find("rope_freqs.weight") != nullptr, has_factors());
  std::size_t compared = 0;
  for (const TensorInfo& info : want->tensors()) {
    if (info.name == "rope_freqs.weight") continue;  // rounded from other formulas
    const TensorInfo& other = got->at(info.name);
    ASSERT_EQ(other.shape, info.shape) << info.name;
    const auto left = got->bytes(other), right = want->bytes(info);
    EXPECT_TRUE(std::equal(left.begin(), left.end(), right.begin(), right.end())) << info.name;
    ++compared;
  }
  EXPECT_EQ(compared + (has_factors() ? 1 : 0), got->tensors().size());
}

TEST_P(ExportParity, ComesBackBitForBit) {
  export_model(source(), place("model.gguf"), "");
  export_model(place("model.gguf"), place("back"), "");
  const auto back = open_checkpoint(place("back")), before = open_checkpoint(source());
  if (counts_from_one()) {
    expect_nearly_same_tensors(*back, *before);
  } else {
    EXPECT_EQ(content_hash(*back), content_hash(*before));
  }
  EXPECT_LE(largest_gap(logits_of(place("back")), logits_of(source())), 1e-5);
}

// Rows and columns lie in the folder as Hugging Face has them, whatever the file has.
TEST_P(ExportParity, AnAdapterOfTheFileIsMergedIntoAFolder) {
  export_model(source(), place("model.gguf"), "");
  const std::size_t maps = write_adapter(place("model.gguf"), place("peft"));
  const MergeReport report = merge(place("model.gguf"), place("peft"), place("merged"));
  EXPECT_EQ(report.changed, maps);
  const at::Tensor wanted = adapted(place("peft"));
  EXPECT_LE(largest_gap(logits_of(place("merged")), wanted), 1e-5);
  EXPECT_GT(largest_gap(logits_of(source()), wanted), 1e-3);
  const auto before = open_checkpoint(source()), after = open_checkpoint(place("merged"));
  for (const TensorInfo& info : after->tensors()) EXPECT_EQ(info.shape, before->at(info.name).shape) << info.name;
}

TEST_P(ExportParity, AnAdapterIsMergedIntoTheFileItself) {
  export_model(source(), place("model.gguf"), "");
  const std::size_t maps = write_adapter(place("model.gguf"), place("peft"));
  const MergeReport report = merge(place("model.gguf"), place("peft"), place("merged.gguf"));
  EXPECT_EQ(report.changed, maps);
  EXPECT_LE(largest_gap(logits_of(place("merged.gguf")), adapted(place("peft"))), 1e-5);
  const auto before = open_checkpoint(place("model.gguf")), after = open_checkpoint(place("merged.gguf"));
  EXPECT_EQ(after->metadata(), before->metadata());
  EXPECT_EQ(after->tensors().size(), before->tensors().size());
}

// Rows of 48 values are no whole blocks, and of 32 none of 256.
TEST_P(ExportParity, BlocksAreAsAskedForWhereTheyFitAndToldWhereNot) {
  const ExportReport report = export_model(source(), place("q8.gguf"), "Q8_0");
  const auto file = open_checkpoint(place("q8.gguf"));
  EXPECT_EQ(file->metadata().at("general.file_type"), 7);
  std::size_t rounded = 0, other = 0;
  for (const TensorInfo& info : file->tensors()) {
    const bool positions = info.name == "position_embd.weight" || info.name.ends_with("attn_rel_b.weight");
    const bool matrix = info.shape.size() == 2 && !positions, whole = matrix && info.shape[1] % 32 == 0;
    EXPECT_EQ(info.dtype, whole ? DType::Q8_0 : matrix ? DType::F16 : DType::F32) << info.name;
    rounded += matrix;
    other += matrix && !whole;
  }
  EXPECT_EQ(report.error.tensors, rounded);
  EXPECT_GT(report.error.mean(), 1e-4);
  EXPECT_LT(report.error.worst, 0.01);
  EXPECT_LE(largest_gap(logits_of(place("q8.gguf")), logits_of(source())), 0.3);
  const bool told = std::ranges::any_of(report.notes, [](const std::string& note) {
    return note.find("no whole blocks of Q8_0 are in F16") != std::string::npos;
  });
  EXPECT_EQ(told, other > 0);
}

TEST_P(ExportParity, TheHeadKeepsMoreThanTheRest) {
  const ExportReport report = export_model(source(), place("q4.gguf"), "q4_0");
  const auto file = open_checkpoint(place("q4.gguf"));
  const TensorInfo* head = file->find("output.weight");
  if (head == nullptr) head = &file->at("token_embd.weight");
  EXPECT_EQ(head->dtype, DType::Q8_0) << "Q6_K's blocks are longer than its rows";
  ASSERT_FALSE(report.notes.empty());
  EXPECT_NE(report.notes.front().find(head->name + " is in Q8_0"), std::string::npos) << report.notes.front();
}

INSTANTIATE_TEST_SUITE_P(Golden, ExportParity,
                         ::testing::Values(std::pair("llama", "llama"), std::pair("llama-gqa", "llama"),
                                           std::pair("llama-linear", "llama"), std::pair("llama-llama3", "llama"),
                                           std::pair("llama-yarn", "llama"), std::pair("mistral", "llama"),
                                           std::pair("qwen2", "qwen2"), std::pair("qwen3", "qwen3"),
                                           std::pair("gpt2", "gpt2"), std::pair("gemma2", "gemma2"),
                                           std::pair("gemma3", "gemma3"), std::pair("phi3", "phi3"),
                                           std::pair("phi3-longrope", "phi3"), std::pair("olmo2", "olmo2"),
                                           std::pair("t5", "t5"), std::pair("t5-v11", "t5"), std::pair("mt5", "t5")));

class Export : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(llama())) GTEST_SKIP() << "no goldens in " << goldens() << "; ./check makes them";
  }
  static fs::path llama() { return goldens() / "llama/model"; }
  fs::path place(const std::string& name) const { return folder_.path() / name; }

 private:
  testing::Folder folder_;
};

// llama.cpp's gguf-split: the first part has the metadata, each its tensors.
void split(const fs::path& whole, const fs::path& folder) {
  const auto source = open_checkpoint(whole);
  const auto& tensors = source->tensors();
  for (unsigned part = 0; part < 2; ++part) {
    json keys = part == 0 ? source->metadata() : json::object();
    keys.update({{"split.no", part}, {"split.count", 2u}});
    std::vector<TensorPlan> plan;
    std::vector<const TensorInfo*> own;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      if ((i < tensors.size() / 2) == (part == 0)) own.push_back(&tensors[i]);
    }
    for (const TensorInfo* info : own) plan.push_back(plan_of(*info));
    const auto writer = write_gguf(folder / fmt::format("part-{:05}-of-00002.gguf", part + 1), plan, keys);
    for (const TensorInfo* info : own) writer->write(source->bytes(*info));
    writer->finish();
  }
}

TEST_F(Export, AModelInPartsIsOneModelAndBecomesOneFile) {
  export_model(llama(), place("whole.gguf"), "q8_0");
  split(place("whole.gguf"), place("parts"));
  const fs::path second = place("parts/part-00002-of-00002.gguf");
  EXPECT_TRUE(at::equal(logits_of(second), logits_of(place("whole.gguf"))));
  export_model(second, place("joined.gguf"), "");
  EXPECT_EQ(read_file(place("joined.gguf")), read_file(place("whole.gguf")));
}

TEST_F(Export, AFileInOtherBlocksSaysThatItWasRoundedTwice) {
  export_model(llama(), place("q8.gguf"), "q8_0");
  const ExportReport report = export_model(place("q8.gguf"), place("q5.gguf"), "q5_1");
  EXPECT_GT(report.error.worst, 0.01);
  EXPECT_NE(report.notes.back().find("rounded anew"), std::string::npos);
  const auto before = open_checkpoint(place("q8.gguf")), after = open_checkpoint(place("q5.gguf"));
  EXPECT_EQ(after->metadata().at("general.file_type"), 9);
  EXPECT_EQ(after->metadata().size(), before->metadata().size());
  EXPECT_EQ(after->at("blk.0.attn_q.weight").dtype, DType::Q5_1);
  EXPECT_EQ(after->at("output_norm.weight").dtype, DType::F32);
}

TEST_F(Export, AFolderTakesAnotherType) {
  const ExportReport report = export_model(llama(), place("half"), "bf16");
  EXPECT_GT(report.error.mean(), 1e-4);
  const auto half = open_checkpoint(place("half"));
  for (const TensorInfo& info : half->tensors()) EXPECT_EQ(info.dtype, DType::BF16) << info.name;
  EXPECT_EQ(json::parse(read_file(place("half/config.json"))).at("torch_dtype"), "bfloat16");
  EXPECT_LE(largest_gap(logits_of(place("half")), logits_of(llama())), 0.05);
}

TEST_F(Export, WhatCannotBeIsRefusedAndLeavesNothing) {
  const auto refused = [&](Category category, const std::string& what, const fs::path& model, const char* output,
                           const std::string& dtype) {
    expect_error(category, what, [&] { export_model(model, place(output), dtype); });
    EXPECT_FALSE(fs::exists(place(output))) << output;
  };
  refused(Category::InvalidArgument, "did you mean 'q8_0'", llama(), "no.gguf", "q8_O");
  refused(Category::InvalidArgument, "--output NAME.gguf", llama(), "no", "q8_0");
  refused(Category::Unsupported, "a bart cannot be written as a GGUF file", goldens() / "bart/model", "no.gguf",
          "q8_0");
  refused(Category::Unsupported, "attention_bias of a olmo2", goldens() / "olmo2/model", "no.gguf", "");
  refused(Category::Unsupported, "a sliding window in some layers", goldens() / "qwen2-window/model", "no.gguf", "");
  refused(Category::NotFound, "no such file", place("absent"), "no.gguf", "");
  export_model(llama(), place("there.gguf"), "");
  expect_error(Category::InvalidArgument, "is there already", [&] { export_model(llama(), place("there.gguf"), ""); });
  expect_error(Category::Io, "there.gguf", [&] { export_model(llama(), place("there.gguf/below/model.gguf"), ""); });
}

// The golden with one tensor replaced, added or left out.
fs::path changed(const fs::path& folder, const std::string& tensor, const at::Tensor& value) {
  NamedTensors tensors;
  for (auto& [name, stored] : read_tensors(goldens() / "llama/model/model.safetensors")) {
    if (name != tensor) tensors.emplace_back(name, stored);
  }
  if (value.defined()) tensors.emplace_back(tensor, value);
  fs::create_directories(folder);
  fs::copy_file(goldens() / "llama/model/config.json", folder / "config.json");
  write_tensors(folder / "model.safetensors", tensors);
  return folder;
}

TEST_F(Export, TensorsThatAreNotTheFamilysAreRefused) {
  const auto out = [&](const fs::path& model, const std::string& dtype) {
    export_model(model, place("no.gguf"), dtype);
  };
  expect_error(Category::NotFound, "model.norm.weight",
               [&] { out(changed(place("less"), "model.norm.weight", {}), ""); });
  expect_error(Category::Corruption, "model.extra.weight has no place",
               [&] { out(changed(place("more"), "model.extra.weight", at::ones({2})), ""); });
  expect_error(Category::Corruption, "the config asks for",
               [&] { out(changed(place("wrong"), "model.norm.weight", at::ones({3})), ""); });
  const char* map = "model.layers.0.mlp.up_proj.weight";
  const auto tensors = read_tensors(llama() / "model.safetensors");
  at::Tensor value;
  for (const auto& [name, stored] : tensors) {
    if (name == map) value = stored.clone();
  }
  ASSERT_TRUE(value.defined());
  value.view({-1})[7] = 1e6;
  expect_error(Category::Unsupported, "do not fit F16", [&] { out(changed(place("large"), map, value), "float16"); });
  value.view({-1})[7] = std::numeric_limits<float>::quiet_NaN();
  expect_error(Category::Corruption, "holds NaN", [&] { out(changed(place("nan"), map, value), "q8_0"); });
  EXPECT_FALSE(fs::exists(place("no.gguf")));
}

}  // namespace
}  // namespace graft
