#include "train/flops.h"

#include <map>

#include "eval/choice_tree.h"

namespace graft {
namespace {

struct Rows {
  double encoder = 0, decoder = 0;
  double scored = 0;    // with logits
  double virtual_ = 0;  // of the adapter, in both
};

// As pack() and Model::forward() lay the example out: the prompt once, the last token of a choice not at all and common
// beginnings once where the decoder has read it, logits where a token is scored, virtual tokens once for every text
// that begins anew, and not at all where all texts of a batch share them.
Rows rows_of(const Model& model, const Adapter* adapter, const ExampleTokens& example) {
  const auto virtual_tokens = [&](Stack stack) {
    return adapter == nullptr ? 0.0 : static_cast<double>(adapter->virtual_tokens(stack));
  };
  if (model.encoder_decoder()) {
    const double encoder = virtual_tokens(Stack::Encoder), decoder = example.choices * virtual_tokens(Stack::Decoder);
    return {example.prompt + encoder, example.choice_tokens + decoder, example.choice_tokens, encoder + decoder};
  }
  const double behind = example.choice_tokens - example.choices - example.alike, front = virtual_tokens(Stack::Decoder);
  const bool shared = adapter != nullptr && shares_virtual_tokens(*adapter, Stack::Decoder);
  return {0, (shared ? 0 : front) + example.prompt + behind, 1 + behind - example.read, front};
}

// Keys and values of cross-attention are made from the encoder's tokens.
bool reads_encoder(const Site& site) {
  return site.stack == Stack::Encoder || (site.stack == Stack::Cross && (site.role == Role::K || site.role == Role::V));
}

// Multiply-adds of the linear maps, each stored weight once, whatever roles its slices play.
double forward_products(const Model& model, const Rows& rows) {
  std::map<std::string, double> by_weight;
  for (const auto& entry : model.roles()) {
    by_weight[entry.weight] = static_cast<double>(entry.in) * static_cast<double>(entry.whole) *
                              (reads_encoder(entry.site) ? rows.encoder : rows.decoder);
  }
  const ModelConfig& config = model.config();
  double total = static_cast<double>(config.vocab_size) * static_cast<double>(config.hidden_size) * rows.scored;
  for (const auto& [weight, products] : by_weight) total += products;
  return total;
}

}  // namespace

ExampleTokens tokens_of(const ChoiceTokens& example) {
  ExampleTokens tokens;
  tokens.prompt = static_cast<double>(example.prompt.size());
  tokens.choices = static_cast<double>(example.choices.size());
  for (const auto& choice : example.choices) tokens.choice_tokens += static_cast<double>(choice.tokens.size());
  tokens.alike = tokens.choice_tokens - tokens.choices - static_cast<double>(tokens_of_choices(example.choices));
  tokens.read = static_cast<double>(rows_only_read(example.choices));
  return tokens;
}

double inference_flops(const Model& model, const Adapter* adapter, const ExampleTokens& example) {
  return 2 * forward_products(model, rows_of(model, adapter, example));
}

double training_flops(const Model& model, const Adapter& adapter, const ExampleTokens& example) {
  const Rows rows = rows_of(model, &adapter, example);
  const double forward = forward_products(model, rows);
  const double seen = rows.virtual_ > 0 ? rows.virtual_ : rows.encoder + rows.decoder;
  const double trained =
      adapter.replaces_parameters() ? forward : static_cast<double>(trainable_elements(adapter)) * seen;
  return 2 * (2 * forward + trained);
}

}  // namespace graft
