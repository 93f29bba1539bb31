// A forest made ready for computing: positions, and the attention calls that cover it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "nn/sight.h"
#include "nn/step_input.h"

namespace graft {

class KvCache;
class SharedBlocks;
class SharedMasks;

/// One attention product: `queries` over the concatenation of cached keys (if any) and `keys`.
struct AttentionCall {
  TokenRange queries;
  std::vector<TokenRange> keys;
  std::int32_t cache = -1;     ///< KV cache sequence whose keys come first
  Sight sight;                 ///< which of the keys, the cached ones first, a query sees
  at::Tensor query_positions;  ///< [Tq] int64, for relative position biases
  at::Tensor key_positions;    ///< [Tk] int64
  bool continues = false;      ///< one text behind cached keys: a query sees these and its text up to itself
  /// What LibTorch's operation is given instead of the sight; null: made each time.
  std::shared_ptr<SharedMasks> masks{};
  /// How it is cut for the threads of a CPU, which is found once for all layers; null: each time.
  std::shared_ptr<SharedBlocks> blocks{};
};

/// Consecutive planned tokens with one adapter slot.
struct SlotRun {
  TokenRange tokens;
  std::int32_t slot = -1;
};

/// The slots of a forest's tokens, in the order of its tokens.
std::vector<SlotRun> slot_runs(const Forest& forest);
/// The slots of some of the rows that `runs` cover, in the order of `rows`. Without runs: none.
std::vector<SlotRun> chosen_runs(const std::vector<SlotRun>& runs, const std::vector<std::int64_t>& rows);

/// Tokens are put into depth-first order, so that each tree is one run of rows; `order` undoes it.
struct ForestPlan {
  at::Tensor tokens;                    ///< [N] int64, planned order, on the model's device
  at::Tensor positions;                 ///< [N] int64, position within the path from the root
  at::Tensor lengths;                   ///< [N] int64, longest path of the token's tree: what dynamic RoPE looks at.
                                        ///< Texts that share no more than virtual tokens are trees of their own
  std::vector<AttentionCall> calls;     ///< self-attention
  std::vector<AttentionCall> windowed;  ///< the same calls for layers with a sliding window; empty without one
  std::vector<AttentionCall> cross;     ///< over the encoder's planned rows, where segments have a source
  std::vector<SlotRun> runs;            ///< cover [0, N)
  std::vector<SlotRun> virtual_tokens;  ///< planned places of adapters' own tokens, in order
  std::vector<TokenRange> segments;     ///< planned place of each segment, in the forest's order of segments
  std::optional<at::Tensor> order;      ///< planned row of each token; absent: same order
};

struct PlanOptions {
  bool bidirectional = false;  ///< encoder: every token of a segment sees the whole segment, without a window
  at::Device device = at::kCPU;
  std::int64_t window = 0;  ///< tokens that layers with a sliding window see, the token itself included; 0: no window
  const KvCache* cache = nullptr;       ///< gives the length of cached sequences
  bool cross = false;                   ///< plan cross-attention too
  const ForestPlan* encoder = nullptr;  ///< where the sources are; absent when their keys are in the cache
  /// Short trees side by side become one product: faster, but the bits of one then depend on its neighbours. Of
  /// decoders; trees that go on a cache or on an adapter's own tokens stay by themselves.
  bool joins = false;
};

ForestPlan plan(const Forest& forest, const PlanOptions& options);

/// The planned rows of some of the forest's tokens, in the order of `tokens`.
std::vector<std::int64_t> planned_rows(const ForestPlan& plan, const std::vector<std::int64_t>& tokens);

/// For models with a table of positions: throws InvalidArgument (naming `stack`) where a path is longer than it.
void refuse_beyond(const ForestPlan& plan, std::int64_t max_positions, const char* stack);

}  // namespace graft
