// T5 1.0 and 1.1, T0, mT5, ByT5: encoder–decoder with RMSNorm and relative position biases, without scaling of the
// scores (Raffel et al. 2020; Shazeer 2020 for the gated feed-forward of 1.1).
#include <ATen/ATen.h>

#include <optional>
#include <utility>

#include "arch/core/architecture.h"
#include "arch/core/encoder_decoder.h"
#include "arch/core/last_rows.h"
#include "nn/activation.h"
#include "nn/attention.h"
#include "nn/cross_attention.h"
#include "nn/relative_bias.h"
#include "nn/residual.h"

namespace graft {
namespace {

struct Attention {
  Norm norm;
  Linear q, k, v, o;
};

struct Layer {
  Attention self;
  std::optional<Attention> cross;
  Norm norm;  // of the feed-forward
  std::optional<Linear> gate;
  Linear up, down;
};

struct Tower {
  std::vector<Layer> layers;
  std::int64_t bias_table = -1;  // [buckets, H], of every layer
  Norm norm;
};

class T5 : public Model {
 public:
  T5(const ModelConfig& config, ParameterLoader& loader) : Model(config), activate_(activation(config.activation)) {
    embedding_ = loader.take_matrix("shared.weight", {config.vocab_size, config.hidden_size});
    loader.ignore("embed_tokens.weight");                             // copies of the shared table
    loader.ignore("EncDecAttention.relative_attention_bias.weight");  // in early files; no version of T5 reads it
    encoder_ = load_tower(loader, Stack::Encoder, config.layers);
    decoder_ = load_tower(loader, Stack::Decoder, config.decoder_layers);
    // Only version 1.0, which scales, is tied for certain; later files that leave the head out are tied too.
    if (config.scale_logits || !loader.has("lm_head.weight")) {
      loader.ignore("lm_head.weight");
      head_ = embedding_;
    } else {
      head_ = loader.take_matrix("lm_head.weight", {config.vocab_size, config.hidden_size});
    }
    parameters_ = loader.finish();
    note_tables({{Stack::Encoder, "encoder.embed_tokens"}, {Stack::Decoder, "decoder.embed_tokens"}}, head_);
  }

  const RoleMap& roles() const override { return roles_; }
  std::int64_t cache_layers() const override { return config_.decoder_layers; }

  at::Tensor logits(const at::Tensor& hidden, const ForwardOptions& options) const override {
    const double scale = config_.scale_logits ? 1.0 / std::sqrt(static_cast<double>(config_.hidden_size)) : 1.0;
    return project(config_.scale_logits ? hidden * scale : hidden, head_, options);
  }

 protected:
  at::Tensor run(const StepInput& input, const ForwardOptions& options) const override {
    const auto pass = std::make_shared<const Pass>(parameters_, input, options, plan_options(options));
    at::Tensor encoded;
    if (pass->encoder) encoded = run_tower(pass, *pass->encoder, encoder_, {}, options);
    const at::Tensor x = run_tower(pass, pass->decoder, decoder_, encoded, options);
    return asked_rows(x, pass->decoder.plan(), options.asked);
  }

 private:
  using Pass = EncoderDecoderPass;

