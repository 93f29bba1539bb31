// Masks, for the one place that needs them: attention by LibTorch's operation, a part of the queries at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <tuple>
#include <vector>

#include "nn/sight.h"

namespace graft {

/// Numbers of a mask that exist at a time, at most, but for a text whose single query sees more keys than that.
inline constexpr std::int64_t kMaskValues = std::int64_t{1} << 22;

/// Some queries of a call, and the keys that its operation reads for them.
struct MaskedPart {
  TokenRange queries, keys;
};

/// A call's Tq queries over Tk keys in parts, front to back, each of whose masks has at most kMaskValues numbers.
std::vector<MaskedPart> masked_parts(const Sight& sight, std::int64_t queries, std::int64_t keys);

/// [queries, keys] of the part, additive: 0 or kUnseen, typed and placed as `like`. Undefined where all is seen.
at::Tensor mask_of(const Sight& sight, const MaskedPart& part, std::int64_t queries, std::int64_t keys,
                   const at::Tensor& like);

/// The masks of one call, which all layers share: what autograd keeps of it is then kept once. Holds up to kMaskValues
/// numbers, others are made anew each time. For any thread.
class SharedMasks {
 public:
  /// mask_of(), of a call that always has the same sight and keys.
  at::Tensor of(const Sight& sight, const MaskedPart& part, std::int64_t queries, std::int64_t keys,
                const at::Tensor& like);

 private:
  std::mutex mutex_;
  std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t>, at::Tensor> masks_;
  std::int64_t values_ = 0;
};

}  // namespace graft
