// What adapting and prompting cost by the simple rules of Liu et al. 2022 ("Few-Shot Parameter-Efficient Fine-Tuning is
// Better and Cheaper than In-Context Learning"), section 4.2 and Table 1. src/train/flops.h has the finer count.
#pragma once

#include "config/model_config.h"

namespace graft {

/// Tokens of a multiple-choice example, or their means over many: every cost here is linear in them.
struct ExampleTokens {
  double prompt = 0;
  double choices = 0;        ///< how many choices there are
  double choice_tokens = 0;  ///< of all choices together
  double alike = 0;          ///< of these, how many a decoder need not compute, as another choice begins with them too
  double read = 0;           ///< rows of a decoder that it computes and that predict nothing that is scored

  /// What is read to score every choice: the prompt once and each choice.
  double all() const { return prompt + choice_tokens; }
  void add(const ExampleTokens& other, double times);
};

/// The example that has `all` tokens with every choice and `demonstration` tokens with the right one alone, its choices
/// equally long; 103, 98 and 2 are 93 tokens of prompt and two choices of 5. Throws InvalidArgument where that leaves
/// no token for a choice or for the prompt.
ExampleTokens example_tokens(double all, double demonstration, double choices);

namespace paper_rule {

struct ModelSize {
  double parameters = 0;  ///< N, all of the model's
  bool encoder_decoder = false;
};

/// Demonstrations in front of an example (k-shot in-context learning): prompt and right choice each.
struct Demonstrations {
  double count = 0;
  double tokens = 0;  ///< of one
  double all() const { return count * tokens; }
};

/// 2N a token; N where there are two stacks, of which a token passes one (after Kaplan et al. 2020, section 2.1).
double inference_flops(const ModelSize& model, double tokens);

/// Three times as much: 6N a token, or 3N.
double training_flops(const ModelSize& model, double tokens);

/// Bytes of the demonstrations as token ids of 32 bits.
double stored_bytes(const Demonstrations& demonstrations);

/// Bytes of the keys and values of `tokens` tokens in every layer of a decoder-only model (section 2.1), `value_bytes`
/// each: 2 · L · G · D · tokens values. An encoder reads demonstrations and example together, so that nothing of the
/// demonstrations can be kept: throws Unsupported.
double cache_bytes(const ModelConfig& model, double tokens, double value_bytes);

}  // namespace paper_rule
}  // namespace graft
