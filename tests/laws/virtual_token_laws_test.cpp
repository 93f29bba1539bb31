// Prompts and prefixes of encoder–decoder models, as PEFT has them and as graft does, on every golden model of the
// kind.
#include "law_model.h"
#include "nn/kv_cache.h"

namespace graft::laws {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kLength = 3;

std::vector<std::string> encoder_decoders() {
  std::vector<std::string> found;
  for (const auto& name : models()) {
    if (read_model_config(goldens() / name / "model").encoder_decoder()) found.push_back(name);
  }
  return found;
}

class VirtualTokenLaw : public Law {
 protected:
  fs::path saved(const Adapter& adapter, const std::string& name) const {
    save_adapter(folder() / name, adapter, model(), {});
    return folder() / name;
  }

  static Json config_of(const fs::path& place) { return Json::parse(read_file(place / "adapter_config.json")); }

  static void change(const fs::path& place, const char* key, const Json& value) {
    Json config = config_of(place);
    config[key] = value;
    write_file(place / "adapter_config.json", config.dump());
  }

  static at::Tensor only_tensor(const fs::path& place) {
    const NamedTensors tensors = read_tensors(place / "adapter_model.safetensors");
    EXPECT_EQ(tensors.size(), 1u);
    EXPECT_EQ(tensors.front().first, kPromptEmbeddings);
    return tensors.front().second;
  }

  /// Puts the text, both stacks, into the first sequence of `cache`.
  void read_cached(const Text& input, const SiteHooks* adapter, KvCache& cache) const {
    const at::NoGradGuard no_grad;
    StepInput step;
    add(step, input, adapter == nullptr ? -1 : 0);
    step.decoder.segments.front().cache = cache.add_sequence();
    ForwardOptions options;
    if (adapter != nullptr) options.slots = {adapter};
    options.cache = &cache;
    model().forward(step, options);
  }

