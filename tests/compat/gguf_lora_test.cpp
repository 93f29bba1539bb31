// LoRA adapters between PEFT folders and llama.cpp's files, over Hugging Face folders and GGUF files of the same golden
// models; and merged into GGUF files.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "../golden/folder.h"
#include "adapters/core/gguf_lora.h"
#include "as_gguf.h"
#include "base/file.h"
#include "checkpoint/fixture_test.h"
#include "config/gguf_adapter.h"
#include "convert/merge.h"
#include "convert/merged_weights.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::expect_error;

at::Tensor logits(const Model& model, const Adapter* adapter) {
  StepInput input;
  input.decoder.add({5, 17, 99, 3, 42, 150, 7, 7, 61, 20, 88, 1}, -1, adapter == nullptr ? -1 : 0);
  ForwardOptions options;
  if (adapter != nullptr) options.slots = {adapter};
  return model.logits(model.forward(input, options), options).detach();
}

double gap(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

std::unique_ptr<Adapter> stirred(const Model& model, const json& options, const char* method = "lora") {
  Rng rng(3);
  auto adapter = adapters::find(method).create(model, options, rng);
  const at::NoGradGuard no_grad;
  const auto generator = at::detail::createCPUGenerator(11);
  for (const auto& parameter : adapter->parameters())
    at::Tensor(parameter.value).add_(at::randn(parameter.value.sizes(), generator), 0.1);
  return adapter;
}

void expect_same_tensors(const Adapter& got, const Adapter& want) {
  const auto a = got.parameters(), b = want.parameters();
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].name, b[i].name);
    EXPECT_TRUE(at::equal(a[i].value, b[i].value)) << a[i].name;
  }
}

class GgufLoraParity : public ::testing::TestWithParam<std::pair<const char*, const char*>> {
 protected:
  void SetUp() override {
    if (!fs::exists(source())) GTEST_SKIP() << "no goldens in " << goldens() << "; ./check makes them";
    model_ = load_model(source().string());
  }

  fs::path source() const { return goldens() / GetParam().first / "model"; }
  fs::path place(const char* name) const { return folder_.path() / name; }
  const Model& model() const { return *model_; }
  bool gpt2() const { return std::string(GetParam().second) == "gpt2"; }
  // Of maps whose rows are whole blocks of 32.
  json attention() const { return gpt2() ? json{"qkv"} : json{"q", "v"}; }
  json roles() const { return gpt2() ? json{"qkv", "down"} : json{"q", "k", "v", "down"}; }

  fs::path gguf(DType type = DType::F32) const {
    const fs::path file = place(name(type)).replace_extension(".gguf");
    if (!fs::exists(file)) write_as_gguf(source(), file, GetParam().second, type);
    return file;
  }

  // As another program might write it.
  void write_head_lora(const fs::path& file) const {
    const ModelConfig& config = model().config();
    const std::vector<TensorPlan> plan = {{"output.weight.lora_a", DType::F32, {1, config.hidden_size}},
                                          {"output.weight.lora_b", DType::F32, {config.vocab_size, 1}}};
    const auto writer = write_gguf(file, plan,
                                   {{"general.type", "adapter"},
                                    {"general.architecture", GetParam().second},
                                    {"adapter.type", "lora"},
                                    {"adapter.lora.alpha", 4.0}});
    for (const auto size : {config.hidden_size, config.vocab_size})
      writer->write(std::vector<std::byte>(static_cast<std::size_t>(size) * sizeof(float)));
    writer->finish();
  }

 private:
  testing::Folder folder_;
  std::unique_ptr<Model> model_;
};

TEST_P(GgufLoraParity, CrossesOverAndBackWithTheSameTensors) {
  const auto adapter = stirred(model(), {{"rank", 4}, {"alpha", 12}, {"roles", roles()}});
  const GgufLoraReport report = save_gguf_lora(place("lora.gguf"), *adapter, model(), {{{"seed", "7"}}});
  EXPECT_EQ(report.folded, 0u);
  EXPECT_EQ(report.alpha, 12);
  const auto over_gguf = load_model(gguf().string());
  for (const Model* base : {&model(), static_cast<const Model*>(over_gguf.get())}) {
    const LoadedAdapter loaded = load_adapter(place("lora.gguf"), *base);
    EXPECT_EQ(loaded.method, "lora");
    EXPECT_EQ(loaded.tensors, report.tensors);
    EXPECT_EQ(loaded.manifest.at("seed"), "7");
    expect_same_tensors(*loaded.adapter, *adapter);
    EXPECT_LE(gap(logits(*base, loaded.adapter.get()), logits(model(), adapter.get())), 1e-5);
  }
  EXPECT_GT(gap(logits(model(), nullptr), logits(model(), adapter.get())), 1e-3);
}

