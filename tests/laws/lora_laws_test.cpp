// What LoRA's variants must do beyond LoRA itself, on every golden model.
#include <set>

#include "convert/subspace.h"
#include "law_model.h"

namespace graft::laws {
namespace {

using Json = nlohmann::json;

class LoraLaw : public Law {
 protected:
  std::map<std::string, at::Tensor> tensors(const Adapter& adapter) const {
    std::map<std::string, at::Tensor> found;
    for (const auto& tensor : adapter.parameters()) found[tensor.name] = tensor.value;
    return found;
  }

  bool has_fused() const {
    const auto& roles = model().roles();
    return std::any_of(roles.begin(), roles.end(), [](const RoleEntry& entry) { return entry.fused(); });
  }

  // Whether the update of a fused map in PEFT's file has values in the rows of those slices alone that are adapted.
  void expect_rows_of_slices(const Adapter& adapter, bool whole) const {
    std::map<std::string, at::Tensor> stored;
    for (const auto& tensor : adapter.peft_tensors()) stored[tensor.name] = tensor.value;
    for (const auto& entry : model().roles()) {
      const auto b = stored.find(entry.module() + ".lora_B.weight");
      if (b == stored.end() || !entry.fused()) continue;
      const at::Tensor rows = b->second.narrow(0, entry.first, entry.out);
      EXPECT_EQ(rows.abs().max().item<double>() > 0, whole || adapter.acts_on(entry.site)) << name(entry.site);
    }
  }

