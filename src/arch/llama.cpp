// Llama family: pre-norm decoder with RMSNorm, rotary positions, grouped-query attention and SwiGLU (Touvron et al.
// 2023); with query, key and value biases it is Qwen2, and SmolLM2 and Mistral are configurations of it.
#include <ATen/ATen.h>

#include "arch/core/architecture.h"
#include "nn/activation.h"
#include "nn/attention.h"
#include "nn/layer_checkpoint.h"
#include "nn/rope.h"

namespace graft {
namespace {

struct Layer {
  Norm input_norm, post_norm;
  Linear q, k, v, o, gate, up, down;
};

class Llama : public Model {
 public:
  Llama(const ModelConfig& config, ParameterLoader& loader)
      : Model(config),
        rope_(config.rope, config.head_dim, config.max_positions),
        activate_(activation(config.activation)) {
    embedding_ = loader.take("model.embed_tokens.weight", {config.vocab_size, config.hidden_size});
    for (std::int64_t l = 0; l < config.layers; ++l) layers_.push_back(load_layer(loader, l));
    norm_ = take_norm(loader, "model.norm", config.hidden_size, false);
    loader.ignore("rotary_emb.inv_freq");  // from GGUF's rope_freqs it is already in the configuration
    if (config.tie_embeddings) {
      loader.ignore("lm_head.weight");
      head_ = embedding_;
    } else {
      head_ = loader.take("lm_head.weight", {config.vocab_size, config.hidden_size});
    }
    parameters_ = loader.finish();
  }

  const RoleMap& roles() const override { return roles_; }
  std::int64_t cache_layers() const override { return config_.layers; }

  at::Tensor logits(const at::Tensor& hidden, const ForwardOptions& options) const override {
    return at::linear(hidden, parameter(head_, options));
  }

 protected:
  at::Tensor run(const StepInput& input, const ForwardOptions& options) const override {
    const auto pass = std::make_shared<const Pass>(*this, input, options);
    at::Tensor x = pass->context.embed(Stack::Decoder, embedding_);
    for (std::size_t l = 0; l < layers_.size(); ++l) {
      const LayerFunction layer = [this, pass, l](const std::vector<at::Tensor>& inputs) {
        return run_layer(pass->context, pass->table, static_cast<std::int64_t>(l), inputs[0]);
      };
      x = options.checkpoint_layers ? checkpointed(layer, {x}) : layer({x});
    }
    x = pass->context.rms_norm(norm_, x, config_.norm_eps);
    const auto& order = pass->context.plan().order;
    return order ? x.index_select(0, *order) : x;
  }

 private:
  // Shared with the closures of recomputed layers, which outlive the forward pass.
  struct Pass {
    Pass(const Llama& model, const StepInput& input, const ForwardOptions& options)
        : context(model.parameters_, options.slots, plan(input.decoder, model.plan_options(options)), options.cache),
          table(model.rope_.table(context.plan().positions, context.plan().lengths)) {}
    Context context;
    RopeTable table;
  };

  Layer load_layer(ParameterLoader& loader, std::int64_t l) {
    const auto prefix = fmt::format("model.layers.{}.", l);
    const std::int64_t hidden = config_.hidden_size, queries = config_.heads * config_.head_dim,
                       keys = config_.kv_heads * config_.head_dim;
    Layer layer;
    layer.input_norm = take_norm(loader, prefix + "input_layernorm", hidden, false);
    layer.post_norm = take_norm(loader, prefix + "post_attention_layernorm", hidden, false);
    const bool bias = config_.attention_bias;
    layer.q =
        map(loader, {Stack::Decoder, l, Role::Q}, prefix + "self_attn.q_proj", hidden, queries, bias, config_.heads);
    layer.k =
        map(loader, {Stack::Decoder, l, Role::K}, prefix + "self_attn.k_proj", hidden, keys, bias, config_.kv_heads);
    layer.v = map(loader, {Stack::Decoder, l, Role::V}, prefix + "self_attn.v_proj", hidden, keys, bias);
    layer.o = map(loader, {Stack::Decoder, l, Role::O}, prefix + "self_attn.o_proj", queries, hidden,
                  config_.attention_output_bias);
    layer.gate = map(loader, {Stack::Decoder, l, Role::Gate}, prefix + "mlp.gate_proj", hidden,
                     config_.intermediate_size, config_.mlp_bias);
    layer.up = map(loader, {Stack::Decoder, l, Role::Up}, prefix + "mlp.up_proj", hidden, config_.intermediate_size,
                   config_.mlp_bias);
    layer.down = map(loader, {Stack::Decoder, l, Role::Down}, prefix + "mlp.down_proj", config_.intermediate_size,
                     hidden, config_.mlp_bias);
    return layer;
  }

  // `rotary_heads` > 0: rows that a GGUF file keeps in interleaved pairs are put back.
  Linear map(ParameterLoader& loader, Site site, const std::string& module, std::int64_t in, std::int64_t out,
             bool bias, std::int64_t rotary_heads = 0) {
    const auto rows =
        config_.rope_interleaved && rotary_heads > 0 ? unpermute_rows(out, rotary_heads) : std::vector<std::int64_t>();
    Linear linear{site, loader.take(module + ".weight", {out, in}, rows), -1, Layout::OutIn};
    if (bias) linear.bias = loader.take(module + ".bias", {out}, rows);
    roles_.push_back({site, module + ".weight", bias ? module + ".bias" : "", Layout::OutIn, in, out, 0, out});
    return linear;
  }

  at::Tensor run_layer(const Context& context, const RopeTable& table, std::int64_t l, const at::Tensor& x) const {
    const Layer& layer = layers_[static_cast<std::size_t>(l)];
    const at::Tensor attended =
        x + self_attention(context, table, l, context.rms_norm(layer.input_norm, x, config_.norm_eps));
    const at::Tensor normed = context.rms_norm(layer.post_norm, attended, config_.norm_eps);
    const at::Tensor inner = activate_(context.linear(layer.gate, normed)) * context.linear(layer.up, normed);
    return attended + context.sublayer(layer.down.site, normed, context.linear(layer.down, inner));
  }

  at::Tensor self_attention(const Context& context, const RopeTable& table, std::int64_t l, const at::Tensor& x) const {
    const Layer& layer = layers_[static_cast<std::size_t>(l)];
    const std::int64_t n = x.size(0), dim = config_.head_dim;
    const at::Tensor q = rotate(context.linear(layer.q, x).view({n, config_.heads, dim}), table);
    const auto [k, v] = context.with_prefixes(
        Stack::Decoder, l, rotate(context.linear(layer.k, x).view({n, config_.kv_heads, dim}), table),
        context.linear(layer.v, x).view({n, config_.kv_heads, dim}));
    AttentionOptions options;
    options.scale = 1.0 / std::sqrt(static_cast<double>(dim));
    options.cache = context.cache();
    options.layer = l;
    const auto& calls = config_.windowed(l) ? context.plan().windowed : context.plan().calls;
    return context.sublayer(layer.o.site, x, context.linear(layer.o, attention(q, k, v, calls, options)));
  }

  Rope rope_;
  Activation activate_;
  std::int64_t head_ = -1;
  Norm norm_;
  std::vector<Layer> layers_;
  RoleMap roles_;
};

std::unique_ptr<Model> create(const ModelConfig& config, ParameterLoader& loader) {
  return std::make_unique<Llama>(config, loader);
}

}  // namespace

namespace arch {
extern const Architecture llama;
const Architecture llama{"llama", "Llama family: Llama 2 and 3, SmolLM2, Mistral, Qwen2", create};
}  // namespace arch
}  // namespace graft