// What is open is read to its end, whatever file has the name meanwhile.
TEST_P(GgufLoraParity, IsReadFromTheFileThatWasOpened) {
  const auto adapter = stirred(model(), {{"rank", 4}, {"roles", roles()}});
  save_gguf_lora(place("lora.gguf"), *adapter, model(), {});
  const auto opened = open_checkpoint(place("lora.gguf"));
  save_gguf_lora(place("lora.gguf"), *stirred(model(), {{"rank", 2}, {"roles", roles()}}), model(), {});
  expect_same_tensors(*load_gguf_lora(*opened, model()).adapter, *adapter);
}

// The base's fingerprint sees Hugging Face's layout in both.
TEST_P(GgufLoraParity, AnAdapterOfTheFolderServesTheGgufFileOfTheSameModel) {
  const auto adapter = stirred(model(), {{"roles", roles()}});
  save_adapter(place("peft"), *adapter, model(), {});
  const auto over_gguf = load_model(gguf().string());
  const LoadedAdapter loaded = load_adapter(place("peft"), *over_gguf);
  expect_same_tensors(*loaded.adapter, *adapter);
  const auto other = load_model(gguf(DType::Q8_0).string());
  expect_error(Category::InvalidArgument, "trained on another base", [&] { load_adapter(place("peft"), *other); });
}

// What differs between files of one model: the base model's own prefix, and a head that repeats the embeddings.
TEST(Gpt2Files, OfOneModelAreOneBase) {
  const fs::path source = goldens() / "gpt2" / "model";
  if (!fs::exists(source)) GTEST_SKIP() << "no goldens in " << goldens() << "; ./check makes them";
  const testing::Folder folder;
  const auto whole = load_model(source.string());
  const auto adapter = stirred(*whole, {{"roles", {"qkv"}}});
  save_adapter(folder.path() / "peft", *adapter, *whole, {});
  NamedTensors bare;
  for (auto& [name, value] : read_tensors(source / "model.safetensors"))
    bare.emplace_back(name.substr(std::string("transformer.").size()), value);
  fs::create_directories(folder.path() / "bare");
  fs::copy_file(source / "config.json", folder.path() / "bare/config.json");
  write_tensors(folder.path() / "bare/model.safetensors", bare);
  write_as_gguf(source, folder.path() / "tied.gguf", "gpt2");
  const auto tied = open_checkpoint(folder.path() / "tied.gguf");
  std::vector<TensorPlan> plan;
  for (const TensorInfo& info : tied->tensors()) plan.push_back(plan_of(info));
  plan.push_back({"output.weight", DType::F32, tied->at("token_embd.weight").shape});
  const auto writer = write_gguf(folder.path() / "untied.gguf", plan, tied->metadata());
  for (const TensorInfo& info : tied->tensors()) writer->write(tied->bytes(info));
  writer->write(tied->bytes(tied->at("token_embd.weight")));
  writer->finish();
  for (const char* file : {"bare", "tied.gguf", "untied.gguf"}) {
    SCOPED_TRACE(file);
    const auto base = load_model((folder.path() / file).string());
    expect_same_tensors(*load_adapter(folder.path() / "peft", *base).adapter, *adapter);
    // And the other way: trained on this file, used on the folder.
    const fs::path back = folder.path() / (std::string("of-") + file);
    save_adapter(back, *stirred(*base, {{"roles", {"qkv"}}}), *base, {});
    EXPECT_EQ(load_adapter(back, *whole).method, "lora");
  }
}

