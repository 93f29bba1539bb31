// BART: encoder–decoder with LayerNorm behind every residual sum, learned positions and biases everywhere (Lewis et al.
// 2020).
#include <ATen/ATen.h>

#include <cmath>
#include <optional>

#include "arch/core/architecture.h"
#include "arch/core/encoder_decoder.h"
#include "arch/core/last_rows.h"
#include "nn/activation.h"
#include "nn/attention.h"
#include "nn/cross_attention.h"

namespace graft {
namespace {

constexpr const char* kPrefix = "model.";
// The first rows of a table of positions belonged to padding in the authors' own code.
constexpr std::int64_t kPositionOffset = 2;
constexpr double kNormEps = 1e-5;

struct Attention {
  Linear q, k, v, o;
  Norm norm;
};

struct Layer {
  Attention self;
  std::optional<Attention> cross;
  Linear up, down;
  Norm norm;  // of the feed-forward
};

struct Tower {
  Stack stack;
  std::int64_t positions = -1;
  Norm embedding_norm;
  std::vector<Layer> layers;
};

class Bart : public Model {
 public:
  Bart(const ModelConfig& config, ParameterLoader& loader) : Model(config), activate_(activation(config.activation)) {
    // Files saved with the bare model leave the prefix out.
    prefix_ = loader.has(std::string(kPrefix) + "shared.weight") ? kPrefix : "";
    embedding_ = loader.take_matrix(prefix_ + "shared.weight", {config.vocab_size, config.hidden_size});
    encoder_ = load_tower(loader, Stack::Encoder, config.layers);
    decoder_ = load_tower(loader, Stack::Decoder, config.decoder_layers);
    if (loader.has("final_logits_bias")) logits_bias_ = loader.take_fixed("final_logits_bias", {1, config.vocab_size});
    for (const char* copy : {"lm_head.weight", "embed_tokens.weight", ".version"}) loader.ignore(copy);
    parameters_ = loader.finish();
    note_tables({{Stack::Encoder, "model.encoder.embed_tokens"}, {Stack::Decoder, "model.decoder.embed_tokens"}},
                embedding_);
  }

  const RoleMap& roles() const override { return roles_; }
  std::int64_t cache_layers() const override { return config_.decoder_layers; }

  at::Tensor logits(const at::Tensor& hidden, const ForwardOptions& options) const override {
    const at::Tensor bare = project(hidden, embedding_, options);
    return logits_bias_ < 0 ? bare : bare + parameter(logits_bias_, options);
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
    Tower tower{stack, -1, {}, {}};
    const std::string prefix = fmt::format("{}{}.", prefix_, name(stack));
    tower.positions =
        loader.take(prefix + "embed_positions.weight", {config_.max_positions + kPositionOffset, config_.hidden_size});
    tower.embedding_norm = load_norm(loader, prefix + "layernorm_embedding");
    for (std::int64_t l = 0; l < layers; ++l)
      tower.layers.push_back(load_layer(loader, stack, l, fmt::format("{}layers.{}.", prefix, l)));
    return tower;
  }

  Layer load_layer(ParameterLoader& loader, Stack stack, std::int64_t l, const std::string& prefix) {
    const std::int64_t hidden = config_.hidden_size, inner = config_.intermediate_size;
    Layer layer;
    layer.self = load_attention(loader, stack, l, prefix + "self_attn");
    if (stack == Stack::Decoder) layer.cross = load_attention(loader, Stack::Cross, l, prefix + "encoder_attn");
    layer.up = map(loader, {stack, l, Role::Up}, prefix + "fc1", hidden, inner);
    layer.down = map(loader, {stack, l, Role::Down}, prefix + "fc2", inner, hidden);
    layer.norm = load_norm(loader, prefix + "final_layer_norm");
    return layer;
  }

  Attention load_attention(ParameterLoader& loader, Stack stack, std::int64_t l, const std::string& module) {
    const std::int64_t hidden = config_.hidden_size;
    Attention attention;
    attention.q = map(loader, {stack, l, Role::Q}, module + ".q_proj", hidden, hidden);
    attention.k = map(loader, {stack, l, Role::K}, module + ".k_proj", hidden, hidden);
    attention.v = map(loader, {stack, l, Role::V}, module + ".v_proj", hidden, hidden);
    attention.o = map(loader, {stack, l, Role::O}, module + ".out_proj", hidden, hidden);
    attention.norm = load_norm(loader, module + "_layer_norm");
    return attention;
  }

