// Llama family: pre-norm decoder with RMSNorm, rotary positions, grouped-query attention and SwiGLU (Touvron et al.
// 2023). Qwen2 and 3, Mistral, SmolLM2, Phi-3, OLMo 2 and Gemma 2 and 3 are configurations of it: they differ in where
// norms stand and what they see, in biases, windows, caps and whether maps are stored together.
#include <ATen/ATen.h>

#include <cmath>
#include <optional>

#include "arch/core/architecture.h"
#include "arch/core/last_rows.h"
#include "nn/activation.h"
#include "nn/attention.h"
#include "nn/residual.h"
#include "nn/rope.h"

namespace graft {
namespace {

// Norms of a residual branch: of its input and of its output; weight -1: none.
struct Norms {
  Norm before, after;
};

// Maps of one input: each stored by itself, or as slices of one matrix.
struct Maps {
  std::vector<Linear> single;
  std::optional<Linear> fused;
  std::vector<RoleEntry> slices;
};

struct Layer {
  Norms attention, mlp;
  Norm q_norm, k_norm;
  Maps qkv, gate_up;
  Linear o, down;
};

class Llama : public Model {
 public:
  Llama(const ModelConfig& config, ParameterLoader& loader)
      : Model(config),
        rope_(config.rope, config.head_dim, config.max_positions),
        activate_(activation(config.activation)) {
    if (config.local_rope) local_rope_.emplace(*config.local_rope, config.head_dim, config.max_positions);
    embedding_ = loader.take_matrix("model.embed_tokens.weight", {config.vocab_size, config.hidden_size});
    for (std::int64_t l = 0; l < config.layers; ++l) layers_.push_back(load_layer(loader, l));
    norm_ = take_norm(loader, "model.norm", config.hidden_size, false);
    loader.ignore("rotary_emb.inv_freq");
    // What GGUF has as tensors of the rotation is already in the configuration.
    for (const char* factors : {"rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"})
      loader.ignore(factors);
    if (config.tie_embeddings) {
      loader.ignore("lm_head.weight");
      head_ = embedding_;
    } else {
      head_ = loader.take_matrix("lm_head.weight", {config.vocab_size, config.hidden_size});
    }
    parameters_ = loader.finish();
    note_tables({{Stack::Decoder, "model.embed_tokens"}}, head_);
  }

  const RoleMap& roles() const override { return roles_; }
  std::int64_t cache_layers() const override { return config_.layers; }

  at::Tensor logits(const at::Tensor& hidden, const ForwardOptions& options) const override {
    const at::Tensor bare = project(hidden, head_, options);
    return config_.logit_softcap > 0 ? soft_cap(bare, config_.logit_softcap) : bare;
  }

 protected:
  at::Tensor run(const StepInput& input, const ForwardOptions& options) const override {
    const auto pass = std::make_shared<const Pass>(*this, input, options);
    const LayerOfStack layer = [this, pass](std::size_t l, const std::vector<at::Tensor>& inputs) {
      return run_layer(*pass, static_cast<std::int64_t>(l), inputs[0]);
    };
    const at::Tensor last = run_layers(Stack::Decoder, layers_.size(), {embed(pass->context)}, options, layer);
    return pass->rows.given(normalised(pass->rows.end(), last, norm_));
  }

 private:
  // Shared with the closures of recomputed layers, which outlive the forward pass.
  struct Pass {
    Pass(const Llama& model, const StepInput& input, const ForwardOptions& options)
        : context(model.parameters_, options.slots, plan(input.decoder, model.plan_options(options)), options.cache,
                  options.activations),
          rows(model.parameters_, context, options, model.config_.layers),
          table(model.rope_.table(context.plan().positions, context.plan().lengths)) {
      if (model.local_rope_) local_table = model.local_rope_->table(context.plan().positions, context.plan().lengths);
    }
    Context context;
    LastRows rows;
    RopeTable table, local_table;
  };