  // [out, in] of a whole map.
  at::Tensor weight(const RoleEntry& entry) const {
    const at::Tensor stored = model().parameters().value(model().parameters().index(entry.weight));
    return entry.layout == Layout::OutIn ? stored : stored.t();
  }
};

// Meng et al. 2024: the update begins as the best approximation of its rank, and what is left of the base is the rest.
TEST_P(LoraLaw, PissaBeginsAtTheBaseWithItsLargestSingularVectors) {
  constexpr std::int64_t kRank = 4;
  constexpr double kAlpha = 6;
  const Text input = text(12);
  const auto adapter = fresh(MethodChoice("lora"), model(), {{"init", "pissa"}, {"rank", kRank}, {"alpha", kAlpha}});
  EXPECT_LE(relative_gap(logits(model(), input, adapter.get()), logits(model(), input)), kCoarseRounding);
  const auto trained = tensors(*adapter);
  for (const auto& entry : model().roles()) {
    const auto a = trained.find(name(entry.site) + ".a");
    if (a == trained.end()) continue;
    const at::Tensor update = at::matmul(trained.at(name(entry.site) + ".b"), a->second) * (kAlpha / kRank);
    const at::Tensor values = at::linalg_svdvals(weight(entry));
    const double rest = values.slice(0, kRank).norm().item<double>();
    EXPECT_NEAR((weight(entry) - update).norm().item<double>(), rest, 1e-4 * values.norm().item<double>());
  }
}

TEST_P(LoraLaw, PissaIsSavedAsPlainLora) {
  for (const bool rslora : {false, true}) {
    const Text input = text(12);
    const auto adapter = stirred(MethodChoice("lora"), 11, {{"init", "pissa"}, {"rank", 3}, {"rslora", rslora}});
    save_adapter(folder() / "pissa", *adapter, model(), {});
    const at::Tensor want = logits(model(), input, adapter.get());
    EXPECT_GT(relative_gap(logits(model(), input), want), 1e-3);
    EXPECT_LE(relative_gap(logits(model(), input, load_adapter(folder() / "pissa", model()).adapter.get()), want),
              kCoarseRounding);
  }
}

// PEFT knows whole maps: what acts on slices of one is one update of it there, of their ranks together.
TEST_P(LoraLaw, IsSavedAsOneUpdateOfEachModule) {
  std::vector<Json> cases = {
      Json{{"rank", 3}, {"roles", "q,v"}},
      Json{{"rank", 3}, {"roles", "q,v"}, {"ranks", {{"v", 2}}}, {"alphas", {{"v", 5}}}},
      Json{{"rank", 3}, {"roles", "q,v"}, {"ranks", {{"v", 2}}}, {"alphas", {{"q", 5}}}, {"rslora", true}},
      Json{{"rank", 2}, {"roles", "k,v"}, {"init", "pissa"}}};
  if (has_fused()) cases.push_back(Json{{"rank", 2}, {"roles", "q,qkv"}, {"alphas", {{"q", 3}}}});
  const Text input = text(12);
  for (const Json& options : cases) {
    SCOPED_TRACE(options.dump());
    const auto adapter = stirred(MethodChoice("lora"), 11, options);
    save_adapter(folder() / "lora", *adapter, model(), {});
    std::set<std::string> modules;
    for (const auto& entry : model().roles()) {
      if (adapter->acts_on(entry.site)) modules.insert(entry.module());
    }
    expect_rows_of_slices(*adapter, options.at("roles") == "q,qkv");
    const LoadedAdapter loaded = load_adapter(folder() / "lora", model());
    EXPECT_EQ(loaded.tensors, 2 * modules.size());
    const at::Tensor want = logits(model(), input, adapter.get());
    EXPECT_GT(relative_gap(logits(model(), input), want), 1e-3);
    EXPECT_LE(relative_gap(logits(model(), input, loaded.adapter.get()), want), kCoarseRounding);
  }
}

TEST_P(LoraLaw, DoraOfASliceHasNoFile) {
  const auto adapter = stirred(MethodChoice("lora"), 11, {{"dora", true}, {"roles", "q"}});
  const auto save = [&] { save_adapter(folder() / "lora", *adapter, model(), {}); };
  if (has_fused()) {
    expect_error(Category::Unsupported, "DoRA on a slice of the fused map", save);
    EXPECT_FALSE(fs::exists(folder() / "lora"));
  } else {
    EXPECT_NO_THROW(save());
  }
}

TEST_P(LoraLaw, DoraOfAMapAndItsSliceIsRefused) {
  for (const char* roles : {"q,qkv", "qkv,o,v"}) {
    expect_error(Category::InvalidArgument, has_fused() ? "is a part of" : "no role 'qkv'", [&] {
      fresh(MethodChoice("lora"), model(), {{"dora", true}, {"roles", roles}});
    });
  }
  EXPECT_NO_THROW(fresh(MethodChoice("lora"), model(), {{"dora", true}, {"roles", "q,o,v"}}));
}

// What counts as taken out of the base is kept with a run: decomposed elsewhere, it may be other vectors.
TEST_P(LoraLaw, PissaGoesOnFromTheStartThatItBeganWith) {
  const MethodChoice lora("lora");
  const Json options = {{"init", "pissa"}, {"rank", 3}};
  const Text input = text(12);
  const at::NoGradGuard no_grad;
  const auto began = stirred(lora, 11, options), again = fresh(lora, model(), options);
  std::vector<PeftTensor> start = began->prepared();
  ASSERT_FALSE(start.empty());
  for (auto& tensor : start) tensor.value = tensor.value + 0.1;
  began->take_prepared(start);
  const auto from = began->parameters(), into = again->parameters();
  for (std::size_t i = 0; i < from.size(); ++i) at::Tensor(into[i].value).copy_(from[i].value);
  const at::Tensor want = logits(model(), input, began.get());
  EXPECT_GT(relative_gap(logits(model(), input, again.get()), want), 1e-3);
  again->take_prepared(start);
  EXPECT_TRUE(at::equal(logits(model(), input, again.get()), want));

  start.back().value = start.back().value.flatten();
  expect_error(Category::Corruption, "what PiSSA began with", [&] { again->take_prepared(start); });
  start.pop_back();
  expect_error(Category::Corruption, "what PiSSA began with", [&] { again->take_prepared(start); });
  EXPECT_TRUE(fresh(lora, model())->prepared().empty());
}

TEST_P(LoraLaw, PissaGoesOnFromItsStartBesideAnotherMethod) {
  const MethodChoice both("lora+layernorm");
  const Json options = {{"lora", {{"init", "pissa"}, {"rank", 3}}}};
  const auto adapter = fresh(both, model(), options);
  std::vector<PeftTensor> start = adapter->prepared();
  ASSERT_FALSE(start.empty());
  for (auto& tensor : start) tensor.value = tensor.value + 0.1;
  adapter->take_prepared(start);
  const auto kept = adapter->prepared();
  ASSERT_EQ(kept.size(), start.size());
  for (std::size_t i = 0; i < kept.size(); ++i) {
    EXPECT_EQ(kept[i].name, start[i].name);
    EXPECT_TRUE(at::equal(kept[i].value, start[i].value)) << kept[i].name;
  }
}

TEST_P(LoraLaw, PissaOfMoreThanThereIsIsRefused) {
  expect_error(Category::InvalidArgument, "singular vectors", [&] {
    fresh(MethodChoice("lora"), model(), {{"init", "pissa"}, {"rank", 100000}});
  });
}

// A factor that leaves every update at nothing, and numbers of a role that is not trained.
TEST_P(LoraLaw, OptionsWithoutEffectAreRefused) {
  for (const Json& options : {Json{{"alpha", 0}}, Json{{"lr_ratio", 0}}, Json{{"roles", "q"}, {"ranks", {{"v", 2}}}},
                              Json{{"roles", "q"}, {"alphas", {{"v", 2}}}}}) {
    SCOPED_TRACE(options.dump());
    expect_error(Category::InvalidArgument, "method.options.", [&] { fresh(MethodChoice("lora"), model(), options); });
  }
}

// Also those that begin from the base's values.
TEST_P(LoraLaw, AModelWithoutWeightsHasAsManyParameters) {
  const auto outline = outline_model(model().config());
  const MethodChoice lora("lora");
  for (const Json& options : {Json{{"init", "pissa"}, {"rank", 3}}, Json{{"dora", true}, {"rank", 3}}}) {
    SCOPED_TRACE(options.dump());
    EXPECT_EQ(trainable_elements(*fresh(lora, *outline, options)), trainable_elements(*fresh(lora, model(), options)));
  }
}

// Where it does more than to add an update, or something else acts too, nobody may take that for all of it.
TEST_P(LoraLaw, TellsOfAnUpdateThatIsAllThereIs) {
  const auto maps = [&](const Adapter& adapter, bool told) {
    return std::count_if(model().roles().begin(), model().roles().end(), [&](const RoleEntry& entry) {
      return adapter.acts_on(entry.site) && (!told || adapter.low_rank(entry.site).has_value());
    });
  };
  const auto plain = fresh(MethodChoice("lora"), model());
  const auto acting = maps(*plain, false);
  EXPECT_GT(acting, 0);
  EXPECT_EQ(maps(*plain, true), acting);
  EXPECT_EQ(maps(*fresh(MethodChoice("lora+layernorm"), model()), true), acting);
  EXPECT_EQ(maps(*fresh(MethodChoice("lora+ia3"), model(), {{"lora", {{"roles", "k"}}}}), true), 0);
  EXPECT_EQ(maps(*fresh(MethodChoice("ia3"), model()), true), 0);
  EXPECT_EQ(maps(*fresh(MethodChoice("lora"), model(), {{"dora", true}}), true), 0);
  const auto dropping = fresh(MethodChoice("lora"), model(), {{"dropout", 0.5}});
  EXPECT_EQ(maps(*dropping, true), acting);
  dropping->set_training(true);
  EXPECT_EQ(maps(*dropping, true), 0);
  const auto embeddings = fresh(MethodChoice("lora"), model(), {{"roles", "embed"}});
  int tables = 0;
  for (const auto& table : model().tables()) {
    if (!embeddings->acts_on(table.site)) continue;
    ++tables;
    EXPECT_FALSE(embeddings->low_rank(table.site).has_value()) << table.module();
  }
  EXPECT_GT(tables, 0);
}

// What adds updates of low rank, what only scales and the base go through a map together, in both directions.
TEST_P(LoraLaw, ManyShareABatchWithIa3AndTheBase) {
  Adapters adapters;
  adapters.push_back(stirred(MethodChoice("lora"), 31));
  adapters.push_back(stirred(MethodChoice("lora"), 32, {{"rank", 3}, {"alpha", 5}}));
  adapters.push_back(stirred(MethodChoice("ia3"), 33));
  adapters.push_back(stirred(MethodChoice("lora+layernorm"), 34, {{"lora", {{"rank", 2}, {"roles", "o,k"}}}}));
  adapters.push_back(stirred(MethodChoice("lora"), 35, {{"init", "pissa"}, {"rank", 2}}));
  expect_mixes(adapters, {0, 1, -1, 2, 0, 3, -1, 4, 1});
}

// Of several methods LoRA is meant, of all maps and tables that it acts on.
TEST_P(LoraLaw, ItsSubspacesAreThoseOfAllItActsOn) {
  const Json options = {{"rank", 3}, {"roles", "o,embed,head"}};
  const auto alone = stirred(MethodChoice("lora"), 11, options);
  const auto beside = stirred(MethodChoice("lora+bitfit"), 23, {{"lora", options}, {"bitfit", {{"roles", "down"}}}});
  std::set<std::string> sites;
  for (const auto& [tensor, value] : tensors(*alone)) sites.insert(tensor.substr(0, tensor.rfind('.')));
  for (const bool update : {false, true}) {
    const auto found = similarity_of(model(), *alone, *beside, update),
               same = similarity_of(model(), *alone, *alone, update);
    ASSERT_EQ(found.size(), sites.size());
    ASSERT_EQ(same.size(), sites.size());
    EXPECT_EQ(found.back().role, Role::Head);
    for (std::size_t i = 0; i < found.size(); ++i) {
      EXPECT_EQ(sites.count(found[i].site), 1u) << found[i].site;
      EXPECT_EQ(found[i].grid.sizes(), at::IntArrayRef({3, 3}));
      EXPECT_LT(found[i].grid[-1][-1].item<double>(), 0.9) << found[i].site;
      EXPECT_NEAR(same[i].grid[-1][-1].item<double>(), 1, 1e-5) << same[i].site;
    }
  }
  expect_error(Category::InvalidArgument, "no LoRA adapter",
               [&] { similarity_of(model(), *alone, *stirred(MethodChoice("ia3"))); });
}

// Hayou et al. 2024: B alone learns faster.
TEST_P(LoraLaw, TheRatioOfLearningRatesIsOfBAlone) {
  const auto adapter = fresh(MethodChoice("lora+ia3"), model(), {{"lora", {{"lr_ratio", 16}}}});
  for (const auto& tensor : adapter->parameters())
    EXPECT_EQ(tensor.lr_ratio, tensor.name.ends_with(".b") ? 16 : 1) << tensor.name;
}

INSTANTIATE_TEST_SUITE_P(Golden, LoraLaw, ::testing::ValuesIn(models()), title);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LoraLaw);

}  // namespace
}  // namespace graft::laws
