// The vectors that T-Few's authors released, read into models of their shape. The models are files without content
// (zeros that take no room on the disk, mapped), so that a model of 3 billion parameters costs nothing.
#include "adapters/core/peft.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "adapters/core/combination.h"
#include "base/file.h"
#include "checkpoint/fixture_test.h"
#include "nn/tensor_file.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Shape = std::vector<std::int64_t>;

struct T5Shape {
  std::int64_t model, head_dim, heads, inner, layers, vocabulary;
};

constexpr T5Shape kTiny{8, 4, 2, 12, 2, 16};
constexpr T5Shape kT0With3B{2048, 64, 32, 5120, 24, 32128};

void add_stack(const std::string& stack, const T5Shape& t5, std::vector<std::pair<std::string, Shape>>& tensors) {
  const std::int64_t inner = t5.heads * t5.head_dim;
  tensors.push_back({stack + ".block.0.layer.0.SelfAttention.relative_attention_bias.weight", {32, t5.heads}});
  for (std::int64_t block = 0; block < t5.layers; ++block) {
    int layer = 0;
    const auto begin = [&] {
      const auto prefix = fmt::format("{}.block.{}.layer.{}.", stack, block, layer++);
      tensors.push_back({prefix + "layer_norm.weight", {t5.model}});
      return prefix;
    };
    for (const char* part : {"SelfAttention.", "EncDecAttention."}) {
      if (stack == "encoder" && part[0] == 'E') continue;
      const auto prefix = begin() + part;
      for (const char* map : {"q", "k", "v"}) tensors.push_back({prefix + map + ".weight", {inner, t5.model}});
      tensors.push_back({prefix + "o.weight", {t5.model, inner}});
    }
    const auto prefix = begin() + "DenseReluDense.";
    for (const char* map : {"wi_0", "wi_1"}) tensors.push_back({prefix + map + ".weight", {t5.inner, t5.model}});
    tensors.push_back({prefix + "wo.weight", {t5.model, t5.inner}});
  }
  tensors.push_back({stack + ".final_layer_norm.weight", {t5.model}});
}