  Layer load_layer(ParameterLoader& loader, std::int64_t l) {
    const auto prefix = fmt::format("model.layers.{}.", l);
    const std::int64_t hidden = config_.hidden_size, inner = config_.intermediate_size,
                       queries = config_.heads * config_.head_dim;
    Layer layer;
    load_norms(loader, prefix, layer);
    layer.qkv = config_.fused_maps ? fused_qkv(loader, l, prefix) : load_qkv(loader, l, prefix);
    layer.o =
        map(loader, site(l, Role::O), prefix + "self_attn.o_proj", queries, hidden, config_.attention_output_bias);
    if (config_.fused_maps) {
      layer.gate_up =
          fused(loader, site(l, Role::GateUp), prefix + "mlp.gate_up_proj", {{Role::Gate, inner}, {Role::Up, inner}});
    } else {
      const bool bias = config_.mlp_bias;
      layer.gate_up.single = {map(loader, site(l, Role::Gate), prefix + "mlp.gate_proj", hidden, inner, bias),
                              map(loader, site(l, Role::Up), prefix + "mlp.up_proj", hidden, inner, bias)};
    }
    layer.down = map(loader, site(l, Role::Down), prefix + "mlp.down_proj", inner, hidden, config_.mlp_bias);
    return layer;
  }

  static Site site(std::int64_t layer, Role role) { return {Stack::Decoder, layer, role}; }

  void load_norms(ParameterLoader& loader, const std::string& prefix, Layer& layer) {
    const auto norm = [&](const char* name, std::int64_t width) {
      return take_norm(loader, prefix + name, width, false);
    };
    const std::int64_t hidden = config_.hidden_size, dim = config_.head_dim;
    const bool before = config_.norms != NormPlacement::After, after = config_.norms != NormPlacement::Before;
    if (before) layer.attention.before = norm("input_layernorm", hidden);
    // The name stands for the feed-forward's own norm where attention's output has none.
    (after ? layer.attention.after : layer.mlp.before) = norm("post_attention_layernorm", hidden);
    if (before && after) layer.mlp.before = norm("pre_feedforward_layernorm", hidden);
    if (after) layer.mlp.after = norm("post_feedforward_layernorm", hidden);
    if (config_.qk_norm == QkNorm::None) return;
    const bool all = config_.qk_norm == QkNorm::AllHeads;
    layer.q_norm = norm("self_attn.q_norm", all ? config_.heads * dim : dim);
    layer.k_norm = norm("self_attn.k_norm", all ? config_.kv_heads * dim : dim);
  }

  Maps load_qkv(ParameterLoader& loader, std::int64_t l, const std::string& prefix) {
    const std::int64_t hidden = config_.hidden_size, heads = config_.heads, groups = config_.kv_heads;
    const bool bias = config_.attention_bias;
    const auto one = [&](Role role, const char* name, std::int64_t outputs, std::int64_t rotary_heads) {
      return map(loader, site(l, role), prefix + name, hidden, outputs * config_.head_dim, bias, rotary_heads);
    };
    Maps maps;
    maps.single = {one(Role::Q, "self_attn.q_proj", heads, heads), one(Role::K, "self_attn.k_proj", groups, groups),
                   one(Role::V, "self_attn.v_proj", groups, 0)};
    return maps;
  }

  Maps fused_qkv(ParameterLoader& loader, std::int64_t l, const std::string& prefix) {
    const std::int64_t queries = config_.heads * config_.head_dim, keys = config_.kv_heads * config_.head_dim;
    return fused(loader, site(l, Role::Qkv), prefix + "self_attn.qkv_proj",
                 {{Role::Q, queries}, {Role::K, keys}, {Role::V, keys}});
  }

  // Maps that follow each other along the outputs of one parameter.
  Maps fused(ParameterLoader& loader, Site where, const std::string& module,
             const std::vector<std::pair<Role, std::int64_t>>& parts) {
    std::int64_t whole = 0;
    for (const auto& [role, out] : parts) whole += out;
    Maps maps;
    maps.fused = map(loader, where, module, config_.hidden_size, whole, false);
    RoleEntry slice = roles_.back();
    for (const auto& [role, out] : parts) {
      slice.site.role = role;
      slice.out = out;
      maps.slices.push_back(slice);
      slice.first += out;
    }
    roles_.insert(roles_.end(), maps.slices.begin(), maps.slices.end());
    return maps;
  }

  // `rotary_heads` > 0: rows that a GGUF file keeps in interleaved pairs are put back.
  Linear map(ParameterLoader& loader, Site site, const std::string& module, std::int64_t in, std::int64_t out,
             bool bias, std::int64_t rotary_heads = 0) {
    const bool turned = config_.rope_interleaved && rotary_heads > 0 && loader.holds(module + ".weight", {out, in});
    const auto rows = turned ? unpermute_rows(out, rotary_heads) : std::vector<std::int64_t>();
    Linear linear{site, loader.take_matrix(module + ".weight", {out, in}, rows), -1, Layout::OutIn};
    if (bias) linear.bias = loader.take(module + ".bias", {out}, rows);
    roles_.push_back({site, module + ".weight", bias ? module + ".bias" : "", Layout::OutIn, in, out, 0, out});
    return linear;
  }

