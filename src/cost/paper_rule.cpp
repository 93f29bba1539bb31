#include "cost/paper_rule.h"

#include "base/error.h"

namespace graft {

void ExampleTokens::add(const ExampleTokens& other, double times) {
  prompt += other.prompt * times;
  choices += other.choices * times;
  choice_tokens += other.choice_tokens * times;
  alike += other.alike * times;
  read += other.read * times;
}

ExampleTokens example_tokens(double all, double demonstration, double choices) {
  const double others = choices - 1;
  // With one choice a demonstration is the whole example, and any split between the two is as good.
  const double each = others > 0 ? (all - demonstration) / others : 1;
  if (others > 0 ? each <= 0 : demonstration != all) {
    fail(Category::InvalidArgument, "--shot-tokens",
         "{} does not fit --tokens {} with {} choices: an example has the tokens of a demonstration and those of every "
         "other choice",
         demonstration, all, choices);
  }
  if (demonstration - each <= 0) {
    fail(Category::InvalidArgument, "--shot-tokens",
         "{} of --tokens {} with {} choices leaves no token for the prompt: a choice has {}", demonstration, all,
         choices, each);
  }
  return {demonstration - each, choices, each * choices};
}

namespace paper_rule {

double inference_flops(const ModelSize& model, double tokens) {
  return (model.encoder_decoder ? 1 : 2) * model.parameters * tokens;
}

double training_flops(const ModelSize& model, double tokens) {
  return 3 * inference_flops(model, tokens);
}

double stored_bytes(const Demonstrations& demonstrations) {
  return 4 * demonstrations.all();
}

double cache_bytes(const ModelConfig& model, double tokens, double value_bytes) {
  if (model.encoder_decoder())
    fail(Category::Unsupported, model.model_type, "an encoder keeps no keys and values of demonstrations");
  return 2 * static_cast<double>(model.layers * model.kv_heads * model.head_dim) * tokens * value_bytes;
}

}  // namespace paper_rule
}  // namespace graft
