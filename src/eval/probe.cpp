#include "eval/probe.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "base/rng.h"
#include "eval/choices.h"

namespace graft {
namespace {

// Short enough for any context, long enough for attention to matter.
constexpr std::int64_t kRead = 12, kPredicted = 8;

std::vector<std::int64_t> random_tokens(Rng& rng, std::int64_t count, std::int64_t vocabulary) {
  std::vector<std::int64_t> tokens;
  for (std::int64_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(vocabulary))));
  return tokens;
}

}  // namespace

at::Tensor probe_logits(const Model& model, const SiteHooks* hooks, std::int64_t texts) {
  const c10::InferenceMode inference;
  Rng rng(17);
  std::vector<ChoiceTokens> examples(static_cast<std::size_t>(texts));
  std::vector<const ChoiceTokens*> group;
  for (auto& example : examples) {
    example.prompt = random_tokens(rng, kRead, model.config().vocab_size);
    example.choices = {{random_tokens(rng, kPredicted, model.config().vocab_size)}};
    group.push_back(&example);
  }
  const ChoiceBatch batch = pack(group, model.config(), hooks == nullptr ? -1 : 0);
  ForwardOptions options;
  if (hooks != nullptr) options.slots = {hooks};
  std::vector<std::int64_t> rows;
  for (const auto& token : batch.scored) rows.push_back(token.row);
  const at::Tensor hidden = model.forward(batch.input, options);
  return model.logits(hidden.index_select(0, at::tensor(rows, at::kLong).to(hidden.device())), options).to(at::kFloat);
}

double largest_gap(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace graft
