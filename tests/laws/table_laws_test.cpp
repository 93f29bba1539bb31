// What methods do to the token embeddings and the head, where the base ties them and where it does not, on every golden
// model.
#include "base/file.h"
#include "law_model.h"

namespace graft::laws {
namespace {

using Json = nlohmann::json;

class TableLaw : public Law {
 protected:
  bool ties_its_head() const {
    return graft::find(model().tables(), kHeadSite)->weight == model().tables().front().weight;
  }

  std::unique_ptr<Adapter> lora(const char* roles, const Json& more = Json::object()) const {
    Json options = {{"roles", roles}, {"rank", 3}};
    options.update(more);
    return stirred(MethodChoice("lora"), 11, options);
  }

  // [out, in] of LoRA's update at a table; alpha is twice the rank.
  static at::Tensor update(const Adapter& adapter, const Site& site) {
    std::map<std::string, at::Tensor> factors;
    for (const auto& tensor : adapter.parameters()) factors[tensor.name] = tensor.value.detach();
    return at::matmul(factors.at(name(site) + ".b"), factors.at(name(site) + ".a")) * 2;
  }

  // The base with these tables, which it does not tie.
  std::unique_ptr<Model> untied(const at::Tensor& embeddings, const at::Tensor& head) const {
    NamedTensors tensors;
    for (auto& [parameter, value] : tensors_of(model())) {
      if (parameter == "lm_head.weight") continue;
      tensors.emplace_back(parameter, parameter == model().tables().front().weight ? embeddings : value);
    }
    tensors.emplace_back("lm_head.weight", head);
    const auto place = folder() / "untied";
    fs::create_directories(place);
    Json fields = Json::parse(read_file(model_folder() / "config.json"));
    fields["tie_word_embeddings"] = false;
    write_file(place / "config.json", fields.dump());
    write_tensors(place / "model.safetensors", tensors);
    return load_model(place.string());
  }

  at::Tensor base_of(const Site& site) const {
    return model().parameters().value(model().parameters().index(graft::find(model().tables(), site)->weight));
  }

  void expect_comes_back(const Adapter& adapter, const std::string& method) {
    const Text input = text(9);
    save_adapter(folder() / "adapter", adapter, model(), {});
    const LoadedAdapter loaded = load_adapter(folder() / "adapter", model());
    EXPECT_EQ(loaded.method, method);
    EXPECT_TRUE(at::equal(logits(model(), input, loaded.adapter.get()), logits(model(), input, &adapter)));
  }

