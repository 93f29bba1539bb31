// Sites and roles: where an adapter can act, in words that every architecture shares (docs/design.md, ideas 1 and 2).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace graft {

enum class Stack { Decoder, Encoder, Cross };  ///< Cross: the decoder's attention over the encoder

enum class Role { Q, K, V, O, Gate, Up, Down, Qkv, GateUp, Embed, Head };

const char* name(Stack stack);
const char* name(Role role);
/// Role of a name such as "q" or "down". Throws InvalidArgument with the nearest name.
Role role_of(const std::string& text);

/// One linear map of the model: x [N, in] → y [N, out].
struct Site {
  Stack stack = Stack::Decoder;
  std::int64_t layer = 0;
  Role role = Role::Q;
  friend auto operator<=>(const Site&, const Site&) = default;
};

/// "decoder.3.k"
std::string name(const Site& site);

/// How a weight is stored: [out, in] (nn.Linear) or [in, out] (GPT-2's Conv1D).
enum class Layout { OutIn, InOut };

/// Which parameter, or slice of one along its output, plays a role.
struct RoleEntry {
  Site site;
  std::string weight;  ///< parameter name in the checkpoint
  std::string bias;    ///< empty: none
  Layout layout = Layout::OutIn;
  std::int64_t in = 0;             ///< features
  std::int64_t out = 0;            ///< features of the slice
  std::int64_t first = 0;          ///< first output of the slice in the stored parameter
  std::int64_t whole = 0;          ///< outputs of the stored parameter; == out unless it is fused
  std::string module_prefix = {};  ///< what the module's name has in front where the checkpoint leaves it out
  std::string module_name = {};    ///< where it is not called after the weight: tied tables are one weight
  /// Module name, as PEFT targets it: the weight's name without ".weight".
  std::string module() const {
    return module_name.empty() ? module_prefix + weight.substr(0, weight.rfind('.')) : module_name;
  }
  bool fused() const { return whole != out; }
};

using RoleMap = std::vector<RoleEntry>;

/// The model's head as a site: x [K, C] are hidden states, y [K, V] logits before a cap or a bias.
inline constexpr Site kHeadSite{Stack::Decoder, 0, Role::Head};
/// The token embeddings of a stack as a site: x [n] are token ids, y [n, C] their rows in fp32, before the family's own
/// factor.
constexpr Site embedding_site(Stack stack) {
  return {stack, 0, Role::Embed};
}

/// The entry of a site, or nullptr.
const RoleEntry* find(const RoleMap& roles, const Site& site);

/// A normalisation of the model.
struct NormEntry {
  std::string module;        ///< as PEFT targets it
  std::int64_t weight = -1;  ///< parameter index
  std::int64_t bias = -1;    ///< -1: none (RMSNorm)
};

/// What an adapter adds to the output of a map: scale · (x aᵀ) bᵀ.
struct LowRankUpdate {
  at::Tensor a;  ///< [R, in] fp32
  at::Tensor b;  ///< [out, R] fp32
  double scale = 1;
};

/// What an adapter has in place of a few numbers of a base parameter.
struct SparseChange {
  at::Tensor places;  ///< [K] int64, into the flattened parameter, ascending, each once
  at::Tensor values;  ///< [K] fp32
};

