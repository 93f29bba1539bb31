// Reading given tokens the way generation reads its own: a prefill, then one token a step through the KV cache.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "arch/core/model.h"

namespace graft {

/// Hidden states [T, C] that predict every token of the continuations, one continuation after the other (T: their
/// tokens together). Each goes on from the prompt, which is read once; for encoder–decoder models the prompt is the
/// encoder's input and the decoder begins with its start token. All tokens use adapter slot 0 of `slots`, or the base
/// model where there is none. Throws InvalidArgument for an empty prompt or continuation.
at::Tensor forced_hidden(const Model& model, const std::vector<std::int64_t>& prompt,
                         const std::vector<std::vector<std::int64_t>>& continuations,
                         const std::vector<const SiteHooks*>& slots);

}  // namespace graft
