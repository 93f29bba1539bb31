// Prefix tuning: trained keys and values of virtual tokens in every attention (Li and Liang 2021, section 4), by way of
// a small network while training (section 4.3).
#include <ATen/ATen.h>

#include <ATen/core/grad_mode.h>
#include <fmt/ranges.h>
#include <torch/csrc/autograd/custom_function.h>

#include <map>

#include "adapters/core/method.h"
#include "adapters/core/options.h"
#include "adapters/core/own_format.h"
#include "adapters/core/peft.h"
#include "base/error.h"
#include "nn/kv_cache.h"
#include "nn/learns.h"

namespace graft {
namespace {

constexpr const char* kInfixType = "GRAFT_PREFIX_TUNING";

struct Shape {
  std::int64_t length = 0, layers = 0, heads = 0, dim = 0;
  bool every_other = false;
  std::int64_t key_width() const { return heads * dim; }
  std::int64_t block_width() const { return 2 * key_width(); }
  std::int64_t width() const { return layers * block_width(); }
  // PEFT doubles an encoder–decoder's blocks for two attentions a layer and cuts them into fours, of which it uses the
  // first half: the decoder's layers have every other block, twice over where their number is even.
  std::int64_t block_of(std::int64_t layer) const { return every_other ? 2 * layer % layers : layer; }
};

// x [P, H] through `count` rows of a trained map (weight [W, H], bias [W]) that holds those of all layers. Gradients
// are added to the parameters' own, in the places of these rows: autograd would make a parameter of zeros for every
// layer and add it to the others' (SmolLM2-135M with a network of 512: 30 times 24 MB).
class RowsOfMap : public torch::autograd::Function<RowsOfMap> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            const at::Tensor& bias, std::int64_t begin, std::int64_t count) {
    ctx->save_for_backward({x});
    // The parameters themselves, which their gradients belong to.
    ctx->saved_data["weight"] = weight;
    ctx->saved_data["bias"] = bias;
    ctx->saved_data["begin"] = begin;
    ctx->saved_data["count"] = count;
    return at::linear(x, weight.narrow(0, begin, count), bias.narrow(0, begin, count));
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const at::NoGradGuard no_grad;
    const at::Tensor x = ctx->get_saved_variables()[0], &above = grads[0];
    const at::Tensor weight = ctx->saved_data["weight"].toTensor(), bias = ctx->saved_data["bias"].toTensor();
    const std::int64_t begin = ctx->saved_data["begin"].toInt(), count = ctx->saved_data["count"].toInt();
    gradient_of(weight).narrow(0, begin, count).addmm_(above.t(), x);
    gradient_of(bias).narrow(0, begin, count).add_(above.sum(0));
    return {above.mm(weight.narrow(0, begin, count)), at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }

 private:
  static at::Tensor gradient_of(const at::Tensor& parameter) {
    at::Tensor& gradient = parameter.mutable_grad();
    if (!gradient.defined()) gradient = at::zeros_like(parameter.detach());
    return gradient;
  }
};

// The prefixes of one stack's attentions, [P, layers · 2 · G · D]: blocks of keys, then values, as PEFT has them.
struct Prefixes {
  Shape shape;
  at::Tensor direct;                                               // [P, width]; undefined where reparametrised
  at::Tensor embedding, hidden, hidden_bias, output, output_bias;  // [P, G·D], [H, G·D], [H], [width, H], [width]

  /// [P, 2 · G · D]
  at::Tensor block(std::int64_t number) const {
    const std::int64_t begin = number * shape.block_width(), count = shape.block_width();
    if (direct.defined()) return direct.narrow(1, begin, count);
    const at::Tensor inner = at::tanh(at::linear(embedding, hidden, hidden_bias));
    if (learns(inner)) return RowsOfMap::apply(inner, output, output_bias, begin, count);
    return at::linear(inner, output.narrow(0, begin, count), output_bias.narrow(0, begin, count));
  }

  at::Tensor all() const {
    std::vector<at::Tensor> parts;
    for (std::int64_t b = 0; b < shape.layers; ++b) parts.push_back(block(b).detach());
    return at::cat(parts, 1);
  }

  std::vector<AdapterTensor> parameters(const std::string& prefix) const {
    if (direct.defined()) return {{prefix + "prefix", direct}};
    return {{prefix + "embedding.weight", embedding},
            {prefix + "transform.0.weight", hidden},
            {prefix + "transform.0.bias", hidden_bias},
            {prefix + "transform.2.weight", output},
            {prefix + "transform.2.bias", output_bias}};
  }
};

const char* file_name(Stack stack, bool peft_layout) {
  if (peft_layout) return kPromptEmbeddings;
  return stack == Stack::Encoder ? "encoder.prefix" : stack == Stack::Cross ? "cross.prefix" : "decoder.prefix";
}

class PrefixTuning : public Adapter {
 public:
  PrefixTuning(const Model& model, std::map<Stack, Prefixes> prefixes, bool infix)
      : model_(model), prefixes_(std::move(prefixes)), infix_(infix) {}