// Llama.cpp's converter reshapes a head to (2, D / 2), swaps the two and flattens; the others keep their rows.
TEST_P(GgufLoraParity, RowsLieAsLlamaCppPutsThem) {
  const auto adapter = stirred(model(), {{"rank", 4}, {"roles", roles()}});
  save_gguf_lora(place("lora.gguf"), *adapter, model(), {});
  const std::string architecture = GetParam().second;
  const auto file = open_checkpoint(place("lora.gguf"));
  std::map<std::string, at::Tensor> peft;
  for (const auto& tensor : adapter->peft_tensors()) peft[tensor.name] = tensor.value;
  int compared = 0;
  for (const auto& [name, value] : peft) {
    const std::string suffix = name.ends_with("lora_A.weight") ? ".lora_A.weight" : ".lora_B.weight";
    const std::string module = name.substr(0, name.size() - suffix.size());
    const bool b = suffix[6] == 'B', q = module.ends_with("q_proj"), k = module.ends_with("k_proj");
    at::Tensor want = value;
    if (architecture == "llama" && b && (q || k)) {
      const auto heads = q ? model().config().heads : model().config().kv_heads;
      want = value.reshape({heads, 2, value.size(0) / heads / 2, value.size(1)}).transpose(1, 2).reshape(value.sizes());
      EXPECT_FALSE(at::equal(want, value));
    }
    const TensorInfo& info = file->at(named_as_gguf(module + ".weight", architecture) + (b ? ".lora_b" : ".lora_a"));
    ASSERT_EQ(info.shape, want.sizes().vec());
    at::Tensor got = at::empty(info.shape, at::kFloat);
    to_float(info.dtype, file->bytes(info), {got.data_ptr<float>(), static_cast<std::size_t>(got.numel())});
    EXPECT_TRUE(at::equal(got, want)) << name;
    ++compared;
  }
  EXPECT_EQ(static_cast<std::size_t>(compared), file->tensors().size());
  EXPECT_EQ(file->metadata().at("adapter.type"), "lora");
}

// Llama.cpp scales by alpha / rank and knows one alpha.
TEST_P(GgufLoraParity, OtherScalesAreFoldedAndComputeTheSame) {
  const std::string first = gpt2() ? "qkv" : "q", last = "down";
  const std::vector<std::pair<json, bool>> cases = {{{{"rank", 4}, {"rslora", true}}, false},
                                                    {{{"rank", 4}, {"ranks", {{first, 8}}}}, false},
                                                    {{{"rank", 4}, {"ranks", {{first, 8}}}, {"rslora", true}}, true},
                                                    {{{"rank", 4}, {"alphas", {{last, 3}}}}, true}};
  for (auto [options, folded] : cases) {
    SCOPED_TRACE(options.dump());
    options["roles"] = roles();
    const auto adapter = stirred(model(), options);
    fs::remove(place("lora.gguf"));
    EXPECT_EQ(save_gguf_lora(place("lora.gguf"), *adapter, model(), {}).folded > 0, folded);
    const LoadedAdapter loaded = load_adapter(place("lora.gguf"), model());
    EXPECT_LE(gap(logits(model(), loaded.adapter.get()), logits(model(), adapter.get())), 1e-5);
    if (!folded) expect_same_tensors(*loaded.adapter, *adapter);
  }
}

// Of one map in GPT-2, which llama.cpp's file has one pair for.
TEST_P(GgufLoraParity, UpdatesOfQueriesAndValuesCrossOver) {
  const auto adapter = stirred(model(), {{"rank", 4}, {"roles", {"q", "v"}}, {"ranks", {{"v", 2}}}});
  const GgufLoraReport report = save_gguf_lora(place("lora.gguf"), *adapter, model(), {});
  EXPECT_EQ(report.tensors, static_cast<std::size_t>((gpt2() ? 2 : 4) * model().config().layers));
  const LoadedAdapter loaded = load_adapter(place("lora.gguf"), model());
  EXPECT_LE(gap(logits(model(), loaded.adapter.get()), logits(model(), adapter.get())), 1e-5);
}

