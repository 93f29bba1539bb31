#include "train/memory_choice.h"

#include <c10/core/ScalarType.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <set>

#include "eval/choices.h"

namespace graft {
namespace {

constexpr std::int64_t kWide = 4;        // bytes of a value in fp32
constexpr std::int64_t kKeptOfAMap = 8;  // bytes of each input and output value of a map that a step keeps, at most
constexpr std::int64_t kStreamsOfALayer = 4;  // copies of the residual stream that are alive at once
constexpr std::int64_t kScoresOfAHead = 2;    // scores and their gradients

// Values of the inputs and outputs of a layer's maps, of one token; of all layers, and of the widest.
struct Widths {
  std::int64_t all = 0, widest = 0, layers = 0;
};

Widths widths_of(const Model& model) {
  Widths widths;
  std::array<std::vector<std::int64_t>, 2> by_layer;  // decoder, encoder
  for (const RoleEntry& entry : model.roles()) {
    if (entry.fused()) continue;  // a slice of one that is there as a whole
    auto& layers = by_layer[entry.site.stack == Stack::Encoder ? 1U : 0U];
    const auto l = static_cast<std::size_t>(entry.site.layer);
    if (layers.size() <= l) layers.resize(l + 1, 0);
    layers[l] += entry.in + entry.out;
  }
  for (const auto& layers : by_layer) {
    widths.layers += static_cast<std::int64_t>(layers.size());
    for (const std::int64_t width : layers) {
      widths.all += width;
      widths.widest = std::max(widths.widest, width);
    }
  }
  return widths;
}

// A level of the order of cost, each with what the one before it does.
MemoryChoice level(std::size_t number) {
  MemoryChoice choice;
  choice.recompute_layers = number > 0;
  choice.recompute_logits = number > 1;
  choice.stream_weights = number > 2;
  return choice;
}

std::int64_t peak(const MemoryNeeds& needs, const MemoryChoice& choice, std::int64_t evaluation) {
  const std::int64_t weights = choice.stream_weights ? needs.streamed : needs.mapped;
  const std::int64_t step = (choice.recompute_layers ? needs.recomputed : needs.activations) +
                            (choice.recompute_logits ? 0 : needs.logits) + needs.logit_block;
  return needs.resident + needs.standing + weights + std::max(step, evaluation);
}

// Parameters that products in 8 bits lay out.
std::vector<std::int64_t> laid_out_parameters(const Model& model) {
  const ParameterTable& parameters = model.parameters();
  std::set<std::int64_t> found;  // a fused map plays several roles
  for (const RoleMap* roles : {&model.roles(), &model.tables()}) {
    for (const RoleEntry& entry : *roles) {
      if (entry.layout == Layout::OutIn) found.insert(parameters.index(entry.weight));
    }
  }
  std::vector<std::int64_t> laid_out;
  for (const std::int64_t index : found) {
    if (index >= 0 && parameters.store(index).laid_out_bytes() > 0) laid_out.push_back(index);
  }
  return laid_out;
}

}  // namespace

bool MemoryChoice::keeps_everything() const {
  return !recompute_layers && !recompute_logits && !stream_weights && smaller_evaluations == 1;
}

std::string MemoryChoice::text() const {
  std::vector<std::string> parts;
  if (recompute_layers && recompute_logits) {
    parts.emplace_back("layers and logits are computed again in the backward pass");
  } else if (recompute_layers) {
    parts.emplace_back("layers are computed again in the backward pass");
  }
  if (stream_weights) parts.emplace_back("weights are given back layer by layer");
  if (smaller_evaluations > 1)
    parts.push_back(fmt::format("evaluations read {} times fewer tokens at a time", smaller_evaluations));
  return parts.empty() ? "everything is kept" : fmt::format("{}", fmt::join(parts, ", "));
}

MemoryChoice choose_memory(const MemoryNeeds& needs, std::int64_t budget) {
  constexpr std::size_t kLevels = 4;
  std::vector<std::int64_t> evaluations = {needs.evaluation};
  evaluations.insert(evaluations.end(), needs.smaller_evaluations.begin(), needs.smaller_evaluations.end());
  MemoryChoice choice;
  for (std::size_t smaller = 0; smaller < evaluations.size(); ++smaller) {
    for (std::size_t number = 0; number < kLevels; ++number) {
      choice = level(number);
      choice.smaller_evaluations = std::int64_t{1} << smaller;
      choice.bytes = peak(needs, choice, evaluations[smaller]);
      if (choice.bytes <= budget) return choice;
    }
  }
  choice.fits = false;
  return choice;
}

std::optional<SmallerBatches> smaller_batches(const MemoryNeeds& needs, std::int64_t size, double longest,
                                              std::int64_t budget) {
  std::optional<SmallerBatches> smaller;
  for (std::int64_t fewer = size / 2; fewer >= 1; --fewer) {
    if (size % fewer != 0) continue;  // else a step would have other examples
    const double share = std::max(longest, static_cast<double>(fewer) / static_cast<double>(size));
    MemoryNeeds less = needs;
    for (std::int64_t* part : {&less.activations, &less.recomputed, &less.logits})
      *part = static_cast<std::int64_t>(share * static_cast<double>(*part));
    smaller = SmallerBatches{fewer, size / fewer, choose_memory(less, budget)};
    if (smaller->choice.fits) break;
  }
  return smaller;
}

std::int64_t activation_bound(const Model& model, std::int64_t tokens, std::int64_t longest) {
  const Widths widths = widths_of(model);
  const ModelConfig& config = model.config();
  // Attention makes its probabilities again in the backward pass, but where scores are capped or their bias is trained.
  const bool keeps_scores = config.attention_softcap > 0 || config.architecture == "t5";
  const std::int64_t scores = kScoresOfAHead * config.heads * longest * (keeps_scores ? widths.layers : 1);
  const std::int64_t streams = kStreamsOfALayer * widths.layers * config.hidden_size;
  return (widths.all * kKeptOfAMap + (streams + scores) * kWide) * tokens;
}

std::int64_t activations_from(std::int64_t tokens, std::int64_t least, std::int64_t beside, const MadeStep& one,
                              const std::optional<MadeStep>& more) {
  const std::int64_t own = std::max(least * one.tokens, one.peak - beside);
  double each = static_cast<double>(own) / static_cast<double>(one.tokens);
  if (more && more->tokens > one.tokens)
    each = std::max(each, static_cast<double>(more->peak - one.peak) / static_cast<double>(more->tokens - one.tokens));
  return own + static_cast<std::int64_t>(each * static_cast<double>(tokens - one.tokens));
}

std::int64_t evaluation_bytes(const Model& model, std::int64_t tokens, std::int64_t longest) {
  const ModelConfig& config = model.config();
  const auto size = static_cast<std::int64_t>(c10::elementSize(model.dtype()));
  const std::int64_t of_token = widths_of(model).widest * size + kStreamsOfALayer * config.hidden_size * kWide +
                                kScoresOfAHead * config.heads * longest * kWide;
  return of_token * tokens + std::min(tokens, kLogitRows) * config.vocab_size * (kWide + size);
}

std::int64_t streamed_bytes(const Model& model) {
  const Residency& residency = model.parameters().residency();
  std::int64_t largest = 0, outside = residency.bytes();
  for (const Stack stack : {Stack::Encoder, Stack::Decoder}) {
    for (const auto& layer : model.layer_weights(stack)) {
      const std::int64_t bytes = residency.bytes(layer);
      largest = std::max(largest, bytes);
      outside -= bytes;
    }
  }
  return std::min(residency.bytes(), outside + 2 * largest);
}

std::int64_t laid_out_bytes(const Model& model) {
  std::int64_t total = 0;
  for (const std::int64_t index : laid_out_parameters(model)) total += model.parameters().store(index).laid_out_bytes();
  return total;
}

MemoryNeeds with_blocks_laid_out(MemoryNeeds needs, const Model& model) {
  needs.resident += laid_out_bytes(model);
  needs.mapped -= model.parameters().residency().bytes(laid_out_parameters(model));
  needs.streamed = std::min(needs.streamed, needs.mapped);
  return needs;
}

std::int64_t small_block_bytes(const Model& model) {
  return model.parameters().elements() * 9 / 16;
}

MemoryNeeds in_small_blocks(MemoryNeeds needs, const Model& model) {
  needs.resident += small_block_bytes(model) - (model.parameters().bytes() - needs.mapped);
  needs.mapped = needs.streamed = 0;
  return needs;
}

}  // namespace graft
