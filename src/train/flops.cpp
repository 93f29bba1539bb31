#include "train/flops.h"

#include <map>

namespace graft {
namespace {

struct Tokens {
  double encoder = 0, decoder = 0;
  double scored = 0;  // rows with logits
};

// As pack() lays the example out: the prompt once, the last token of a choice not at all where the decoder has read it.
Tokens tokens_of(const ChoiceTokens& example, bool encoder_decoder) {
  const auto prompt = static_cast<double>(example.prompt.size());
  double choices = 0;
  for (const auto& choice : example.choices) choices += static_cast<double>(choice.tokens.size());
  if (encoder_decoder) return {prompt, choices, choices};
  const double behind = choices - static_cast<double>(example.choices.size());
  return {0, prompt + behind, 1 + behind};
}

// Keys and values of cross-attention are made from the encoder's tokens.
bool reads_encoder(const Site& site) {
  return site.stack == Stack::Encoder || (site.stack == Stack::Cross && (site.role == Role::K || site.role == Role::V));
}

// Multiply-adds of the linear maps, each stored weight once, whatever roles its slices play.
double forward_products(const Model& model, const Tokens& tokens) {
  std::map<std::string, double> by_weight;
  for (const auto& entry : model.roles()) {
    by_weight[entry.weight] = static_cast<double>(entry.in) * static_cast<double>(entry.whole) *
                              (reads_encoder(entry.site) ? tokens.encoder : tokens.decoder);
  }
  const ModelConfig& config = model.config();
  double total = static_cast<double>(config.vocab_size) * static_cast<double>(config.hidden_size) * tokens.scored;
  for (const auto& [weight, products] : by_weight) total += products;
  return total;
}

}  // namespace

double training_flops(const Model& model, const Adapter& adapter, const ChoiceTokens& example) {
  const Tokens tokens = tokens_of(example, model.encoder_decoder());
  const double forward = forward_products(model, tokens);
  const double trained = adapter.replaces_parameters()
                             ? forward
                             : static_cast<double>(trainable_elements(adapter)) * (tokens.encoder + tokens.decoder);
  return 2 * (2 * forward + trained);
}

}  // namespace graft