  Json config() const { return Json::parse(read_file(folder() / "adapter/adapter_config.json")); }
};

// PEFT's way: an update of one module leaves the other alone, though the base has one table for both.
TEST_P(TableLaw, UpdatesOfTablesAreThoseOfAModelThatDoesNotTieThem) {
  if (model().encoder_decoder()) GTEST_SKIP() << "encoder and decoder read one table";
  const Text input = text(12);
  const Site embed = embedding_site(Stack::Decoder);
  for (const char* roles : {"embed", "head", "embed,head"}) {
    SCOPED_TRACE(roles);
    const auto adapter = lora(roles);
    const at::Tensor embeddings =
        adapter->acts_on(embed) ? base_of(embed) + update(*adapter, embed).t() : base_of(embed);
    const at::Tensor head =
        adapter->acts_on(kHeadSite) ? base_of(kHeadSite) + update(*adapter, kHeadSite) : base_of(kHeadSite);
    const at::Tensor want = logits(*untied(embeddings, head), input);
    EXPECT_GT(relative_gap(logits(model(), input), want), 1e-3);
    EXPECT_LE(relative_gap(logits(model(), input, adapter.get()), want), kCoarseRounding);
  }
}

TEST_P(TableLaw, ATiedUpdateIsOfBothAndMerges) {
  const bool named_so = model().tables().front().module().ends_with("embed_tokens");
  if (model().encoder_decoder() || !ties_its_head() || !named_so) {
    expect_error(Category::InvalidArgument, "method.options.tie", [&] { lora("embed", {{"tie", true}}); });
    return;
  }
  const Text input = text(12);
  const auto adapter = lora("embed", {{"tie", true}});
  const at::Tensor table = base_of(kHeadSite) + update(*adapter, embedding_site(Stack::Decoder)).t();
  const at::Tensor want = logits(*untied(table, table), input);
  EXPECT_LE(relative_gap(logits(model(), input, adapter.get()), want), kCoarseRounding);
  const std::int64_t index = model().parameters().index(model().tables().front().weight);
  EXPECT_LE(relative_gap(adapter->merged(index, base_of(kHeadSite)), table), kRounding);
  expect_comes_back(*adapter, "lora");
  EXPECT_EQ(config().at("ensure_weight_tying"), true);
  NamedTensors tensors = read_tensors(folder() / "adapter/adapter_model.safetensors");
  for (auto& [name, value] : tensors) {
    if (name.ends_with("lm_head.lora_A.weight")) value = value + 1;
  }
  write_tensors(folder() / "adapter/adapter_model.safetensors", tensors);
  expect_error(Category::Corruption, "ensure_weight_tying", [&] { load_adapter(folder() / "adapter", model()); });
}

TEST_P(TableLaw, WhatOneParameterCannotHoldIsNotMerged) {
  for (const char* names : {"lora", "tables"}) {
    SCOPED_TRACE(names);
    const auto adapter = stirred(MethodChoice(names), 11, {{"roles", "embed"}});
    const bool shared = model().encoder_decoder() || ties_its_head();
    EXPECT_EQ(mergeable(*adapter), !shared);
  }
}

// Each slot's rows have its own updates or copies, whether the base ties its tables or not.
TEST_P(TableLaw, EmbeddingsAndHeadsMixInABatch) {
  Adapters adapters;
  adapters.push_back(lora("q,embed"));
  adapters.push_back(lora("head"));
  adapters.push_back(stirred(MethodChoice("lora"), 12, {{"roles", "embed,head"}, {"rank", 3}}));
  adapters.push_back(stirred(MethodChoice("tables"), 13));
  adapters.push_back(stirred(MethodChoice("tables"), 14, {{"roles", "head"}}));
  adapters.push_back(stirred(MethodChoice("lora"), 15, {{"roles", "head"}, {"dora", true}}));
  expect_mixes(adapters, {0, 1, -1, 2, 3, 5, -1, 4, 1, 3});
}

TEST_P(TableLaw, ComeBackFromPeftsFile) {
  expect_comes_back(*lora("embed,head,o"), "lora");
  const auto both = stirred(MethodChoice("lora+tables"), 11, {{"lora", {{"roles", "o"}}}});
  expect_comes_back(*both, "lora+tables");
  EXPECT_EQ(config().at("peft_type"), "LORA");
  EXPECT_EQ(config().at("modules_to_save").size(), 2u);
  EXPECT_FALSE(fs::exists(folder() / "adapter/lora"));
  expect_error(Category::InvalidArgument, "both act on", [&] {
    fresh(MethodChoice("lora+tables"), model(), {{"lora", {{"roles", "embed"}}}});
  });
}

TEST_P(TableLaw, ASavedModuleWithoutItsTensorIsRefused) {
  const auto both = stirred(MethodChoice("lora+tables"), 11, {{"lora", {{"roles", "o"}}}});
  save_adapter(folder() / "adapter", *both, model(), {});
  NamedTensors tensors = read_tensors(folder() / "adapter/adapter_model.safetensors");
  std::erase_if(tensors, [](const auto& tensor) { return tensor.first.ends_with("lm_head.weight"); });
  write_tensors(folder() / "adapter/adapter_model.safetensors", tensors);
  expect_error(Category::Corruption, "modules_to_save", [&] { load_adapter(folder() / "adapter", model()); });
}

// Which PEFT saves beside an adapter of the embeddings.
TEST_P(TableLaw, TheBasesOwnTableInAFileIsKnown) {
  const auto adapter = lora("embed");
  save_adapter(folder() / "adapter", *adapter, model(), {});
  const auto file = folder() / "adapter/adapter_model.safetensors";
  const NamedTensors sound = read_tensors(file);
  const RoleEntry& table = model().tables().front();
  const auto with = [&](const at::Tensor& value) {
    NamedTensors tensors = sound;
    tensors.emplace_back("base_model.model." + table.module() + ".base_layer.weight", value);
    write_tensors(file, tensors);
  };
  with(base_of(table.site));
  EXPECT_EQ(load_adapter(folder() / "adapter", model()).method, "lora");
  with(base_of(table.site) + 1);
  expect_error(Category::Unsupported, "another table of its base",
               [&] { load_adapter(folder() / "adapter", model()); });
}

TEST_P(TableLaw, NormsMayBeSavedModules) {
  const auto norms = stirred(MethodChoice("lora+layernorm"));
  const auto& parts = dynamic_cast<const Combination&>(*norms).parts();
  save_adapter(folder() / "lora", *parts[0].adapter, model(), {});
  NamedTensors tensors = read_tensors(folder() / "lora/adapter_model.safetensors");
  Json modules = Json::array(), fields = Json::parse(read_file(folder() / "lora/adapter_config.json"));
  for (const auto& norm : model().norms()) modules.push_back(norm.module);
  for (const auto& tensor : parts[1].adapter->peft_tensors()) {
    std::string name = tensor.name;
    name.erase(name.find(".ln_tuning_layers"), std::string(".ln_tuning_layers").size());
    tensors.emplace_back("base_model.model." + name, tensor.value);
  }
  fields["modules_to_save"] = modules;
  write_file(folder() / "lora/adapter_config.json", fields.dump());
  write_tensors(folder() / "lora/adapter_model.safetensors", tensors);
  const Text input = text(9);
  const LoadedAdapter loaded = load_adapter(folder() / "lora", model());
  EXPECT_EQ(loaded.method, "lora+layernorm");
  EXPECT_TRUE(at::equal(logits(model(), input, loaded.adapter.get()), logits(model(), input, norms.get())));
}

// The fields bias: all and bias: lora_only.
class BiasLaw : public TableLaw {
 protected:
  // Of maps with a bias, of LoRA's only or of all.
  Json modules(const Adapter* acting) const {
    Json found = Json::array();
    for (const auto& entry : model().roles()) {
      if (!entry.fused() && !entry.bias.empty() && (acting == nullptr || acting->acts_on(entry.site)))
        found.push_back(entry.module());
    }
    return found;
  }
};

TEST_P(BiasLaw, TrainedBiasesAreInPeftsFile) {
  const auto alone = fresh(MethodChoice("lora"), model());
  const MethodChoice both("lora+bitfit");
  for (const char* kind : {"all", "lora_only"}) {
    SCOPED_TRACE(kind);
    const bool all = std::string(kind) == "all";
    const Json named = modules(all ? nullptr : alone.get());
    if (named.empty()) continue;
    const Json bitfit = {{"modules", named}, {"norms", all}};
    expect_comes_back(*stirred(both, 11, {{"bitfit", bitfit}}), "lora+bitfit");
    EXPECT_EQ(config().at("peft_type"), "LORA");
    EXPECT_EQ(config().at("bias"), kind);
    NamedTensors tensors = read_tensors(folder() / "adapter/adapter_model.safetensors");
    std::erase_if(tensors, [](const auto& tensor) { return tensor.first.ends_with(".bias"); });
    write_tensors(folder() / "adapter/adapter_model.safetensors", tensors);
    expect_error(Category::Corruption, "write 'none' there", [&] { load_adapter(folder() / "adapter", model()); });
  }
}

// Not what PEFT means by either word.
TEST_P(BiasLaw, OtherBiasesHaveAFolderOfTheirOwn) {
  const auto added = stirred(MethodChoice("lora+bitfit"), 11, {{"bitfit", {{"roles", "down"}, {"norms", false}}}});
  expect_comes_back(*added, "lora+bitfit");
  EXPECT_EQ(config().at("peft_type"), "COMBINATION");
}

TEST_P(BiasLaw, AModelWithoutBiasesHasNoneToTrain) {
  const auto& norms = model().norms();
  const bool norm_bias = std::any_of(norms.begin(), norms.end(), [](const NormEntry& norm) { return norm.bias >= 0; });
  if (norm_bias || !modules(nullptr).empty()) GTEST_SKIP() << "this one has biases";
  save_adapter(folder() / "lora", *stirred(MethodChoice("lora")), model(), {});
  Json fields = Json::parse(read_file(folder() / "lora/adapter_config.json"));
  fields["bias"] = "all";
  write_file(folder() / "lora/adapter_config.json", fields.dump());
  EXPECT_EQ(load_adapter(folder() / "lora", model()).method, "lora");
}

INSTANTIATE_TEST_SUITE_P(Golden, TableLaw, ::testing::ValuesIn(models()), title);
INSTANTIATE_TEST_SUITE_P(Golden, BiasLaw, ::testing::ValuesIn(models()), title);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(TableLaw);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(BiasLaw);

}  // namespace
}  // namespace graft::laws
