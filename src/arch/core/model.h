// The model every architecture file makes: the same object trains, evaluates and generates.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "config/model_config.h"
#include "nn/context.h"
#include "nn/parameters.h"
#include "nn/sites.h"
#include "nn/step_input.h"

namespace graft {

class KvCache;

/// Bytes of logits that a step keeps for its backward pass, of rows that need it (score_tokens()); where there are
/// more, that computes them again.
inline constexpr std::int64_t kKeptLogitBytes = std::int64_t{128} << 20;

struct ForwardOptions {
  std::vector<const SiteHooks*> slots;  ///< adapters by slot
  KvCache* cache = nullptr;             ///< for segments that name a cache sequence
  bool checkpoint_layers = false;       ///< recompute layers in the backward pass
  std::int64_t kept_logit_bytes = kKeptLogitBytes;
  Activations activations = Activations::Exact;  ///< of maps, where no gradient is asked for
  /// Whose the hidden rows that logits() is given are (slot_runs(), chosen_runs()). Empty: slot 0's, or the base's
  /// where there is no slot; of several slots only where none changes the head.
  std::vector<SlotRun> rows = {};
  /// Where it is set, what adapters have in place of the head's table is made at the first call of logits() that needs
  /// it and kept here, by slot, for the next ones. Of calls that go backward together, if at all: it is part of their
  /// graph.
  std::shared_ptr<std::map<std::int32_t, at::Tensor>> heads = {};
  /// The decoder's tokens, ascending, whose hidden states are asked for: forward() gives these alone, and the last
  /// layer of a decoder-only model computes no others behind its attention. Empty: all of them.
  std::vector<std::int64_t> asked = {};
};

/// Immutable after construction; forward() may be called from several threads.
class Model {
 public:
  virtual ~Model() = default;

  /// Final hidden states [N, C] of the decoder's tokens, or of those that are asked for, after the last norm, in the
  /// input's order of tokens. Throws InvalidArgument for a malformed input.
  at::Tensor forward(const StepInput& input, const ForwardOptions& options = {}) const;

  /// Logits [K, V] of hidden rows [K, C], in the compute dtype. Throws Internal where ForwardOptions::rows are needed
  /// and are not those.
  virtual at::Tensor logits(const at::Tensor& hidden, const ForwardOptions& options = {}) const = 0;

  virtual const RoleMap& roles() const = 0;
  /// Token embeddings of each stack and the head, which roles() leaves out: several modules of one parameter where they
  /// are tied. Stored [V, C]; in and out are those of the module: from a token to C features, from these to V logits.
  const RoleMap& tables() const { return tables_; }
  /// Token embeddings [n, C] fp32, as the model reads them.
  at::Tensor embeddings(const std::vector<std::int64_t>& ids) const;
  /// Every normalisation, the last one included.
  const std::vector<NormEntry>& norms() const { return norms_; }
  /// Parameter indices of the linear maps of every layer of a stack (encoder or decoder), those of its cross-attention
  /// among them. What stands outside of layers (embeddings, head) and the vectors of norms and biases are in none.
  std::vector<std::vector<std::int64_t>> layer_weights(Stack stack) const;
  /// base_fingerprint() (fingerprint.h) of these weights: read at the first call for this version and kept, however
  /// many adapters ask; of a large model's whole weights in the user's cache too (fingerprint_cache.h). May be called
  /// from several threads.
  const std::string& fingerprint(int version) const;
  /// Depth of the KV cache this model needs.
  virtual std::int64_t cache_layers() const = 0;

  const ModelConfig& config() const { return config_; }
  const ParameterTable& parameters() const { return parameters_; }
  bool encoder_decoder() const { return config_.encoder_decoder(); }
  at::Device device() const { return parameters_.device(); }
  at::ScalarType dtype() const { return parameters_.dtype(); }

 protected:
  explicit Model(ModelConfig config) : config_(std::move(config)) {}

