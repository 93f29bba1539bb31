// Prompt tuning: embeddings of virtual tokens in front of the text, in the encoder where there is one (Lester et al.
// 2021).
#include <ATen/ATen.h>

#include <fmt/ranges.h>

#include <map>

#include "adapters/core/method.h"
#include "adapters/core/options.h"
#include "adapters/core/peft.h"
#include "base/error.h"

namespace graft {
namespace {

class PromptTuning : public Adapter {
 public:
  /// One prompt [P, C] a stack.
  PromptTuning(const Model& model, std::map<Stack, at::Tensor> prompts) : model_(model), prompts_(std::move(prompts)) {}

  std::int64_t virtual_tokens(Stack stack) const override {
    return prompts_.count(stack) == 0 ? 0 : prompts_.at(stack).size(0);
  }

  at::Tensor prompt(Stack stack) const override {
    return prompts_.count(stack) == 0 ? at::Tensor() : prompts_.at(stack);
  }

  std::vector<AdapterTensor> parameters() const override {
    std::vector<AdapterTensor> result;
    for (const auto& [stack, prompt] : prompts_) result.push_back({fmt::format("{}.prompt", name(stack)), prompt});
    return result;
  }

  nlohmann::json peft_config() const override {
    return {{"peft_type", "PROMPT_TUNING"},
            {"num_virtual_tokens", prompts_.begin()->second.size(0)},
            {"token_dim", model_.config().hidden_size},
            {"num_transformer_submodules", prompts_.size()},
            {"num_attention_heads", model_.config().heads},
            {"num_layers", model_.config().layers},
            {"prompt_tuning_init", "RANDOM"},
            {"prompt_tuning_init_text", nullptr},
            {"tokenizer_name_or_path", nullptr},
            {"tokenizer_kwargs", nullptr}};
  }

  // PEFT puts the encoder's prompt in front of the decoder's.
  std::vector<PeftTensor> peft_tensors() const override {
    std::vector<at::Tensor> rows;
    for (const Stack stack : {Stack::Encoder, Stack::Decoder})
      if (prompts_.count(stack) > 0) rows.push_back(prompts_.at(stack).detach());
    return {{kPromptEmbeddings, at::cat(rows)}};
  }

  at::Tensor merged(std::int64_t, const at::Tensor&) const override {
    fail(Category::Unsupported, "prompt_tuning", "virtual tokens cannot be merged into weights; keep the adapter");
  }

 private:
  const Model& model_;
  std::map<Stack, at::Tensor> prompts_;
};

std::vector<std::int64_t> drawn(std::int64_t count, std::int64_t vocab_size, Rng& rng) {
  std::vector<std::int64_t> ids;
  for (std::int64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(vocab_size))));
  return ids;
}

std::unique_ptr<Adapter> create(const Model& model, const nlohmann::json& given, Rng& rng) {
  const adapters::Options options("prompt_tuning", given, {"length", "init", "init_ids", "decoder"});
  const std::int64_t length = adapters::virtual_length(options, model, 20);
  const std::string init = options.choice("init", {"vocabulary", "random"});
  const auto ids = options.ids("init_ids", model.config().vocab_size, length);
  const auto prompt = [&] {
    // A model without values has no embeddings to begin from.
    const bool random = init == "random" || model.device().is_meta();
    if (ids.empty() && random) return normal({length, model.config().hidden_size}, 0.5, rng);
    const auto chosen = ids.empty() ? drawn(length, model.config().vocab_size, rng) : ids;
    return model.embeddings(chosen);
  };
  std::map<Stack, at::Tensor> prompts;
  if (model.encoder_decoder()) prompts[Stack::Encoder] = trainable(prompt(), model);
  if (!model.encoder_decoder() || options.flag("decoder", false)) prompts[Stack::Decoder] = trainable(prompt(), model);
  return std::make_unique<PromptTuning>(model, std::move(prompts));
}

at::Tensor only_tensor(const std::vector<PeftTensor>& tensors, std::int64_t width) {
  for (const auto& tensor : tensors) {
    if (tensor.name != kPromptEmbeddings)
      fail(Category::Corruption, tensor.name, "has no place in a prompt; was the adapter made by another method?");
  }
  const at::Tensor& rows = tensors.front().value;
  if (rows.dim() != 2 || rows.size(1) != width)
    fail(Category::Corruption, kPromptEmbeddings, "has shape [{}], the model needs [virtual tokens, {}]",
         fmt::join(rows.sizes(), ", "), width);
  return rows;
}

std::unique_ptr<Adapter> from_peft(const Model& model, const nlohmann::json& config,
                                   const std::vector<PeftTensor>& tensors) {
  const at::Tensor rows = only_tensor(tensors, model.config().hidden_size);
  const std::int64_t length = config.value("num_virtual_tokens", rows.size(0));
  if (length < 1 || rows.size(0) % length != 0 || rows.size(0) / length > (model.encoder_decoder() ? 2 : 1)) {
    fail(Category::Corruption, kPromptEmbeddings, "has {} rows, which does not fit {} virtual tokens", rows.size(0),
         length);
  }
  std::map<Stack, at::Tensor> prompts;
  prompts[model.encoder_decoder() ? Stack::Encoder : Stack::Decoder] = trainable(rows.narrow(0, 0, length), model);
  if (rows.size(0) > length) prompts[Stack::Decoder] = trainable(rows.narrow(0, length, length), model);
  return std::make_unique<PromptTuning>(model, std::move(prompts));
}

}  // namespace

namespace adapters {
extern const Method prompt_tuning;
const Method prompt_tuning{"prompt_tuning",
                           "prompt tuning: embeddings of virtual tokens before the text (Lester et al. 2021)",
                           "length=20  init=vocabulary|random  init_text=\"words to begin from\"\n"
                           "decoder=false (encoder–decoder: a second prompt before the decoder's text)",
                           "PROMPT_TUNING",
                           create,
                           from_peft,
                           /*starts_at_base=*/false};
}  // namespace adapters
}  // namespace graft