  Tower load_tower(ParameterLoader& loader, Stack stack, std::int64_t layers) {
    Tower tower;
    const std::string prefix = stack == Stack::Encoder ? "encoder." : "decoder.";
    tower.bias_table = loader.take(prefix + "block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                                   {config_.relative_attention_num_buckets, config_.heads});
    for (std::int64_t l = 0; l < layers; ++l)
      tower.layers.push_back(load_layer(loader, stack, l, fmt::format("{}block.{}.layer.", prefix, l)));
    tower.norm = take_norm(loader, prefix + "final_layer_norm", config_.hidden_size, false);
    return tower;
  }

  Layer load_layer(ParameterLoader& loader, Stack stack, std::int64_t l, const std::string& prefix) {
    Layer layer;
    layer.self = load_attention(loader, stack, l, prefix + "0.", "SelfAttention.");
    if (stack == Stack::Decoder)
      layer.cross = load_attention(loader, Stack::Cross, l, prefix + "1.", "EncDecAttention.");
    const std::string last = prefix + (layer.cross ? "2." : "1."), dense = last + "DenseReluDense.";
    const std::int64_t hidden = config_.hidden_size, inner = config_.intermediate_size;
    layer.norm = take_norm(loader, last + "layer_norm", hidden, false);
    if (config_.gated) layer.gate = map(loader, {stack, l, Role::Gate}, dense + "wi_0", hidden, inner);
    layer.up = map(loader, {stack, l, Role::Up}, dense + (config_.gated ? "wi_1" : "wi"), hidden, inner);
    layer.down = map(loader, {stack, l, Role::Down}, dense + "wo", inner, hidden);
    return layer;
  }

  Attention load_attention(ParameterLoader& loader, Stack stack, std::int64_t l, const std::string& prefix,
                           const std::string& module) {
    const std::int64_t hidden = config_.hidden_size, inner = config_.heads * config_.head_dim;
    Attention attention;
    attention.norm = take_norm(loader, prefix + "layer_norm", hidden, false);
    attention.q = map(loader, {stack, l, Role::Q}, prefix + module + "q", hidden, inner);
    attention.k = map(loader, {stack, l, Role::K}, prefix + module + "k", hidden, inner);
    attention.v = map(loader, {stack, l, Role::V}, prefix + module + "v", hidden, inner);
    attention.o = map(loader, {stack, l, Role::O}, prefix + module + "o", inner, hidden);
    return attention;
  }

  Linear map(ParameterLoader& loader, Site site, const std::string& module, std::int64_t in, std::int64_t out) {
    roles_.push_back({site, module + ".weight", "", Layout::OutIn, in, out, 0, out});
    return {site, loader.take_matrix(module + ".weight", {out, in}), -1, Layout::OutIn};
  }

  // `encoded` is undefined in the encoder, and in a decoder whose cross keys are cached.
  at::Tensor run_tower(const std::shared_ptr<const Pass>& pass, const Context& context, const Tower& tower,
                       const at::Tensor& encoded, const ForwardOptions& options) const {
    std::vector<at::Tensor> inputs = {context.embed(stack_of(tower), embedding_), encoded};
    const RelativeBuckets buckets{config_.relative_attention_num_buckets, config_.relative_attention_max_distance,
                                  &tower == &encoder_};
    const auto biases = context.relative_biases(tower.bias_table, buckets);
    inputs.insert(inputs.end(), biases.begin(), biases.end());
    const LayerOfStack layer = [this, pass, &context, &tower](std::size_t l, const std::vector<at::Tensor>& in) {
      return run_layer(*pass, context, tower.layers[l], static_cast<std::int64_t>(l), in);
    };
    const at::Tensor last = run_layers(stack_of(tower), tower.layers.size(), std::move(inputs), options, layer);
    return context.rms_norm(tower.norm, last, config_.norm_eps);
  }

  // inputs: hidden states, the encoder's, one bias a call.
  at::Tensor run_layer(const Pass& pass, const Context& context, const Layer& layer, std::int64_t l,
                       const std::vector<at::Tensor>& inputs) const {
    const auto normalised = [&](const at::Tensor& x, const Norm& norm) {
      return context.rms_norm(norm, x, config_.norm_eps);
    };
    at::Tensor x = inputs[0];
    x = residual(x, self_attention(context, layer.self, l, normalised(x, layer.self.norm), inputs));
    if (layer.cross)
      x = residual(x, cross_attention(pass, *layer.cross, l, normalised(x, layer.cross->norm), inputs[1]));
    const at::Tensor y = normalised(x, layer.norm);
    return residual(x, context.sublayer(layer.down.site, y, context.linear(layer.down, inner(context, layer, y))));
  }

  at::Tensor inner(const Context& context, const Layer& layer, const at::Tensor& x) const {
    if (!layer.gate) return activate_(context.linear(layer.up, x));
    const auto both = context.linear({*layer.gate, layer.up}, x);
    return gated(activate_, both[0], both[1]);
  }

  Stack stack_of(const Tower& tower) const { return &tower == &encoder_ ? Stack::Encoder : Stack::Decoder; }

  at::Tensor heads(const at::Tensor& x) const { return x.view({x.size(0), config_.heads, config_.head_dim}); }

  at::Tensor self_attention(const Context& context, const Attention& maps, std::int64_t l, const at::Tensor& x,
                            const std::vector<at::Tensor>& inputs) const {
    AttentionOptions options;
    options.cache = context.cache();
    options.layer = l;
    options.bias = [&inputs](std::size_t call) { return inputs[call + 2]; };
    const auto qkv = context.linear({maps.q, maps.k, maps.v}, x);
    const auto [k, v] = context.with_prefixes(maps.k.site.stack, l, heads(qkv[1]), heads(qkv[2]));
    const at::Tensor read = attention(heads(qkv[0]), k, v, context.plan().calls, options);
    return context.sublayer(maps.o.site, x, context.linear(maps.o, read));
  }

  at::Tensor cross_attention(const Pass& pass, const Attention& maps, std::int64_t l, const at::Tensor& x,
                             const at::Tensor& encoded) const {
    const Context& context = pass.decoder;
    const at::Tensor q = heads(context.linear(maps.q, x));
    const auto [k, v] = pass.keys_values(maps.k, maps.v, encoded, config_.heads);
    return context.sublayer(maps.o.site, x, context.linear(maps.o, graft::cross_attention(context, l, q, k, v, 1.0)));
  }

  Activation activate_;
  std::int64_t head_ = -1;
  Tower encoder_, decoder_;
  RoleMap roles_;
};

std::unique_ptr<Model> create(const ModelConfig& config, ParameterLoader& loader) {
  return std::make_unique<T5>(config, loader);
}

}  // namespace

namespace arch {
extern const Architecture t5;
const Architecture t5{"t5", "T5 1.0 and 1.1, T0, mT5, ByT5", create};
}  // namespace arch
}  // namespace graft