/// What an adapter may do inside a forward pass. Implementations are const and may be called from one thread at a time.
class SiteHooks {
 public:
  virtual ~SiteHooks() = default;
  virtual bool acts_on(const Site&) const { return false; }
  /// What the rows x [n, in] of the linear map are multiplied with before it, [in] fp32, or an undefined tensor.
  virtual at::Tensor input_scale(const Site&) const { return {}; }
  /// What the rows y [n, out] after it are multiplied with, [out] fp32, or an undefined tensor; absent where output()
  /// says what happens. Rows of any number of slots are scaled at once.
  virtual std::optional<at::Tensor> output_scale(const Site&) const { return std::nullopt; }
  /// What output() adds to y, where it does no more than that; absent where it does something else, and where
  /// output_scale() says what happens. Rows of any number of slots get their updates at once.
  virtual std::optional<LowRankUpdate> low_rank(const Site&) const { return std::nullopt; }
  /// y [n, out] after it, where output_scale() is absent; x is what the map was given before input_scale().
  virtual at::Tensor output(const Site&, const at::Tensor& x, const at::Tensor& y) const {
    (void)x;
    return y;
  }
  /// Whether sublayer() does anything at the site: where it does not, a batch of many slots is not cut for it.
  virtual bool changes_sublayer(const Site& last) const {
    (void)last;
    return false;
  }
  /// Output y [n, C] of a whole attention or feed-forward, before it is added to the stream; x [n, C] is what went in,
  /// `last` the site of its last map (o or down). Called where changes_sublayer() is true.
  virtual at::Tensor sublayer(const Site& last, const at::Tensor& x, const at::Tensor& y) const {
    (void)last;
    (void)x;
    return y;
  }
  /// How many virtual tokens stand in front of each text of this stack (encoder or decoder).
  virtual std::int64_t virtual_tokens(Stack stack) const {
    (void)stack;
    return 0;
  }
  /// True where they stand before the last token of each prompt (Segment::prompt_end) instead: between what is given
  /// and what is to be written, which that token predicts. Decoder-only models.
  virtual bool infix() const { return false; }
  /// Embeddings [P, C] of the virtual tokens, or an undefined tensor where only their keys and values matter.
  virtual at::Tensor prompt(Stack stack) const {
    (void)stack;
    return {};
  }
  /// Keys and values [P, G, D] of the virtual tokens in one attention, positions already in them; undefined: those that
  /// follow from prompt(). Cross: of the encoder's virtual tokens, for the decoder.
  virtual std::pair<at::Tensor, at::Tensor> prefix(Stack stack, std::int64_t layer) const {
    (void)stack;
    (void)layer;
    return {};
  }
  /// A trained replacement of vector `index` of a norm, or an undefined tensor. Unlike parameter() it may be another
  /// one for each slot of a batch.
  virtual at::Tensor norm(std::int64_t index) const {
    (void)index;
    return {};
  }
  /// A trained replacement of base parameter `index` (ParameterTable order), or an undefined tensor.
  virtual at::Tensor parameter(std::int64_t index) const {
    (void)index;
    return {};
  }
  /// True where parameter() replaces any.
  virtual bool replaces_parameters() const { return false; }
  /// True where change() says all that parameter() does, and norm() has what it does to norms: then the parameters may
  /// be others for each slot of a batch.
  virtual bool changes_by_places() const { return false; }
  /// The numbers of base parameter `index` that parameter() has others for; absent: none.
  virtual std::optional<SparseChange> change(std::int64_t index) const {
    (void)index;
    return std::nullopt;
  }
  /// The table [V, C] fp32 that hidden states are multiplied with in the head, in place of the base's whether that is
  /// tied to the embeddings or not; or an undefined tensor.
  virtual at::Tensor head_table() const { return {}; }
};

/// Whether an adapter can share no batch with others or the base model: it replaces whole parameters.
bool stands_alone(const SiteHooks& hooks);
/// Whether texts without a cache may all go on the same virtual tokens of the adapter: they stand in front, and only
/// their keys and values matter, which are what they are whatever follows.
bool shares_virtual_tokens(const SiteHooks& hooks, Stack stack);
/// Whether the logits of any of the adapters (null where a slot is empty) come from more than the base's head.
bool changes_head(const std::vector<const SiteHooks*>& slots);
/// The first of the adapters (null where a slot is empty) that stands alone, or nullptr.
const SiteHooks* standing_alone(const std::vector<const SiteHooks*>& slots);
/// What `hooks` has in place of parameter `index`, in `dtype`; undefined where that is nothing, or there is no adapter.
at::Tensor replacement(const SiteHooks* hooks, std::int64_t index, at::ScalarType dtype);

}  // namespace graft
