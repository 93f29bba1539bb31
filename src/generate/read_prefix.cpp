#include "generate/read_prefix.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "base/error.h"

namespace graft {

ReadPrefix::ReadPrefix(const Model& model, std::vector<std::int64_t> tokens, const std::vector<const SiteHooks*>& slots,
                       std::int32_t slot, Activations activations, KvFormat kv_cache)
    : tokens_(std::move(tokens)), slot_(slot), cache_(model.cache_layers(), kv_cache) {
  if (tokens_.empty()) fail(Category::InvalidArgument, "prefix", "is empty; give at least one token");
  if (model.encoder_decoder())
    fail(Category::InvalidArgument, "prefix", "an encoder reads a prompt as a whole; put the prefix into each");
  const c10::InferenceMode inference;
  ForwardOptions forward;
  if (slot >= 0) forward.slots = slots;
  forward.cache = &cache_;
  forward.activations = activations;
  StepInput input;
  input.decoder.add(tokens_, -1, slot);
  input.decoder.segments.front().cache = cache_.add_sequence();
  model.forward(input, forward);
}

}  // namespace graft