/// A gated, untied T5 in bf16 whose weights are a hole in a file.
fs::path hollow_t5(const fs::path& folder, const T5Shape& t5) {
  std::vector<std::pair<std::string, Shape>> tensors = {{"shared.weight", {t5.vocabulary, t5.model}},
                                                        {"lm_head.weight", {t5.vocabulary, t5.model}}};
  add_stack("encoder", t5, tensors);
  add_stack("decoder", t5, tensors);
  Json header = Json::object();
  std::int64_t end = 0;
  for (const auto& [name, shape] : tensors) {
    const std::int64_t begin = end;
    end += 2 * (shape.size() == 2 ? shape[0] * shape[1] : shape[0]);
    header[name] = {{"dtype", "BF16"}, {"shape", shape}, {"data_offsets", {begin, end}}};
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  std::string length(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) length[i] = static_cast<char>((text.size() >> (8 * i)) & 0xff);
  write_file(folder / "model.safetensors", length + text);
  fs::resize_file(folder / "model.safetensors", 8 + text.size() + static_cast<std::uintmax_t>(end));
  const Json config = {{"model_type", "t5"},          {"d_model", t5.model},
                       {"d_kv", t5.head_dim},         {"d_ff", t5.inner},
                       {"num_heads", t5.heads},       {"num_layers", t5.layers},
                       {"vocab_size", t5.vocabulary}, {"feed_forward_proj", "gated-gelu"},
                       {"tie_word_embeddings", false}};
  write_file(folder / "config.json", config.dump());
  return folder;
}

std::unique_ptr<Model> load_hollow(const fs::path& folder) {
  ModelOptions options;
  options.dtype = at::kBFloat16;
  return load_model(folder.string(), options);
}

/// The authors' names for a model of this shape, each [out, 1] in fp32, no value twice.
NamedTensors authors_vectors(const T5Shape& t5) {
  NamedTensors tensors;
  float next = 1;
  const auto add = [&](const std::string& name, std::int64_t size) {
    tensors.emplace_back(name + ".multi_lora_b", at::arange(size, at::kFloat).add(next).view({-1, 1}));
    next += static_cast<float>(size);
  };
  for (const char* stack : {"encoder", "decoder"}) {
    for (std::int64_t block = 0; block < t5.layers; ++block) {
      int layer = 0;
      for (const char* part : {"SelfAttention", "EncDecAttention"}) {
        if (stack[0] == 'e' && part[0] == 'E') continue;
        const auto prefix = fmt::format("{}.block.{}.layer.{}.{}.", stack, block, layer++, part);
        add(prefix + "k", t5.heads * t5.head_dim);
        add(prefix + "v", t5.heads * t5.head_dim);
      }
      add(fmt::format("{}.block.{}.layer.{}.DenseReluDense.wi_1", stack, block, layer), t5.inner);
    }
  }
  return tensors;
}

// Every vector of `original` (the authors' names) is in the PEFT folder with the same values, and nothing else is.
void expect_holds(const fs::path& folder, const NamedTensors& original) {
  std::map<std::string, at::Tensor> stored;
  for (auto& [name, value] : read_tensors(folder / "adapter_model.safetensors")) stored[name] = value;
  ASSERT_EQ(stored.size(), original.size());
  for (const auto& [name, value] : original) {
    const auto peft = "base_model.model." + name.substr(0, name.rfind('.')) + ".ia3_l";
    ASSERT_TRUE(stored.count(peft) > 0) << peft;
    EXPECT_TRUE(at::equal(stored.at(peft), value)) << peft;
  }
}

void expect_crosses_over(const fs::path& file, const Model& model, const fs::path& scratch) {
  const NamedTensors original = read_tensors(file);
  const LoadedAdapter loaded = load_adapter(file, model);
  EXPECT_EQ(loaded.method, "ia3");
  EXPECT_EQ(loaded.tensors, original.size());
  EXPECT_EQ(loaded.adapter->parameters().size(), original.size());
  save_adapter(scratch / "first", *loaded.adapter, model, {});
  expect_holds(scratch / "first", original);
  const auto config = Json::parse(read_file(scratch / "first/adapter_config.json"));
  EXPECT_EQ(config.at("target_modules"), (Json{"k", "v", "wi_1"}));
  EXPECT_EQ(config.at("feedforward_modules"), Json::array());

  const LoadedAdapter back = load_adapter(scratch / "first", model);
  save_adapter(scratch / "second", *back.adapter, model, {});
  expect_holds(scratch / "second", original);
}

TEST(TfewVectors, ScaleTheOutputsOfTheMapsTheyName) {
  const testing::Folder folder;
  const auto model = load_hollow(hollow_t5(folder.path() / "model", kTiny));
  write_tensors(folder.path() / "vectors.safetensors", authors_vectors(kTiny));
  expect_crosses_over(folder.path() / "vectors.safetensors", *model, folder.path());
}

TEST(PeftFolder, WithoutATensorThatItsTargetsPromiseIsRefused) {
  const testing::Folder folder;
  const auto model = load_hollow(hollow_t5(folder.path() / "model", kTiny));
  for (const char* name : {"ia3", "lora"}) {
    const auto place = folder.path() / name;
    Rng rng(0);
    save_adapter(place, *adapters::find(name).create(*model, {}, rng), *model, {});
    EXPECT_EQ(load_adapter(place, *model).method, name);
    NamedTensors tensors = read_tensors(place / "adapter_model.safetensors");
    const std::string gone = tensors[0].first.substr(0, tensors[0].first.rfind(name[0] == 'i' ? ".ia3_l" : ".lora_"));
    std::erase_if(tensors, [&](const auto& tensor) { return tensor.first.starts_with(gone + "."); });
    write_tensors(place / "adapter_model.safetensors", tensors);
    testing::expect_error(Category::Corruption, "has no tensor for it", [&] { load_adapter(place, *model); });
  }
}

// What PEFT matches with re.fullmatch and, of the patterns of ranks, with re.match.
TEST(PeftFolder, PatternsOfModulesAreReadAndTheirSlipsTold) {
  const testing::Folder folder;
  const auto model = load_hollow(hollow_t5(folder.path() / "model", kTiny));
  Rng rng(0);
  save_adapter(folder.path(), *adapters::find("lora").create(*model, {}, rng), *model, {});
  const Json sound = Json::parse(read_file(folder.path() / "adapter_config.json"));
  const auto load_with = [&](const char* field, const Json& value) {
    Json config = sound;
    config[field] = value;
    write_file(folder.path() / "adapter_config.json", config.dump());
    return load_adapter(folder.path(), *model).method;
  };
  EXPECT_EQ(load_with("target_modules", R"(.*Attention\.(q|v))"), "lora");
  testing::expect_error(Category::Corruption, "the pattern 'q|v' matches no module",  // no whole name
                        [&] { load_with("target_modules", "q|v"); });
  testing::expect_error(Category::Corruption, "has no tensor for it",
                        [&] { load_with("target_modules", R"(.*Attention\.(q|v|o))"); });
  for (const char* field : {"target_modules", "exclude_modules"})
    testing::expect_error(Category::Corruption, std::string("adapter_config.json: ") + field,
                          [&] { load_with(field, "(q|v"); });
  for (const char* field : {"rank_pattern", "alpha_pattern"}) {
    EXPECT_EQ(load_with(field, {{"(q|v)", 8}}), "lora");
    testing::expect_error(Category::Corruption, std::string("adapter_config.json: ") + field, [&] {
      load_with(field, {{"(q|v", 8}});
    });
  }
  testing::expect_error(Category::Corruption, "fit rank 4", [&] { load_with("rank_pattern", {{"block.1.*v", 4}}); });
}

// PEFT would pass over what is not targeted, and raises where nothing is.
TEST(PeftFolder, WhatItsTargetsDoNotMeanIsRefused) {
  const testing::Folder folder;
  const auto model = load_hollow(hollow_t5(folder.path() / "model", kTiny));
  for (const char* name : {"ia3", "lora"}) {
    SCOPED_TRACE(name);
    const auto place = folder.path() / name;
    Rng rng(0);
    save_adapter(place, *adapters::find(name).create(*model, {}, rng), *model, {});
    const Json sound = Json::parse(read_file(place / "adapter_config.json"));
    const auto load_with = [&](const Json& fields) {
      Json config = sound;
      if (config.contains("feedforward_modules")) config["feedforward_modules"] = ".*wo";  // outlives other targets
      config.update(fields);
      write_file(place / "adapter_config.json", config.dump());
      return load_adapter(place, *model).method;
    };
    const Json nothing = {{"target_modules", {"nope1", "nope2"}}};
    testing::expect_error(Category::Corruption,
                          "target_modules: 'nope1' is no module of this model (known: ", [&] { load_with(nothing); });
    Json more = sound.at("target_modules");
    more.push_back("wi_7");
    testing::expect_error(Category::Corruption, "'wi_7' is no module of this model (did you mean 'wi_0'?)", [&] {
      load_with({{"target_modules", more}});
    });
    testing::expect_error(Category::Corruption, "adapter_config.json does not target it", [&] {
      load_with({{"target_modules", {"v"}}});
    });
    testing::expect_error(Category::Corruption, "adapter_config.json does not target it", [&] {
      load_with({{"exclude_modules", {"v"}}});
    });
    EXPECT_EQ(load_with({{"target_modules", nullptr}}), name) << "says nothing";
  }
  Json stray = Json::parse(read_file(folder.path() / "ia3/adapter_config.json"));
  stray.update({{"target_modules", {"k", "v", "wo"}}, {"feedforward_modules", {"wo", "wi_0"}}});
  write_file(folder.path() / "ia3/adapter_config.json", stray.dump());
  testing::expect_error(Category::Corruption, "feedforward_modules: \"wi_0\" is not among target_modules",
                        [&] { load_adapter(folder.path() / "ia3", *model); });
}

TEST(PeftFolder, ANormThatIsNotTargetedIsRefused) {
  const testing::Folder folder;
  const auto model = load_hollow(hollow_t5(folder.path() / "model", kTiny));
  Rng rng(0);
  save_adapter(folder.path(), *adapters::find("layernorm").create(*model, {}, rng), *model, {});
  Json config = Json::parse(read_file(folder.path() / "adapter_config.json"));
  const auto load_with = [&](const Json& targets) {
    config["target_modules"] = targets;
    write_file(folder.path() / "adapter_config.json", config.dump());
    return load_adapter(folder.path(), *model).method;
  };
  // As PEFT's own lists do, it may name norms that only other models of a family have.
  EXPECT_EQ(load_with({"layer_norm", "final_layer_norm", "q_norm"}), "layernorm");
  testing::expect_error(Category::Corruption, "final_layer_norm: the adapter's file has a tensor for this norm",
                        [&] { load_with({"layer_norm"}); });
}

// What is saved whole has no update beside it, whatever the targets say.
TEST(PeftFolder, ATargetThatIsSavedWholeIsLeftOut) {
  const testing::Folder folder;
  const auto model = load_hollow(hollow_t5(folder.path() / "model", kTiny));
  Rng rng(0);
  save_adapter(folder.path(), *MethodChoice("lora+tables").create(*model, {{"tables", {{"roles", "head"}}}}, rng),
               *model, {});
  Json config = Json::parse(read_file(folder.path() / "adapter_config.json"));
  EXPECT_EQ(config.at("modules_to_save"), Json{"lm_head"});
  config["target_modules"].push_back("lm_head");
  for (const Json& excluded : {Json(), Json{"wi_0"}, Json(".*wi_0")}) {
    config["exclude_modules"] = excluded;
    write_file(folder.path() / "adapter_config.json", config.dump());
    EXPECT_EQ(load_adapter(folder.path(), *model).method, "lora+tables") << excluded;
  }
}

// PEFT's way with a prefix in an encoder–decoder model (tests/golden/README.md), which no golden model shows for an
// even number of layers.
TEST(PeftFolder, APrefixOfAnEvenNumberOfLayersLeavesEveryOtherBlockOut) {
  const testing::Folder folder;
  const auto model = load_hollow(hollow_t5(folder.path() / "model", kTiny));
  Rng rng(0);
  const auto adapter = adapters::find("prefix_tuning")
                           .create(*model, {{"length", 3}, {"layout", "peft"}, {"reparametrise", false}}, rng);
  const at::Tensor first = adapter->prefix(Stack::Decoder, 0).first, second = adapter->prefix(Stack::Decoder, 1).first;
  EXPECT_TRUE(at::equal(first, second));
  save_adapter(folder.path() / "prefix", *adapter, *model, {});
  const NamedTensors tensors = read_tensors(folder.path() / "prefix/adapter_model.safetensors");
  ASSERT_EQ(tensors.size(), 1u);
  const at::Tensor blocks = tensors.front().second.view({3, kTiny.layers, 2, kTiny.heads, kTiny.head_dim});
  EXPECT_TRUE(at::equal(first.detach(), blocks.select(1, 0).select(1, 0)));
}

TEST(PeftFolder, AFieldThatGraftDoesNotKnowIsNamedAndRefused) {
  const testing::Folder folder;
  const auto model = load_hollow(hollow_t5(folder.path() / "model", kTiny));
  const std::vector<std::pair<const char*, Json>> unknown = {{"ia3", {{"modules_to_save", {"lm_head"}}}},
                                                             {"layernorm", {{"modules_to_save", {"lm_head"}}}},
                                                             {"lora", {{"bias", "some"}}},
                                                             {"lora", {{"modules_to_save", {"score"}}}},
                                                             {"lora", {{"use_qalora", true}}},
                                                             {"lora", {{"alora_invocation_tokens", {1, 2}}}},
                                                             {"lora", {{"target_parameters", {"shared.weight"}}}},
                                                             {"lora", {{"kasa_config", {{"beta", 1}}}}},
                                                             {"lora", {{"trainable_token_indices", {7}}}},
                                                             {"lora", {{"layer_replication", {{0, 2}}}}},
                                                             {"lora", {{"made_by_a_later_peft", 0.5}}},
                                                             {"prompt_tuning", {{"prompt_of_a_later_peft", 1}}},
                                                             {"prefix_tuning", {{"modules_to_save", {"lm_head"}}}}};
  for (const auto& [method, fields] : unknown) {
    const std::string key = fields.begin().key();
    SCOPED_TRACE(std::string(method) + " " + key);
    const auto place = folder.path() / method;
    Rng rng(0);
    save_adapter(place, *adapters::find(method).create(*model, {}, rng), *model, {});
    Json config = Json::parse(read_file(place / "adapter_config.json"));
    for (const Json& nothing : {Json(), Json(false), Json(0), Json(""), Json::array(), Json::object()}) {
      if (key == "bias") continue;
      config[key] = nothing;
      write_file(place / "adapter_config.json", config.dump());
      EXPECT_EQ(load_adapter(place, *model).method, method) << nothing;
    }
    config.update(fields);
    write_file(place / "adapter_config.json", config.dump());
    testing::expect_error(Category::Unsupported, "adapter_config.json: " + key, [&] { load_adapter(place, *model); });
  }
}

// Continued, they would train on numbers that are none.
TEST(PeftFolder, LoraOfNoRankOrAllDroppedIsRefused) {
  const testing::Folder folder;
  const auto model = load_hollow(hollow_t5(folder.path() / "model", kTiny));
  Rng rng(0);
  save_adapter(folder.path(), *adapters::find("lora").create(*model, {}, rng), *model, {});
  const Json sound = Json::parse(read_file(folder.path() / "adapter_config.json"));
  const char* const rank = "a rank is at least 1";
  const std::vector<std::pair<const char*, Json>> wrong = {{rank, {{"r", 0}}},
                                                           {rank, {{"r", -8}}},
                                                           {rank, {{"rank_pattern", {{"q", 1e300}}}}},
                                                           {"lora_dropout", {{"lora_dropout", 1}}},
                                                           {"lora_dropout", {{"lora_dropout", -0.5}}}};
  for (const auto& [told, fields] : wrong) {
    SCOPED_TRACE(fields.dump());
    Json config = sound;
    config.update(fields);
    write_file(folder.path() / "adapter_config.json", config.dump());
    testing::expect_error(Category::Corruption, told, [&] { load_adapter(folder.path(), *model); });
  }
}

TEST(PeftFolder, AFieldOfTheWrongKindIsRefused) {
  const testing::Folder folder;
  const auto model = load_hollow(hollow_t5(folder.path() / "model", kTiny));
  const std::vector<std::pair<const char*, Json>> wrong = {{"lora", {{"r", "eight"}}},
                                                           {"lora", {{"lora_alpha", nullptr}}},
                                                           {"prompt_tuning", {{"num_virtual_tokens", "three"}}},
                                                           {"prefix_tuning", {{"num_virtual_tokens", {{"a", 1}}}}}};
  for (const auto& [method, fields] : wrong) {
    SCOPED_TRACE(std::string(method) + " " + fields.dump());
    const auto place = folder.path() / method;
    Rng rng(0);
    save_adapter(place, *adapters::find(method).create(*model, {}, rng), *model, {});
    Json config = Json::parse(read_file(place / "adapter_config.json"));
    config.update(fields);
    write_file(place / "adapter_config.json", config.dump());
    testing::expect_error(Category::Corruption, "adapter_config.json: has a field of the wrong kind",
                          [&] { load_adapter(place, *model); });
    config["peft_type"] = 3;
    write_file(place / "adapter_config.json", config.dump());
    testing::expect_error(Category::Unsupported, "peft_type ''", [&] { load_adapter(place, *model); });
  }
}

// Of every method that has a file: a tensor of another shape, one too many, and the file as another method's.
TEST(PeftFolder, WhatDoesNotFitTheModelIsRefused) {
  const testing::Folder folder;
  const auto model = load_hollow(hollow_t5(folder.path() / "model", kTiny));
  for (const Method* method : adapters::registry()) {
    if (*method->peft_type == '\0') continue;
    SCOPED_TRACE(method->name);
    const auto place = folder.path() / method->name, file = place / "adapter_model.safetensors";
    Rng rng(0);
    save_adapter(place, *method->create(*model, {}, rng), *model, {});
    const NamedTensors sound = read_tensors(file);
    NamedTensors other = sound;
    other.front().second = at::cat({sound.front().second, sound.front().second}, -1);
    write_tensors(file, other);
    testing::expect_error(Category::Corruption, "", [&] { load_adapter(place, *model); });
    other = sound;
    other.emplace_back("base_model.model.encoder.block.9.elsewhere", at::ones({4}));
    write_tensors(file, other);
    testing::expect_error(Category::Corruption, "", [&] { load_adapter(place, *model); });
    write_tensors(file, sound);
    EXPECT_EQ(load_adapter(place, *model).method, method->name);
    const std::string another = std::string(method->peft_type) == "IA3" ? "LORA" : "IA3";
    Json config = Json::parse(read_file(place / "adapter_config.json"));
    config["peft_type"] = another;
    write_file(place / "adapter_config.json", config.dump());
    try {
      load_adapter(place, *model);
      ADD_FAILURE() << "was read as " << another;
    } catch (const Error& error) {
      EXPECT_TRUE(error.category() == Category::Corruption || error.category() == Category::Unsupported)
          << error.what();
    }
  }
}

TEST(PeftFolder, LoraThatBeganFromChangedBaseWeightsIsRefused) {
  const testing::Folder folder;
  const auto model = load_hollow(hollow_t5(folder.path() / "model", kTiny));
  Rng rng(0);
  save_adapter(folder.path() / "lora", *adapters::find("lora").create(*model, {}, rng), *model, {});
  const auto file = folder.path() / "lora/adapter_config.json";
  Json config = Json::parse(read_file(file));
  config["init_lora_weights"] = "gaussian";
  write_file(file, config.dump());
  EXPECT_EQ(load_adapter(folder.path() / "lora", *model).method, "lora");
  config["init_lora_weights"] = "pissa_niter_16";
  write_file(file, config.dump());
  testing::expect_error(Category::Unsupported, "changes the base weights",
                        [&] { load_adapter(folder.path() / "lora", *model); });
}

TEST(TfewVectors, RefuseAnotherShapeAndOtherNames) {
  const testing::Folder folder;
  const auto model = load_hollow(hollow_t5(folder.path() / "model", kTiny));
  const auto file = folder.path() / "vectors.safetensors";
  NamedTensors vectors = authors_vectors(kTiny);
  vectors[0].second = at::ones({9, 1});
  write_tensors(file, vectors);
  testing::expect_error(Category::Corruption, "has 9 values, the model needs 8", [&] { load_adapter(file, *model); });
  vectors = authors_vectors(kTiny);
  vectors[1].first = "encoder.block.7.layer.0.SelfAttention.v.multi_lora_b";
  write_tensors(file, vectors);
  testing::expect_error(Category::Corruption, "block.7.layer.0.SelfAttention.v", [&] { load_adapter(file, *model); });
  vectors[1].first = "encoder.block.0.layer.0.SelfAttention.v.lora_A.weight";
  write_tensors(file, vectors);
  testing::expect_error(Category::Unsupported, "give the PEFT folder", [&] { load_adapter(file, *model); });
}

TEST(TfewVectors, TheAuthorsOwnGoIntoAModelOfT0sShape) {
  const char* given = std::getenv("GRAFT_DATA");
  const fs::path data = given != nullptr ? fs::path(given) : fs::path(GRAFT_SOURCE_DIR) / "../shared/data";
  const fs::path file = data / "tfew-ia3/t03b_ia3_finish.pt";
  if (!fs::exists(file)) GTEST_SKIP() << file << " is absent; set GRAFT_DATA";
  const testing::Folder folder;
  const auto model = load_hollow(hollow_t5(folder.path() / "model", kT0With3B));
  EXPECT_EQ(read_tensors(file).size(), 192u);
  expect_crosses_over(file, *model, folder.path());
}

}  // namespace
}  // namespace graft
