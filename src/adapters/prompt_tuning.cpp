// Prompt tuning: embeddings of virtual tokens in front of the text, in the encoder where there is one (Lester et al.
// 2021). In decoder-only models it is what Li and Liang 2021, section 7.2, call embedding-only.
#include <ATen/ATen.h>

#include <fmt/ranges.h>

#include <map>

#include "adapters/core/method.h"
#include "adapters/core/options.h"
#include "adapters/core/own_format.h"
#include "adapters/core/peft.h"
#include "base/error.h"

namespace graft {
namespace {

// Of an infix, and of prompts before both stacks of an encoder–decoder: PEFT's has one before the encoder's.
constexpr const char* kOwnType = "GRAFT_PROMPT_TUNING";

class PromptTuning : public Adapter {
 public:
  /// Of each stack, rows [≥ length, C] whose first `length` are its prompt.
  PromptTuning(const Model& model, std::map<Stack, at::Tensor> prompts, std::int64_t length, bool infix)
      : model_(model), prompts_(std::move(prompts)), length_(length), infix_(infix) {}

  std::int64_t virtual_tokens(Stack stack) const override { return prompts_.count(stack) == 0 ? 0 : length_; }

  bool infix() const override { return infix_; }

  at::Tensor prompt(Stack stack) const override {
    return prompts_.count(stack) == 0 ? at::Tensor() : prompts_.at(stack).narrow(0, 0, length_);
  }

  std::vector<AdapterTensor> parameters() const override {
    std::vector<AdapterTensor> result;
    for (const auto& [stack, prompt] : prompts_) result.push_back({fmt::format("{}.prompt", name(stack)), prompt});
    return result;
  }

  nlohmann::json peft_config() const override {
    if (infix_)
      return adapters::own_config(kOwnType, {{"length", length_}, {"placement", "infix"}, {"init", "random"}});
    if (both_stacks())
      return adapters::own_config(kOwnType, {{"length", length_}, {"decoder", true}, {"init", "random"}});
    nlohmann::json config = {{"peft_type", "PROMPT_TUNING"},
                             {"num_virtual_tokens", length_},
                             {"token_dim", model_.config().hidden_size},
                             {"num_transformer_submodules", rows().size(0) / length_},
                             {"num_attention_heads", model_.config().heads},
                             {"num_layers", model_.config().layers},
                             {"prompt_tuning_init", "RANDOM"},
                             {"prompt_tuning_init_text", nullptr},
                             {"tokenizer_name_or_path", nullptr},
                             {"tokenizer_kwargs", nullptr}};
    if (model_.encoder_decoder()) config["task_type"] = kSeq2SeqTask;
    return config;
  }

  std::vector<PeftTensor> peft_tensors() const override {
    if (infix_ || both_stacks()) return adapters::own_tensors(*this);
    return {{kPromptEmbeddings, rows().detach()}};
  }

  at::Tensor merged(std::int64_t, const at::Tensor&) const override {
    fail(Category::Unsupported, "prompt_tuning", "virtual tokens cannot be merged into weights; keep the adapter");
  }

 private:
  bool both_stacks() const { return prompts_.size() > 1; }
  const at::Tensor& rows() const { return prompts_.begin()->second; }

  const Model& model_;
  std::map<Stack, at::Tensor> prompts_;
  std::int64_t length_;
  bool infix_;
};

std::vector<std::int64_t> drawn(std::int64_t count, std::int64_t vocab_size, Rng& rng) {
  std::vector<std::int64_t> ids;
  for (std::int64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(vocab_size))));
  return ids;
}

using TokenLists = std::vector<std::vector<std::int64_t>>;

// Of the task's classes (Lester et al. 2021, section 2.2); `init_labels` are their words, which a method does not know.
TokenLists class_labels(const adapters::Options& options, const Model& model, std::int64_t length) {
  TokenLists labels = options.id_lists("init_labels", model.config().vocab_size);
  // A model without values has no embeddings to begin from.
  if (labels.empty() && !model.device().is_meta())
    fail(Category::InvalidArgument, "method.options.init", "labels are those of a task's examples, and there are none");
  if (options.has("init_ids"))
    fail(Category::InvalidArgument, "method.options.init_text", "stands beside init: labels; leave one of them out");
  if (static_cast<std::int64_t>(labels.size()) > length)
    fail(Category::InvalidArgument, "method.options.length",
         "{} virtual tokens are fewer than the {} different choices of the examples; set at least as many, or another "
         "init",
         length, labels.size());
  return labels;
}