  // Cross-attention reads the encoder's virtual tokens.
  std::int64_t virtual_tokens(Stack stack) const override {
    return prefixes_.count(stack) == 0 ? 0 : prefixes_.at(stack).shape.length;
  }

  bool infix() const override { return infix_; }

  std::pair<at::Tensor, at::Tensor> prefix(Stack stack, std::int64_t layer) const override {
    if (prefixes_.count(stack) == 0) return {};
    const Prefixes& here = prefixes_.at(stack);
    const auto both =
        here.block(here.shape.block_of(layer)).view({here.shape.length, 2, here.shape.heads, here.shape.dim}).unbind(1);
    return {both[0], both[1]};
  }

  std::vector<AdapterTensor> parameters() const override {
    std::vector<AdapterTensor> result;
    for (const auto& [stack, prefixes] : prefixes_) {
      for (auto& parameter : prefixes.parameters(fmt::format("{}.", name(stack))))
        result.push_back(std::move(parameter));
    }
    return result;
  }

  // The network is dropped: the file holds what it gives.
  nlohmann::json peft_config() const override {
    const Shape& shape = prefixes_.begin()->second.shape;
    if (infix_)
      return adapters::own_config(kInfixType,
                                  {{"length", shape.length}, {"placement", "infix"}, {"reparametrise", false}});
    nlohmann::json config = {{"peft_type", "PREFIX_TUNING"},
                             {"num_virtual_tokens", shape.length},
                             {"token_dim", shape.heads * shape.dim},
                             {"num_transformer_submodules", model_.encoder_decoder() ? 2 : 1},
                             {"num_attention_heads", shape.heads},
                             {"num_layers", shape.layers},
                             {"encoder_hidden_size", shape.heads * shape.dim},
                             {"prefix_projection", false}};
    if (model_.encoder_decoder() && peft_layout()) config["task_type"] = kSeq2SeqTask;
    return config;
  }

  std::vector<PeftTensor> peft_tensors() const override {
    if (infix_) return {{"decoder.prefix", prefixes_.at(Stack::Decoder).all()}};
    std::vector<PeftTensor> result;
    for (const auto& [stack, prefixes] : prefixes_) result.push_back({file_name(stack, peft_layout()), prefixes.all()});
    return result;
  }

  at::Tensor merged(std::int64_t, const at::Tensor&) const override {
    fail(Category::Unsupported, "prefix_tuning", "virtual tokens cannot be merged into weights; keep the adapter");
  }

 private:
  // One tensor holds all.
  bool peft_layout() const { return prefixes_.size() == 1; }

  const Model& model_;
  std::map<Stack, Prefixes> prefixes_;
  bool infix_;
};

std::map<Stack, Shape> shapes(const Model& model, std::int64_t length, bool peft_layout) {
  const ModelConfig& config = model.config();
  if (!config.encoder_decoder()) return {{Stack::Decoder, {length, config.layers, config.kv_heads, config.head_dim}}};
  const Shape encoder{length, config.layers, config.heads, config.head_dim},
      decoder{length, config.decoder_layers, config.heads, config.head_dim, peft_layout};
  if (peft_layout) return {{Stack::Decoder, decoder}};
  return {{Stack::Encoder, encoder}, {Stack::Decoder, decoder}, {Stack::Cross, decoder}};
}

// nn.Linear's and nn.Embedding's defaults, as in the authors' code. Embeddings are as wide as a layer's keys, which in
// the models of the paper is the model's width: where fewer heads have keys, PEFT takes theirs (its token_dim), and a
// wider network would learn faster at the same rate.
Prefixes reparametrised(const Model& model, Shape shape, std::int64_t hidden, Rng& rng) {
  const std::int64_t width = shape.key_width();
  const auto linear = [&](std::int64_t out, std::int64_t in) {
    const double bound = 1.0 / std::sqrt(static_cast<double>(in));
    return std::pair{trainable(uniform({out, in}, bound, rng), model), trainable(uniform({out}, bound, rng), model)};
  };
  Prefixes made;
  made.shape = shape;
  made.embedding = trainable(normal({shape.length, width}, 1, rng), model);
  std::tie(made.hidden, made.hidden_bias) = linear(hidden, width);
  std::tie(made.output, made.output_bias) = linear(shape.width(), hidden);
  return made;
}

// Keys and values that a decoder-only model has for real tokens.
at::Tensor cached_activations(const Model& model, const std::vector<std::int64_t>& ids, const Shape& shape) {
  const at::NoGradGuard no_grad;
  KvCache cache(model.cache_layers());
  StepInput input;
  input.decoder.add(ids);
  input.decoder.segments.back().cache = cache.add_sequence();
  ForwardOptions options;
  options.cache = &cache;
  model.forward(input, options);
  std::vector<at::Tensor> parts;
  for (std::int64_t l = 0; l < shape.layers; ++l) {
    const auto [keys, values] = cache.visible(0, l);
    parts.push_back(keys.rows.reshape({shape.length, -1}).to(at::kFloat));
    parts.push_back(values.rows.reshape({shape.length, -1}).to(at::kFloat));
  }
  return at::cat(parts, 1);
}

// Listens to one pass of an encoder–decoder, where what the maps give are the keys and values themselves: positions go
// into the scores or the embeddings.
class KeysAndValues : public SiteHooks {
 public:
  bool acts_on(const Site& site) const override { return site.role == Role::K || site.role == Role::V; }