  at::Tensor embed(const Context& context) const {
    // Rounded to the compute dtype, as Gemma does it.
    const auto scale = at::scalar_tensor(config_.embedding_scale, at::TensorOptions().dtype(dtype()));
    return context.embed(Stack::Decoder, embedding_, scale.item<double>());
  }

  at::Tensor normalised(const Context& context, const at::Tensor& x, const Norm& norm) const {
    if (norm.weight >= 0) return context.rms_norm(norm, x, config_.norm_eps, config_.norm_weight);
    return x.scalar_type() == dtype() ? x : x.to(dtype());
  }

  static std::vector<at::Tensor> outputs(const Context& context, const Maps& maps, const at::Tensor& x) {
    if (!maps.fused) return context.linear(maps.single, x);
    std::vector<at::Tensor> result;
    const at::Tensor whole = context.linear(*maps.fused, x);
    for (const RoleEntry& slice : maps.slices)
      result.push_back(context.adapt_output(slice.site, x, whole.narrow(1, slice.first, slice.out)));
    return result;
  }

  at::Tensor run_layer(const Pass& pass, std::int64_t l, const at::Tensor& x) const {
    const Layer& layer = layers_[static_cast<std::size_t>(l)];
    const Context& context = pass.rows.behind(l);
    const at::Tensor read = self_attention(pass, l, normalised(pass.context, x, layer.attention.before));
    const at::Tensor attended = residual(pass.rows.of(l, x), normalised(context, read, layer.attention.after));
    const at::Tensor normed = normalised(context, attended, layer.mlp.before);
    const auto gate_up = outputs(context, layer.gate_up, normed);
    const at::Tensor down = context.sublayer(layer.down.site, normed,
                                             context.linear_of_gated(layer.down, activate_, gate_up[0], gate_up[1]));
    return residual(attended, normalised(context, down, layer.mlp.after));
  }

  // Queries or keys [N, heads · D] → [N, heads, D], normalised and rotated.
  at::Tensor positioned(const Context& context, const at::Tensor& x, const Norm& norm, const RopeTable& table) const {
    const std::int64_t dim = config_.head_dim;
    if (config_.qk_norm != QkNorm::Head) return rotate(normalised(context, x, norm), dim, table);
    return rotate(normalised(context, x.reshape({x.size(0), -1, dim}), norm), table);
  }

  at::Tensor self_attention(const Pass& pass, std::int64_t l, const at::Tensor& x) const {
    const Layer& layer = layers_[static_cast<std::size_t>(l)];
    const Context& context = pass.context;
    const bool windowed = config_.windowed(l);
    const RopeTable& table = windowed && local_rope_ ? pass.local_table : pass.table;
    const auto qkv = outputs(context, layer.qkv, x);
    const at::Tensor q = positioned(context, qkv[0], layer.q_norm, table);
    const auto [k, v] = context.with_prefixes(Stack::Decoder, l, positioned(context, qkv[1], layer.k_norm, table),
                                              qkv[2].reshape({x.size(0), config_.kv_heads, config_.head_dim}));
    AttentionOptions options;
    options.scale = config_.score_scale.value_or(1.0 / std::sqrt(static_cast<double>(config_.head_dim)));
    options.softcap = config_.attention_softcap;
    options.cache = context.cache();
    options.layer = l;
    const auto& calls = windowed ? context.plan().windowed : context.plan().calls;
    const at::Tensor heads = pass.rows.of(l, attention(q, k, v, calls, options));
    const Context& behind = pass.rows.behind(l);
    return behind.sublayer(layer.o.site, pass.rows.of(l, x), behind.linear(layer.o, heads));
  }

  Rope rope_;
  std::optional<Rope> local_rope_;
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
const Architecture llama{"llama", "Llama 2 and 3, SmolLM2, Mistral, Qwen2 and 3, Phi-3, OLMo 2, Gemma 2 and 3 (text)",
                         create};
}  // namespace arch
}  // namespace graft
