// GPT-2: pre-norm decoder with LayerNorm, learned positions and one fused map for queries, keys and values (Radford et
// al. 2019).
#include <ATen/ATen.h>

#include "arch/core/architecture.h"
#include "arch/core/last_rows.h"
#include "nn/activation.h"
#include "nn/attention.h"
#include "nn/residual.h"

namespace graft {
namespace {

constexpr const char* kPrefix = "transformer.";

struct Layer {
  Norm attention_norm, mlp_norm;
  Linear qkv, o, up, down;
};

class Gpt2 : public Model {
 public:
  Gpt2(const ModelConfig& config, ParameterLoader& loader) : Model(config), activate_(activation(config.activation)) {
    // The published files name the bare model's parameters; files saved with a head have the prefix.
    prefix_ = loader.has(std::string(kPrefix) + "wte.weight") ? kPrefix : "";
    embedding_ = loader.take_matrix(prefix_ + "wte.weight", {config.vocab_size, config.hidden_size});
    positions_ = loader.take(prefix_ + "wpe.weight", {config.max_positions, config.hidden_size});
    for (std::int64_t l = 0; l < config.layers; ++l) layers_.push_back(load_layer(loader, l));
    norm_ = load_norm(loader, prefix_ + "ln_f");
    loader.ignore(".attn.bias");
    loader.ignore(".attn.masked_bias");
    if (config.tie_embeddings) {
      loader.ignore("lm_head.weight");
      head_ = embedding_;
    } else {
      head_ = loader.take_matrix("lm_head.weight", {config.vocab_size, config.hidden_size});
    }
    parameters_ = loader.finish();
    note_tables({{Stack::Decoder, std::string(kPrefix) + "wte"}}, head_);
  }

  const RoleMap& roles() const override { return roles_; }
  std::int64_t cache_layers() const override { return config_.layers; }

  at::Tensor logits(const at::Tensor& hidden, const ForwardOptions& options) const override {
    return project(hidden, head_, options);
  }

 protected:
  at::Tensor run(const StepInput& input, const ForwardOptions& options) const override {
    const auto pass = std::make_shared<const Pass>(*this, input, options);
    const LayerOfStack layer = [this, pass](std::size_t l, const std::vector<at::Tensor>& inputs) {
      return run_layer(*pass, static_cast<std::int64_t>(l), inputs[0]);
    };
    const at::Tensor last = run_layers(Stack::Decoder, layers_.size(), {embed(pass->context)}, options, layer);
    return pass->rows.given(pass->rows.end().layer_norm(norm_, last, config_.norm_eps));
  }

 private:
  // Shared with the closures of recomputed layers, which outlive the forward pass.
  struct Pass {
    Pass(const Gpt2& model, const StepInput& input, const ForwardOptions& options)
        : context(model.parameters_, options.slots, plan(input.decoder, model.plan_options(options)), options.cache,
                  options.activations),
          rows(model.parameters_, context, options, model.config_.layers) {}
    Context context;
    LastRows rows;
  };

  Layer load_layer(ParameterLoader& loader, std::int64_t l) {
    const auto prefix = fmt::format("{}h.{}.", prefix_, l);
    const std::int64_t hidden = config_.hidden_size, inner = config_.intermediate_size;
    Layer layer;
    layer.attention_norm = load_norm(loader, prefix + "ln_1");
    layer.mlp_norm = load_norm(loader, prefix + "ln_2");
    layer.qkv = map(loader, site(l, Role::Qkv), prefix + "attn.c_attn", hidden, 3 * hidden);
    const RoleEntry fused = roles_.back();
    std::int64_t first = 0;
    for (const Role role : {Role::Q, Role::K, Role::V}) {
      RoleEntry slice = fused;
      slice.site.role = role;
      slice.first = first;
      slice.out = hidden;
      roles_.push_back(slice);
      first += hidden;
    }
    layer.o = map(loader, site(l, Role::O), prefix + "attn.c_proj", hidden, hidden);
    layer.up = map(loader, site(l, Role::Up), prefix + "mlp.c_fc", hidden, inner);
    layer.down = map(loader, site(l, Role::Down), prefix + "mlp.c_proj", inner, hidden);
    return layer;
  }