  Norm load_norm(ParameterLoader& loader, const std::string& module) {
    return take_norm(loader, module, config_.hidden_size, true, hidden_prefix());
  }

  const char* hidden_prefix() const { return prefix_.empty() ? kPrefix : ""; }

  Linear map(ParameterLoader& loader, Site site, const std::string& module, std::int64_t in, std::int64_t out) {
    RoleEntry entry{site, module + ".weight", module + ".bias", Layout::OutIn, in, out, 0, out};
    entry.module_prefix = hidden_prefix();
    roles_.push_back(entry);
    return {site, loader.take_matrix(entry.weight, {out, in}), loader.take(entry.bias, {out}), Layout::OutIn};
  }

  at::Tensor normalised(const Context& context, const Norm& norm, const at::Tensor& x) const {
    return context.layer_norm(norm, x, kNormEps);
  }

  at::Tensor embed(const Context& context, const Tower& tower) const {
    const ForestPlan& plan = context.plan();
    refuse_beyond(plan, config_.max_positions, name(tower.stack));
    const at::Tensor tokens = context.embed(tower.stack, embedding_, config_.embedding_scale);
    const at::Tensor positions = context.rows(tower.positions, plan.positions + kPositionOffset);
    return normalised(context, tower.embedding_norm, tokens + positions);
  }

  // `encoded` is undefined in the encoder, and in a decoder whose cross keys are cached.
  at::Tensor run_tower(const std::shared_ptr<const Pass>& pass, const Context& context, const Tower& tower,
                       const at::Tensor& encoded, const ForwardOptions& options) const {
    const LayerOfStack layer = [this, pass, &context, &tower](std::size_t l, const std::vector<at::Tensor>& in) {
      return run_layer(*pass, context, tower.layers[l], static_cast<std::int64_t>(l), in[0], in[1]);
    };
    return run_layers(tower.stack, tower.layers.size(), {embed(context, tower), encoded}, options, layer);
  }

  at::Tensor run_layer(const Pass& pass, const Context& context, const Layer& layer, std::int64_t l,
                       const at::Tensor& input, const at::Tensor& encoded) const {
    const auto add = [&](const at::Tensor& x, const at::Tensor& y, const Norm& norm) {
      return normalised(context, norm, x + y);
    };
    at::Tensor x = add(input, self_attention(context, layer.self, l, input), layer.self.norm);
    if (layer.cross) x = add(x, read_encoder(pass, *layer.cross, l, x, encoded), layer.cross->norm);
    const at::Tensor inner = activate_(context.linear(layer.up, x));
    return add(x, context.sublayer(layer.down.site, x, context.linear(layer.down, inner)), layer.norm);
  }

  at::Tensor heads(const at::Tensor& x) const { return x.view({x.size(0), config_.heads, config_.head_dim}); }
  double scale() const { return 1.0 / std::sqrt(static_cast<double>(config_.head_dim)); }

  at::Tensor self_attention(const Context& context, const Attention& maps, std::int64_t l, const at::Tensor& x) const {
    AttentionOptions options;
    options.scale = scale();
    options.cache = context.cache();
    options.layer = l;
    const auto qkv = context.linear({maps.q, maps.k, maps.v}, x);
    const auto [k, v] = context.with_prefixes(maps.k.site.stack, l, heads(qkv[1]), heads(qkv[2]));
    const at::Tensor read = attention(heads(qkv[0]), k, v, context.plan().calls, options);
    return context.sublayer(maps.o.site, x, context.linear(maps.o, read));
  }

  at::Tensor read_encoder(const Pass& pass, const Attention& maps, std::int64_t l, const at::Tensor& x,
                          const at::Tensor& encoded) const {
    const at::Tensor q = heads(pass.decoder.linear(maps.q, x));
    const auto [k, v] = pass.keys_values(maps.k, maps.v, encoded, config_.heads);
    return pass.decoder.sublayer(maps.o.site, x,
                                 pass.decoder.linear(maps.o, cross_attention(pass.decoder, l, q, k, v, scale())));
  }

  Activation activate_;
  std::string prefix_;
  std::int64_t logits_bias_ = -1;
  Tower encoder_, decoder_;
  RoleMap roles_;
};

std::unique_ptr<Model> create(const ModelConfig& config, ParameterLoader& loader) {
  return std::make_unique<Bart>(config, loader);
}

}  // namespace

namespace arch {
extern const Architecture bart;
const Architecture bart{"bart", "BART, base and large", create};
}  // namespace arch
}  // namespace graft