// Llama.cpp looks up the rows of the embeddings' a; where head and embeddings are one tensor it has one name for both.
TEST_P(GgufLoraParity, TablesCrossOverWhereTheyAreTwo) {
  const auto adapter = stirred(model(), {{"rank", 4}, {"roles", {"o", "embed", "head"}}, {"ranks", {{"embed", 3}}}});
  const auto save = [&] { return save_gguf_lora(place("lora.gguf"), *adapter, model(), {}); };
  if (model().tables().front().weight == model().tables().back().weight) {
    expect_error(Category::Unsupported, "one table", save);
    EXPECT_FALSE(fs::exists(place("lora.gguf")));
    write_head_lora(place("head.gguf"));
    expect_error(Category::Unsupported, "one table for its embeddings and its head",
                 [&] { load_adapter(place("head.gguf"), model()); });
    return;
  }
  EXPECT_EQ(save().folded, 0u);
  const auto file = open_checkpoint(place("lora.gguf"));
  const ModelConfig& config = model().config();
  EXPECT_EQ(file->at("token_embd.weight.lora_a").shape, (std::vector<std::int64_t>{config.vocab_size, 3}));
  EXPECT_EQ(file->at("token_embd.weight.lora_b").shape, (std::vector<std::int64_t>{config.hidden_size, 3}));
  EXPECT_EQ(file->at("output.weight.lora_a").shape, (std::vector<std::int64_t>{4, config.hidden_size}));
  const auto over_gguf = load_model(gguf().string());
  for (const Model* base : {&model(), static_cast<const Model*>(over_gguf.get())}) {
    const LoadedAdapter loaded = load_adapter(place("lora.gguf"), *base);
    expect_same_tensors(*loaded.adapter, *adapter);
    EXPECT_LE(gap(logits(*base, loaded.adapter.get()), logits(model(), adapter.get())), 1e-5);
  }
}

TEST_P(GgufLoraParity, WhatTheFormatCannotHoldIsRefused) {
  const auto save = [&](const Adapter& adapter) { save_gguf_lora(place("no.gguf"), adapter, model(), {}); };
  expect_error(Category::Unsupported, "graft merge", [&] { save(*stirred(model(), json::object(), "ia3")); });
  expect_error(Category::Unsupported, "DoRA", [&] { save(*stirred(model(), {{"dora", true}, {"roles", roles()}})); });
  EXPECT_FALSE(fs::exists(place("no.gguf")));
}

TEST_P(GgufLoraParity, MergedIntoTheFileEqualsAdapted) {
  const auto adapter = stirred(model(), {{"roles", roles()}});
  save_adapter(place("peft"), *adapter, model(), {});
  const MergeReport report = merge(gguf(), place("peft"), place("merged.gguf"));
  EXPECT_EQ(report.method, "lora");
  ASSERT_TRUE(report.written.has_value());
  EXPECT_EQ(report.written->types, "F32");
  EXPECT_EQ(report.written->worst_error, 0);
  EXPECT_NEAR(report.written->survived, 1, 1e-6);
  EXPECT_EQ(report.changed, adapter->parameters().size() / 2);
  const auto merged = load_model(place("merged.gguf").string());
  EXPECT_LE(gap(logits(*merged, nullptr), logits(model(), adapter.get())), 1e-5);
  const auto before = open_checkpoint(gguf()), after = open_checkpoint(place("merged.gguf"));
  EXPECT_EQ(after->metadata(), before->metadata());
  std::size_t changed = 0;
  for (std::size_t i = 0; i < before->tensors().size(); ++i) {
    const TensorInfo &a = before->tensors()[i], &b = after->tensors()[i];
    EXPECT_EQ(a.name, b.name);
    const auto left = before->bytes(a), right = after->bytes(b);
    changed += !std::equal(left.begin(), left.end(), right.begin(), right.end());
  }
  EXPECT_EQ(changed, report.changed);
}

