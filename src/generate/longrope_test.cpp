// Texts that grow beyond the context before LongRoPE's extension: the keys kept so far are turned anew, so that what is
// written is what reading everything again at each token gives, as transformers does it.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "generate/beam.h"
#include "generate/decode.h"
#include "generate/forced.h"
#include "generate/read_prefix.h"
#include "generate/tiny_llama_test.h"

namespace graft {
namespace {

using Ids = std::vector<std::int64_t>;

constexpr std::int64_t kOriginal = 16;

std::unique_ptr<Model> longrope_llama() {
  const auto generator = at::detail::createCPUGenerator(11);
  const auto random = [&generator](const std::string&, const std::vector<std::int64_t>& shape) {
    return at::randn(shape, generator) * 0.3;
  };
  return llama_of(random, true,
                  R"("eos_token_id":256,"rope_scaling":{"rope_type":"longrope","short_factor":[1.0,1.1,1.3,2.0],
    "long_factor":[1.5,3.0,6.0,9.0],"original_max_position_embeddings":16})");
}

// Hidden states [T, C] of a text read at once.
at::Tensor read(const Model& model, const Ids& text) {
  StepInput input;
  input.decoder.add(text);
  return model.forward(input);
}

at::Tensor logits_behind(const Model& model, const Ids& text) {
  return model.logits(read(model, text)[-1].unsqueeze(0), {}).to(at::kFloat);
}

Ids greedy_without_cache(const Model& model, Ids text, std::size_t count) {
  Ids written;
  while (written.size() < count) {
    written.push_back(logits_behind(model, text).argmax().item<std::int64_t>());
    text.push_back(written.back());
  }
  return written;
}

GenerateOptions writing(std::int64_t count) {
  GenerateOptions options;
  options.max_new_tokens = count;
  options.ignore_eos = true;
  return options;
}

Ids counting(std::int64_t first, std::size_t count) {
  Ids ids;
  for (std::size_t i = 0; i < count; ++i) ids.push_back((first + 37 * static_cast<std::int64_t>(i)) % 251);
  return ids;
}

TEST(LongRope, ShortAndLongTextsDiffer) {
  const auto model = longrope_llama();
  const Ids text = counting(3, static_cast<std::size_t>(kOriginal) + 1);
  const at::Tensor longer = read(*model, text), shorter = read(*model, Ids(text.begin(), text.end() - 1));
  EXPECT_GT((longer.narrow(0, 0, kOriginal) - shorter).abs().max().item<double>(), 1e-2)
      << "the last token changes how those before it are turned";
}

// Texts that are short at first, that are long at once, and that end before they are.
TEST(LongRope, CachedDecodingEqualsReadingAllAgain) {
  const c10::InferenceMode inference;
  const auto model = longrope_llama();
  const std::vector<Prompt> prompts = {{counting(5, 3)}, {counting(8, 15)}, {counting(2, 16)}, {counting(9, 30)}};
  const auto together = generate(*model, prompts, writing(20));
  for (std::size_t i = 0; i < prompts.size(); ++i)
    EXPECT_EQ(together[i].tokens, greedy_without_cache(*model, prompts[i].tokens, 20)) << i;
  EXPECT_EQ(generate(*model, {prompts[0]}, writing(10))[0].tokens, greedy_without_cache(*model, prompts[0].tokens, 10));
}

TEST(LongRope, ProposalsStayOnOneSide) {
  const c10::InferenceMode inference;
  const auto model = longrope_llama();
  const Ids repeating = {5, 200, 31, 5, 200, 31, 5, 200};
  auto options = writing(24);
  options.speculation = speculation_of("4");
  EXPECT_EQ(speculation_obstacle(*model, options), "");
  const auto got = generate(*model, {{repeating}}, options)[0];
  EXPECT_GT(got.proposed, 0);
  EXPECT_EQ(got.tokens, greedy_without_cache(*model, repeating, 24));
}

TEST(LongRope, APrefixIsReadAgainForALongPrompt) {
  const c10::InferenceMode inference;
  const auto model = longrope_llama();
  const Ids shared = counting(4, 10);
  const ReadPrefix prefix(*model, shared, {}, -1, Activations::Exact);
  auto options = writing(12);
  options.prefix = &prefix;
  std::vector<Prompt> prompts = {{counting(4, 12)}, {counting(4, 25)}};
  const auto got = generate(*model, prompts, options);
  for (std::size_t i = 0; i < prompts.size(); ++i)
    EXPECT_EQ(got[i].tokens, greedy_without_cache(*model, prompts[i].tokens, 12)) << i;
}

TEST(LongRope, BeamsAreReadAgain) {
  const c10::InferenceMode inference;
  const auto model = longrope_llama();
  const Ids prompt = counting(6, 12);
  auto options = writing(12);
  options.beam.beams = 3;
  Beams search(options.beam, options.max_new_tokens, {});
  while (search.running()) {
    std::vector<at::Tensor> rows;
    for (const auto& text : search.texts()) {
      Ids whole = prompt;
      whole.insert(whole.end(), text.begin(), text.end());
      rows.push_back(at::log_softmax(logits_behind(*model, whole), -1));
    }
    const at::Tensor all = at::cat(rows).contiguous();
    search.step({all.const_data_ptr<float>(), static_cast<std::size_t>(all.numel())});
  }
  EXPECT_EQ(generate(*model, {{prompt}}, options)[0].tokens, search.best());
}

TEST(LongRope, GivenTokensAreReadAgainAndThePromptAfterThem) {
  const c10::InferenceMode inference;
  const auto model = longrope_llama();
  const Ids prompt = counting(7, 12);
  const std::vector<Ids> continuations = {counting(1, 9), counting(3, 3), counting(2, 8)};
  const at::Tensor got = forced_hidden(*model, prompt, continuations, {});
  std::vector<at::Tensor> want;
  for (const auto& tokens : continuations) {
    Ids text = prompt;
    for (const auto token : tokens) {
      want.push_back(read(*model, text)[-1].unsqueeze(0));
      text.push_back(token);
    }
  }
  EXPECT_TRUE(at::allclose(got, at::cat(want), 1e-4, 1e-4));
}

}  // namespace
}  // namespace graft