  static Site site(std::int64_t layer, Role role) { return {Stack::Decoder, layer, role}; }

  Norm load_norm(ParameterLoader& loader, const std::string& module) {
    return take_norm(loader, module, config_.hidden_size, true, hidden_prefix());
  }

  const char* hidden_prefix() const { return prefix_.empty() ? kPrefix : ""; }

  Linear map(ParameterLoader& loader, Site where, const std::string& module, std::int64_t in, std::int64_t out) {
    const Layout layout = config_.transposed_linears ? Layout::InOut : Layout::OutIn;
    const auto shape = layout == Layout::InOut ? std::vector{in, out} : std::vector{out, in};
    const Linear linear{where, loader.take_matrix(module + ".weight", shape), loader.take(module + ".bias", {out}),
                        layout};
    RoleEntry entry{where, module + ".weight", module + ".bias", layout, in, out, 0, out};
    entry.module_prefix = hidden_prefix();
    roles_.push_back(entry);
    return linear;
  }

  at::Tensor embed(const Context& context) const {
    refuse_beyond(context.plan(), config_.max_positions, "decoder");
    return context.embed(Stack::Decoder, embedding_) + context.rows(positions_, context.plan().positions);
  }

  at::Tensor run_layer(const Pass& pass, std::int64_t l, const at::Tensor& x) const {
    const Layer& layer = layers_[static_cast<std::size_t>(l)];
    const at::Tensor attended =
        residual(pass.rows.of(l, x),
                 self_attention(pass, l, pass.context.layer_norm(layer.attention_norm, x, config_.norm_eps)));
    const Context& context = pass.rows.behind(l);
    const at::Tensor normed = context.layer_norm(layer.mlp_norm, attended, config_.norm_eps);
    const at::Tensor inner = context.linear(layer.up, normed);
    return residual(attended, context.sublayer(layer.down.site, normed, context.linear(layer.down, activate_(inner))));
  }

  at::Tensor self_attention(const Pass& pass, std::int64_t l, const at::Tensor& x) const {
    const Layer& layer = layers_[static_cast<std::size_t>(l)];
    const Context &context = pass.context, &behind = pass.rows.behind(l);
    const at::Tensor fused = context.linear(layer.qkv, x);
    const auto part = [&](std::int64_t index, Role role) {
      const at::Tensor slice = fused.narrow(1, index * config_.hidden_size, config_.hidden_size);
      return context.adapt_output(site(l, role), x, slice).reshape({x.size(0), config_.heads, config_.head_dim});
    };
    AttentionOptions options;
    options.scale = scale(l);
    options.cache = context.cache();
    options.layer = l;
    const auto [k, v] = context.with_prefixes(Stack::Decoder, l, part(1, Role::K), part(2, Role::V));
    const at::Tensor read = pass.rows.of(l, attention(part(0, Role::Q), k, v, context.plan().calls, options));
    return behind.sublayer(layer.o.site, pass.rows.of(l, x), behind.linear(layer.o, read));
  }

  double scale(std::int64_t l) const {
    const double by_width = config_.scale_attention ? 1.0 / std::sqrt(static_cast<double>(config_.head_dim)) : 1.0;
    return config_.scale_attention_by_layer ? by_width / static_cast<double>(l + 1) : by_width;
  }

  Activation activate_;
  std::string prefix_;
  std::int64_t positions_ = -1, head_ = -1;
  Norm norm_;
  std::vector<Layer> layers_;
  RoleMap roles_;
};

std::unique_ptr<Model> create(const ModelConfig& config, ParameterLoader& loader) {
  return std::make_unique<Gpt2>(config, loader);
}

}  // namespace

namespace arch {
extern const Architecture gpt2;
const Architecture gpt2{"gpt2", "GPT-2, any size", create};
}  // namespace arch
}  // namespace graft