  /// forward() of an input that has the adapters' virtual tokens, which ForwardOptions::asked counts too.
  virtual at::Tensor run(const StepInput& input, const ForwardOptions& options) const = 0;
  PlanOptions plan_options(const ForwardOptions& options) const;

  /// Layer `layer` of a stack: from hidden states [N, C] and, behind them, what every layer is given, hidden states. A
  /// function of its inputs, as LayerFunction.
  using LayerOfStack = std::function<at::Tensor(std::size_t layer, const std::vector<at::Tensor>& inputs)>;
  /// Hidden states behind all `count` layers of a stack, the only way through them: recomputed in the backward pass
  /// where the options say so, and where mapped weights are streamed (Residency) each layer's pages are given back when
  /// it has been computed, forward and backward, and the next one's are fetched.
  at::Tensor run_layers(Stack stack, std::size_t count, std::vector<at::Tensor> inputs, const ForwardOptions& options,
                        const LayerOfStack& layer) const;
  /// Parameter `index` or its replacement by a method that trains base parameters.
  at::Tensor parameter(std::int64_t index, const ForwardOptions& options) const;
  /// Logits [K, V] of hidden rows [K, C] through table `index` [V, C] or what each row's adapter has for it, and
  /// through the adapters that act on the head.
  at::Tensor project(const at::Tensor& hidden, std::int64_t index, const ForwardOptions& options) const;

  /// Fills tables(), once parameters_ are there: what PEFT calls the embeddings (parameter embedding_) of each stack,
  /// and the index of the head's parameter.
  void note_tables(const std::vector<std::pair<Stack, std::string>>& embeddings, std::int64_t head);

  /// Loads `module`.weight and, where the norm has one, `module`.bias, [size] each. `hidden_prefix` is what the
  /// module's name has in front where the checkpoint leaves it out.
  Norm take_norm(ParameterLoader& loader, const std::string& module, std::int64_t size, bool bias,
                 const std::string& hidden_prefix = "");

  ModelConfig config_;
  ParameterTable parameters_;
  std::int64_t embedding_ = -1;  // parameter index of the token embeddings
  std::vector<NormEntry> norms_;
  RoleMap tables_;

 private:
  mutable std::recursive_mutex fingerprints_mutex_;
  mutable std::map<int, std::string> fingerprints_;  // by version
};

struct ModelOptions {
  at::ScalarType dtype = at::kFloat;  ///< of parameters and activations
  at::Device device = at::kCPU;
  WeightFormat weights = WeightFormat::Dense;
  std::int64_t memory = 0;  ///< bytes that may be resident, as the user says; 0: what this process can have
  bool settled = false;     ///< dtype and weights are no options of the verb: where there is no room, none is named
};

/// Opens a model folder or .gguf file with the architecture its config names. Blocks that are fitted while loading a
/// checkpoint of 2^24 values and more are kept in weight_cache_folder() (checkpoint/kept_blocks.h). Throws NotFound,
/// Corruption, Unsupported, InvalidArgument as that does, and on the CPU ResourceExhausted, before a value is read, as
/// refuse_oversized() does (weight_memory.h).
std::unique_ptr<Model> load_model(const std::string& path, const ModelOptions& options = {});

/// A model of a configuration alone: its parameters have names and shapes but no values (device meta), so that anything
/// can be counted on it and nothing computed. Throws Unsupported for an architecture this build has not.
std::unique_ptr<Model> outline_model(const ModelConfig& config);
/// The same with matrices that count as kept in `format`; of a file (null: none) whose blocks packed keeps. Also throws
/// InvalidArgument where no matrix could be.
std::unique_ptr<Model> outline_model(const ModelConfig& config, WeightFormat format,
                                     std::shared_ptr<const TensorSource> file);

/// For whoever meets a score, loss or logit that is not a number: throws Corruption that names the first parameter with
/// NaN or infinity, or says that there is none and where else to look.
[[noreturn]] void fail_not_finite(const Model& model, const std::string& where);

}  // namespace graft