// A class is the mean of its tokens; tokens beyond the classes are drawn from the vocabulary, as the paper has it.
at::Tensor label_rows(const TokenLists& labels, const Model& model, std::int64_t length, Rng& rng) {
  std::vector<at::Tensor> rows;
  for (const auto& tokens : labels) rows.push_back(model.embeddings(tokens).mean(0, /*keepdim=*/true));
  const std::int64_t rest = length - static_cast<std::int64_t>(labels.size());
  if (rest > 0) rows.push_back(model.embeddings(drawn(rest, model.config().vocab_size, rng)));
  return at::cat(rows);
}

std::unique_ptr<Adapter> create(const Model& model, const nlohmann::json& given, Rng& rng) {
  const adapters::Options options("prompt_tuning", given,
                                  {"length", "init", "init_ids", "init_labels", "decoder", "placement"});
  const std::int64_t length = adapters::virtual_length(options, model, 20);
  const bool infix = adapters::infix_placement(options, model);
  const std::string init = options.choice("init", {"vocabulary", "random", "labels"});
  const auto ids = options.ids("init_ids", model.config().vocab_size, length);
  const TokenLists labels = init == "labels" ? class_labels(options, model, length) : TokenLists();
  const auto prompt = [&] {
    // A model without values has no embeddings to begin from.
    const bool random = init == "random" || model.device().is_meta();
    if (ids.empty() && random) return normal({length, model.config().hidden_size}, 0.5, rng);
    if (!labels.empty()) return label_rows(labels, model, length, rng);
    const auto chosen = ids.empty() ? drawn(length, model.config().vocab_size, rng) : ids;
    return model.embeddings(chosen);
  };
  std::map<Stack, at::Tensor> prompts;
  const bool both = options.flag("decoder", false);
  if (both) adapters::refuse_without_encoder(model, "decoder", "asks for a second prompt beside the encoder's");
  if (model.encoder_decoder()) prompts[Stack::Encoder] = trainable(prompt(), model);
  if (!model.encoder_decoder() || both) prompts[Stack::Decoder] = trainable(prompt(), model);
  return std::make_unique<PromptTuning>(model, std::move(prompts), length, infix);
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
  if (config.at("peft_type") == kOwnType)
    return adapters::from_own(adapters::find("prompt_tuning"), model, config, tensors);
  adapters::refuse_unknown_fields(
      config, {"num_virtual_tokens", "token_dim", "num_transformer_submodules", "num_attention_heads", "num_layers",
               "prompt_tuning_init", "prompt_tuning_init_text", "tokenizer_name_or_path", "tokenizer_kwargs"});
  const at::Tensor rows = only_tensor(tensors, model.config().hidden_size);
  const std::int64_t length = config.value("num_virtual_tokens", rows.size(0));
  adapters::refuse_beyond_context(length, model, "adapter_config.json: num_virtual_tokens");
  if (length < 1 || rows.size(0) % length != 0 || rows.size(0) / length > (model.encoder_decoder() ? 2 : 1)) {
    fail(Category::Corruption, kPromptEmbeddings, "has {} rows, which does not fit {} virtual tokens", rows.size(0),
         length);
  }
  // PEFT keeps as many rows again for an encoder–decoder's decoder, and never reads them.
  std::map<Stack, at::Tensor> prompts;
  prompts[model.encoder_decoder() ? Stack::Encoder : Stack::Decoder] = trainable(rows, model);
  return std::make_unique<PromptTuning>(model, std::move(prompts), length, /*infix=*/false);
}

}  // namespace

namespace adapters {
extern const Method prompt_tuning;
const Method prompt_tuning{"prompt_tuning",
                           "prompt tuning: embeddings of virtual tokens before the text (Lester et al. 2021)",
                           "length=20  init=vocabulary|random|labels (the task's choices)\n"
                           "init_text=\"words to begin from\"\n"
                           "decoder=false (encoder–decoder: a second prompt before the decoder's text)\n"
                           "placement=prefix|infix (between the prompt and the text; decoder-only)",
                           "PROMPT_TUNING",
                           create,
                           from_peft,
                           /*starts_at_base=*/false,
                           /*sum=*/nullptr,
                           kOwnType,
                           /*virtual_tokens=*/true};
}  // namespace adapters
}  // namespace graft
