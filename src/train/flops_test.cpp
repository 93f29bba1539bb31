#include "train/flops.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/rng.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

class Flops : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* given = std::getenv("GRAFT_GOLDENS");
    goldens_ = given != nullptr ? fs::path(given) : fs::path(GRAFT_SOURCE_DIR) / "tests/golden/data";
    if (!fs::exists(goldens_ / "llama")) GTEST_SKIP() << "no goldens; ./check makes them";
    example_.prompt = {1, 2, 3, 4, 5};
    example_.choices = {{{6}, 1, 1}, {{7, 8, 9}, 3, 3}};
  }

  std::unique_ptr<Model> model(const char* name) const { return load_model((goldens_ / name / "model").string()); }

  static double flops(const Model& model, const char* method, const ChoiceTokens& example) {
    Rng rng(0);
    return training_flops(model, *adapters::find(method).create(model, nlohmann::json::object(), rng),
                          tokens_of(example));
  }

  // Elements of the matrices whose name holds any of the words; embeddings, norms and position tables are none of them.
  static double weights(const Model& model, const std::vector<std::string>& words) {
    double total = 0;
    for (const auto& parameter : model.parameters().all()) {
      bool counts = parameter.store->shape().size() == 2;
      bool named = false;
      for (const auto& word : words) named = named || parameter.name.find(word) != std::string::npos;
      if (counts && named) total += static_cast<double>(parameter.store->elements());
    }
    return total;
  }

  fs::path goldens_;
  ChoiceTokens example_;
};

TEST_F(Flops, ADecoderReadsThePromptOnceAndScoresFewRows) {
  for (const auto& [name, words] : std::vector<std::pair<const char*, std::vector<std::string>>>{
           {"llama", {"_proj"}}, {"gpt2", {"c_attn", "c_proj", "c_fc"}}}) {
    const auto loaded = model(name);
    const double tokens = 5 + 0 + 2, rows = 1 + 0 + 2;
    const double head = static_cast<double>(loaded->config().vocab_size * loaded->config().hidden_size);
    const double products = weights(*loaded, words) * tokens + head * rows;
    EXPECT_DOUBLE_EQ(flops(*loaded, "full", example_), 6 * products) << name;
    Rng rng(0);
    const auto adapter = adapters::find("ia3").create(*loaded, nlohmann::json::object(), rng);
    EXPECT_DOUBLE_EQ(flops(*loaded, "ia3", example_),
                     4 * products + 2 * static_cast<double>(trainable_elements(*adapter)) * tokens)
        << name;
  }
}

// What pack() lays out is what counts.
TEST_F(Flops, InferenceIsTheForwardPass) {
  for (const char* name : {"llama", "t5"}) {
    const auto loaded = model(name);
    EXPECT_DOUBLE_EQ(3 * inference_flops(*loaded, nullptr, tokens_of(example_)), flops(*loaded, "full", example_));
    const ChoiceBatch batch = pack({&example_}, loaded->config(), -1);
    const ExampleTokens tokens = tokens_of(example_);
    EXPECT_EQ(tokens.all(), 9);
    EXPECT_EQ(tokens.choices, 2);
    const auto rows = batch.input.tokens();
    EXPECT_EQ(static_cast<double>(rows), tokens.all() - (loaded->encoder_decoder() ? 0 : tokens.choices)) << name;
  }
}

// A context is read like a prompt; logits are of what is scored behind it.
TEST_F(Flops, ContextsHaveNoLogits) {
  const auto loaded = model("llama");
  const double head = static_cast<double>(loaded->config().vocab_size * loaded->config().hidden_size);
  const double whole = inference_flops(*loaded, nullptr, tokens_of(example_));
  example_.choices[1].context = 2;
  EXPECT_DOUBLE_EQ(inference_flops(*loaded, nullptr, tokens_of(example_)), whole - 2 * head)
      << "the first choice is scored in the prompt's last row, 7 predicts what is only read";
}

// Twenty tokens in front of the prompt cost what twenty tokens more of prompt cost.
TEST_F(Flops, VirtualTokensAreRowsLikeOthers) {
  for (const char* name : {"llama", "t5"}) {
    const auto loaded = model(name);
    Rng rng(0);
    const auto prompt = adapters::find("prompt_tuning").create(*loaded, {{"length", 20}}, rng);
    ExampleTokens tokens = tokens_of(example_), longer = tokens;
    longer.prompt += 20;
    EXPECT_DOUBLE_EQ(inference_flops(*loaded, prompt.get(), tokens), inference_flops(*loaded, nullptr, longer)) << name;
    EXPECT_DOUBLE_EQ(
        training_flops(*loaded, *prompt, tokens),
        2 * inference_flops(*loaded, nullptr, longer) + 2 * 20 * static_cast<double>(trainable_elements(*prompt)))
        << name;
  }
}

// A batch has the rows of a prefix once, whatever number of texts go on it; an encoder–decoder's texts have their own.
TEST_F(Flops, APrefixIsNoRowOfADecodersText) {
  for (const char* name : {"llama", "t5"}) {
    const auto loaded = model(name);
    Rng rng(0);
    const auto prefix = adapters::find("prefix_tuning").create(*loaded, {{"length", 4}, {"reparametrise", false}}, rng);
    const ExampleTokens tokens = tokens_of(example_);
    const double bare = inference_flops(*loaded, nullptr, tokens),
                 with = inference_flops(*loaded, prefix.get(), tokens);
    if (loaded->encoder_decoder()) {
      EXPECT_GT(with, bare);
      continue;
    }
    EXPECT_DOUBLE_EQ(with, bare);
    EXPECT_DOUBLE_EQ(training_flops(*loaded, *prefix, tokens),
                     2 * bare + 2 * 4 * static_cast<double>(trainable_elements(*prefix)));
  }
}

TEST_F(Flops, AnEncoderReadsThePromptAndTheDecoderTheChoices) {
  const auto loaded = model("t5");
  const double source = 5, tokens = 4;
  const double head = static_cast<double>(loaded->config().vocab_size * loaded->config().hidden_size);
  double products = head * tokens;
  for (const auto& entry : loaded->roles()) {
    const bool cross_keys = entry.weight.find("EncDecAttention.k") != std::string::npos ||
                            entry.weight.find("EncDecAttention.v") != std::string::npos;
    const bool encoder = entry.weight.starts_with("encoder.") || cross_keys;
    products += static_cast<double>(entry.in * entry.out) * (encoder ? source : tokens);
  }
  EXPECT_DOUBLE_EQ(flops(*loaded, "full", example_), 6 * products);
}

}  // namespace
}  // namespace graft