  at::Tensor output(const Site& site, const at::Tensor&, const at::Tensor& y) const override {
    seen_[site] = y.to(at::kFloat);
    return y;
  }

  /// [P, width] of the last P tokens that a stack's attentions read. A block that no layer reads is zero; of two layers
  /// that read the same one it is the first's.
  at::Tensor prefix(Stack stack, const Shape& shape) const {
    std::vector<at::Tensor> blocks(static_cast<std::size_t>(shape.layers),
                                   at::zeros({shape.length, shape.block_width()}));
    for (std::int64_t l = shape.layers - 1; l >= 0; --l) {
      const auto last = [&](Role role) {
        const at::Tensor& rows = seen_.at({stack, l, role});
        return rows.narrow(0, rows.size(0) - shape.length, shape.length).cpu();
      };
      blocks[static_cast<std::size_t>(shape.block_of(l))] = at::cat({last(Role::K), last(Role::V)}, 1);
    }
    return at::cat(blocks, 1);
  }

 private:
  mutable std::map<Site, at::Tensor> seen_;
};

// The encoder reads the words, for its own attentions and for the decoder's over it; the decoder reads them as it reads
// any text, behind its first token.
std::map<Stack, at::Tensor> read_activations(const Model& model, const std::vector<std::int64_t>& ids,
                                             const std::map<Stack, Shape>& shapes) {
  const at::NoGradGuard no_grad;
  std::vector<std::int64_t> written = {decoder_start_of(model.config())};
  written.insert(written.end(), ids.begin(), ids.end());
  KeysAndValues listener;
  StepInput input;
  const std::int32_t source = input.encoder.add(ids, -1, 0);
  input.decoder.add(written, -1, 0, source);
  ForwardOptions options;
  options.slots = {&listener};
  model.forward(input, options);
  std::map<Stack, at::Tensor> result;
  for (const auto& [stack, shape] : shapes) result[stack] = listener.prefix(stack, shape);
  return result;
}

// Keys and values that the model has for real tokens (section 7.4: better than random where data is scarce).
std::map<Stack, at::Tensor> activations(const Model& model, const std::vector<std::int64_t>& ids,
                                        const std::map<Stack, Shape>& shapes) {
  if (model.encoder_decoder()) return read_activations(model, ids, shapes);
  return {{Stack::Decoder, cached_activations(model, ids, shapes.at(Stack::Decoder))}};
}

// `hidden` features of the network, 0: there is none.
void refuse_large(const Model& model, const std::map<Stack, Shape>& shapes, std::int64_t hidden) {
  double widths = 0, read = 0, length = 0;
  for (const auto& [stack, shape] : shapes) {
    widths += static_cast<double>(shape.width());
    read += static_cast<double>(shape.key_width());
    length = static_cast<double>(shape.length);
  }
  adapters::refuse_beyond_base(length * widths, model, "method.options.length");
  adapters::refuse_beyond_base(static_cast<double>(hidden) * (widths + read), model, "method.options.hidden");
}

std::unique_ptr<Adapter> create(const Model& model, const nlohmann::json& given, Rng& rng) {
  const adapters::Options options("prefix_tuning", given,
                                  {"length", "reparametrise", "hidden", "init_ids", "placement", "layout"});
  const std::int64_t length = adapters::virtual_length(options, model, 10), hidden = options.integer("hidden", 512, 1);
  const bool infix = adapters::infix_placement(options, model),
             peft_layout = options.choice("layout", {"graft", "peft"}) == "peft";
  if (peft_layout)
    adapters::refuse_without_encoder(model, "layout", "peft is of the decoder's prefixes alone, as PEFT has them");
  const auto ids = options.ids("init_ids", model.config().vocab_size, length);
  const bool network = options.flag("reparametrise", ids.empty());
  if (!ids.empty() && network)
    fail(Category::Unsupported, "method.options.init_text",
         "the network's output has no beginning of one's own choice; leave reparametrise out, or set it to false");
  const auto wanted = shapes(model, length, peft_layout);
  refuse_large(model, wanted, network ? hidden : 0);
  const auto words = ids.empty() ? std::map<Stack, at::Tensor>() : activations(model, ids, wanted);
  std::map<Stack, Prefixes> prefixes;
  for (const auto& [stack, shape] : wanted) {
    if (network) {
      prefixes[stack] = reparametrised(model, shape, hidden, rng);
      continue;
    }
    const at::Tensor start = ids.empty() ? normal({length, shape.width()}, 1, rng) : words.at(stack);
    prefixes[stack].shape = shape;
    prefixes[stack].direct = trainable(start, model);
  }
  return std::make_unique<PrefixTuning>(model, std::move(prefixes), infix);
}

const PeftTensor* named(const std::vector<PeftTensor>& tensors, const std::string& name) {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [&](const PeftTensor& tensor) { return tensor.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

// PEFT would then mix the keys of the decoder's two attentions up.
void refuse_one_submodule(const nlohmann::json& config) {
  const auto submodules = config.find("num_transformer_submodules");
  if (submodules == config.end() || *submodules == 2) return;
  fail(Category::Unsupported, "adapter_config.json: num_transformer_submodules",
       "is {}; a prefix of an encoder–decoder model has 2", submodules->dump());
}

std::unique_ptr<Adapter> from_peft(const Model& model, const nlohmann::json& config,
                                   const std::vector<PeftTensor>& tensors) {
  if (config.at("peft_type") == kInfixType)
    return adapters::from_own(adapters::find("prefix_tuning"), model, config, tensors);
  adapters::refuse_unknown_fields(
      config, {"num_virtual_tokens", "token_dim", "num_transformer_submodules", "num_attention_heads", "num_layers",
               "encoder_hidden_size", "prefix_projection", "init_weights"});
  const bool peft_layout = !model.encoder_decoder() || named(tensors, kPromptEmbeddings) != nullptr;
  if (model.encoder_decoder() && peft_layout) refuse_one_submodule(config);
  const std::int64_t length = config.value("num_virtual_tokens", std::int64_t{0});
  adapters::refuse_beyond_context(length, model, "adapter_config.json: num_virtual_tokens");
  std::map<Stack, Prefixes> prefixes;
  for (const auto& [stack, shape] : shapes(model, length, peft_layout)) {
    const std::string wanted = file_name(stack, peft_layout);
    const PeftTensor* found = named(tensors, wanted);
    if (found == nullptr)
      fail(Category::Corruption, "adapter_model.safetensors",
           "has no tensor {}; was the adapter made for another architecture?", wanted);
    if (found->value.sizes() != at::IntArrayRef({shape.length, shape.width()})) {
      fail(Category::Corruption, wanted, "has shape [{}], the model needs [{}, {}]",
           fmt::join(found->value.sizes(), ", "), shape.length, shape.width());
    }
    prefixes[stack].shape = shape;
    prefixes[stack].direct = trainable(found->value, model);
  }
  if (tensors.size() != prefixes.size())
    fail(Category::Corruption, "adapter_model.safetensors", "holds {} tensors, {} have a place in the model",
         tensors.size(), prefixes.size());
  return std::make_unique<PrefixTuning>(model, std::move(prefixes), /*infix=*/false);
}

}  // namespace

namespace adapters {
extern const Method prefix_tuning;
const Method prefix_tuning{"prefix_tuning",
                           "prefix tuning: trained keys and values in every attention (Li and Liang 2021)",
                           "length=10  reparametrise=true (by a network while training)  hidden=512 (of the network; "
                           "not read where reparametrise=false, which a recipe that sets it may be given)\n"
                           "init_text=\"words whose activations to begin from\" (reparametrise=false; an encoder "
                           "and its decoder both read them)\n"
                           "placement=prefix|infix (between the prompt and the text; decoder-only)\n"
                           "layout=graft|peft (encoder–decoder: the decoder's self-attention alone, as PEFT has it)",
                           "PREFIX_TUNING",
                           create,
                           from_peft,
                           /*starts_at_base=*/false,
                           /*sum=*/nullptr,
                           kInfixType,
                           /*virtual_tokens=*/true};
}  // namespace adapters
}  // namespace graft