TEST_P(GgufLoraParity, MergedIntoBlocksIsWithinTheTypesErrorAndSaysWhatIsLost) {
  const auto base = load_model(gguf(DType::Q4_0).string());
  const auto adapter = stirred(*base, {{"roles", attention()}});
  save_adapter(place("peft"), *adapter, *base, {});
  const fs::path file = gguf(DType::Q4_0);
  const MergeReport own = merge(file, place("peft"), place("own.gguf"));
  EXPECT_EQ(own.written->types, "Q4_0");
  EXPECT_GT(own.written->mean_error, 0.02);
  EXPECT_LT(own.written->worst_error, 0.15);
  EXPECT_EQ(own.bytes, fs::file_size(file));
  MergeOptions options;
  options.dtype = "q8_0";
  const MergeReport wider = merge(file, place("peft"), place("wider.gguf"), options);
  EXPECT_LT(wider.written->worst_error, 0.01);
  EXPECT_NEAR(wider.written->survived, 1, 0.05);
  EXPECT_LE(gap(logits(*load_model(place("wider.gguf").string()), nullptr), logits(*base, adapter.get())), 0.05);
  {
    const at::NoGradGuard no_grad;
    for (const auto& parameter : adapter->parameters()) at::Tensor(parameter.value).mul_(0.02);
  }
  save_adapter(place("small"), *adapter, *base, {});
  EXPECT_LT(merge(file, place("small"), place("small.gguf")).written->survived, 0.5);
  EXPECT_GT(merge(file, place("small"), place("small-f32.gguf"), {"float32"}).written->survived, 0.999);
}

// Every matrix takes the type then, GPT-2's table of positions too.
TEST_P(GgufLoraParity, ItsSizeIsForetoldOfAMaskOverEverything) {
  const auto base = load_model(gguf().string());
  save_adapter(place("mask"), *stirred(*base, {{"ratio", 1}}, "fish"), *base, {});
  const OpenedMerge opened = open_merge(gguf(), place("mask"), place("merged.gguf"), {"float16"});
  const WeightWork work = opened.writer->work(merged_parameters(*opened.model, *opened.adapter.adapter));
  EXPECT_EQ(work.written, static_cast<std::int64_t>(opened.writer->write().bytes));
}

TEST_P(GgufLoraParity, MergesThatCannotBeAreRefused) {
  const auto adapter = stirred(model(), {{"roles", roles()}});
  save_adapter(place("peft"), *adapter, model(), {});
  const auto into = [&](const fs::path& base, const char* output, MergeOptions options = {}) {
    merge(base, place("peft"), place(output), options);
  };
  expect_error(Category::InvalidArgument, "there already", [&] { into(gguf(), gguf().filename().c_str()); });
  expect_error(Category::InvalidArgument, "Hugging Face folder", [&] { into(source(), "new.gguf"); });
  expect_error(Category::InvalidArgument, "q4_", [&] { into(gguf(), "new.gguf", {"q4_2"}); });
  expect_error(Category::Unsupported, "write a folder", [&] { into(gguf(), "new.gguf", {"", "q8_0"}); });
  expect_error(Category::Unsupported, "write a folder", [&] { into(gguf(), "new.gguf", {"", "q6_k"}); });
  expect_error(Category::InvalidArgument, "no whole blocks of 256", [&] { into(gguf(), "new.gguf", {"q4_k"}); });
  EXPECT_FALSE(fs::exists(place("new.gguf")));
}

INSTANTIATE_TEST_SUITE_P(Golden, GgufLoraParity,
                         ::testing::Values(std::pair("llama", "llama"), std::pair("llama-gqa", "llama"),
                                           std::pair("qwen2", "qwen2"), std::pair("gpt2", "gpt2"),
                                           std::pair("olmo2", "olmo2")));

// The file's weights of norms are one more than the parameters that the adapter changes.
TEST(GemmaGguf, NormsAreMergedWithTheirOne) {
  const fs::path source = goldens() / "gemma2" / "model";
  if (!fs::exists(source)) GTEST_SKIP() << "no goldens in " << goldens() << "; ./check makes them";
  const testing::Folder folder;
  const fs::path base = folder.path() / "base.gguf", output = folder.path() / "merged.gguf";
  write_as_gguf(source, base, "gemma2");
  const auto model = load_model(base.string());
  const auto adapter = stirred(*model, json::object(), "layernorm");
  save_adapter(folder.path() / "peft", *adapter, *model, {});
  const MergeReport report = merge(base, folder.path() / "peft", output);
  EXPECT_EQ(report.changed, adapter->parameters().size());
  EXPECT_EQ(report.written->worst_error, 0);
  const at::Tensor adapted = logits(*model, adapter.get());
  EXPECT_GT(gap(logits(*model, nullptr), adapted), 1e-3);
  EXPECT_LE(gap(logits(*load_model(output.string()), nullptr), adapted), 1e-5);
}

}  // namespace
}  // namespace graft