  void expect_comes_back(const Adapter& adapter, const fs::path& place) {
    const Text input = text(9);
    const auto loaded = load_adapter(place, model());
    EXPECT_TRUE(at::equal(logits(model(), input, loaded.adapter.get()), logits(model(), input, &adapter)));
  }
};

TEST_P(VirtualTokenLaw, PeftsPrefixesAreTheDecodersAlone) {
  for (const bool network : {false, true}) {
    const auto adapter = stirred(MethodChoice("prefix_tuning"), 11,
                                 {{"length", kLength}, {"layout", "peft"}, {"reparametrise", network}});
    EXPECT_EQ(adapter->virtual_tokens(Stack::Encoder), 0);
    EXPECT_EQ(adapter->virtual_tokens(Stack::Decoder), kLength);
    const auto place = saved(*adapter, network ? "network" : "direct");
    const Json config = config_of(place);
    EXPECT_EQ(config.at("task_type"), "SEQ_2_SEQ_LM");
    EXPECT_EQ(config.at("num_transformer_submodules"), 2);
    const std::int64_t layers = model().config().decoder_layers;
    EXPECT_EQ(config.at("num_layers"), layers);
    const at::Tensor blocks = only_tensor(place).view({kLength, layers, 2, -1});
    for (std::int64_t l = 0; l < layers; ++l) {
      const auto [keys, values] = adapter->prefix(Stack::Decoder, l);
      const at::Tensor block = blocks.select(1, 2 * l % layers);
      EXPECT_TRUE(at::equal(keys.detach().reshape({kLength, -1}), block.select(1, 0))) << "layer " << l;
      EXPECT_TRUE(at::equal(values.detach().reshape({kLength, -1}), block.select(1, 1))) << "layer " << l;
      EXPECT_FALSE(adapter->prefix(Stack::Cross, l).first.defined());
    }
    expect_comes_back(*adapter, place);
  }
}

TEST_P(VirtualTokenLaw, APrefixOfOtherLayersOrSubmodulesIsRefused) {
  const auto adapter = stirred(MethodChoice("prefix_tuning"), 11, {{"length", kLength}, {"layout", "peft"}});
  const auto place = saved(*adapter, "prefix");
  change(place, "num_transformer_submodules", 1);
  expect_error(Category::Unsupported, "num_transformer_submodules", [&] { load_adapter(place, model()); });
  change(place, "num_transformer_submodules", 2);
  const at::Tensor rows = only_tensor(place);
  write_tensors(place / "adapter_model.safetensors", {{kPromptEmbeddings, at::cat({rows, rows}, 1)}});
  expect_error(Category::Corruption, "the model needs", [&] { load_adapter(place, model()); });
}

TEST_P(VirtualTokenLaw, PeftsRowsForTheDecoderAreKeptAndNotRead) {
  const Text input = text(9);
  const auto adapter = stirred(MethodChoice("prompt_tuning"), 11, {{"length", kLength}});
  const auto place = saved(*adapter, "prompt");
  EXPECT_EQ(config_of(place).at("task_type"), "SEQ_2_SEQ_LM");
  EXPECT_EQ(config_of(place).at("num_transformer_submodules"), 1);
  const at::Tensor rows = only_tensor(place);
  const at::Tensor both = at::cat({rows, rows + 1});
  write_tensors(place / "adapter_model.safetensors", {{kPromptEmbeddings, both}});
  change(place, "num_transformer_submodules", 2);
  const auto loaded = load_adapter(place, model());
  EXPECT_TRUE(at::equal(logits(model(), input, loaded.adapter.get()), logits(model(), input, adapter.get())));
  const auto again = saved(*loaded.adapter, "again");
  EXPECT_TRUE(at::equal(only_tensor(again), both));
  EXPECT_EQ(config_of(again).at("num_transformer_submodules"), 2);
}

TEST_P(VirtualTokenLaw, APromptBeforeTheDecoderTooIsNoneOfPefts) {
  const Text input = text(9);
  const auto adapter = stirred(MethodChoice("prompt_tuning"), 11, {{"length", kLength}, {"decoder", true}});
  EXPECT_EQ(adapter->virtual_tokens(Stack::Decoder), kLength);
  for (const auto& [name, gradient] : gradients(model(), input, *adapter, false)) {
    ASSERT_TRUE(gradient.defined()) << name;
    EXPECT_GT(gradient.abs().max().item<double>(), 0) << name;
  }
  const auto place = saved(*adapter, "both");
  EXPECT_EQ(config_of(place).at("peft_type"), "GRAFT_PROMPT_TUNING");
  expect_comes_back(*adapter, place);
}

// Li and Liang 2021, section 7.4, for both stacks: what a cached pass over the same words keeps.
TEST_P(VirtualTokenLaw, APrefixOfWordsHasTheirKeysAndValues) {
  const auto words = tokens(kLength);
  std::vector<std::int64_t> written = {decoder_start_of(model().config())};
  written.insert(written.end(), words.begin(), words.end());
  KvCache cache(model().cache_layers());
  read_cached({words, written}, nullptr, cache);
  const auto near = [](const at::Tensor& prefix, const at::Tensor& rows) {
    EXPECT_LE(relative_gap(prefix.detach(), rows), kCoarseRounding);
  };
  for (const char* layout : {"graft", "peft"}) {
    SCOPED_TRACE(layout);
    const auto adapter =
        fresh(MethodChoice("prefix_tuning"), model(), {{"length", kLength}, {"init_ids", words}, {"layout", layout}});
    for (std::int64_t l = 0; l < model().config().decoder_layers; ++l) {
      SCOPED_TRACE(l);
      const auto [keys, values] = adapter->prefix(Stack::Decoder, l);
      const auto [kept_keys, kept_values] = cache.visible(0, l);
      near(keys, kept_keys.rows.narrow(0, 1, kLength));
      near(values, kept_values.rows.narrow(0, 1, kLength));
      if (std::string(layout) == "peft") continue;
      const auto [cross_keys, cross_values] = adapter->prefix(Stack::Cross, l);
      near(cross_keys, cache.cross(0, l).first);
      near(cross_values, cache.cross(0, l).second);
    }
  }
}

// A word behind its own activations reads the same value twice, whatever the weights. BART's position moves with what
// stands in front.
TEST_P(VirtualTokenLaw, AnEncoderReadsAWordBehindItselfAsAlone) {
  if (model().config().architecture == "bart") GTEST_SKIP() << "positions are in the embeddings";
  const auto word = tokens(1);
  const auto adapter = fresh(MethodChoice("prefix_tuning"), model(), {{"length", 1}, {"init_ids", word}});
  KvCache alone(model().cache_layers()), behind(model().cache_layers());
  read_cached({word, word}, nullptr, alone);
  read_cached({word, word}, adapter.get(), behind);
  for (std::int64_t l = 0; l < model().config().decoder_layers; ++l) {
    SCOPED_TRACE(l);
    const auto [keys, values] = behind.cross(0, l);
    ASSERT_EQ(keys.size(0), 2);
    for (std::int64_t row = 0; row < 2; ++row) {
      EXPECT_LE(relative_gap(keys.narrow(0, row, 1), alone.cross(0, l).first), kCoarseRounding);
      EXPECT_LE(relative_gap(values.narrow(0, row, 1), alone.cross(0, l).second), kCoarseRounding);
    }
  }
}

TEST_P(VirtualTokenLaw, AFreshNetworkHasNoWordsToBeginFrom) {
  expect_error(Category::Unsupported, "leave reparametrise out", [&] {
    fresh(MethodChoice("prefix_tuning"), model(), {{"init_ids", {1, 2}}, {"reparametrise", true}});
  });
}

INSTANTIATE_TEST_SUITE_P(Golden, VirtualTokenLaw, ::testing::ValuesIn(encoder_decoders()), title);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(VirtualTokenLaw);

}  // namespace
}  // namespace graft::laws
