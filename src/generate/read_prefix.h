// What many prompts begin with (instruction and demonstrations), read once.
#pragma once

#include <cstdint>
#include <vector>

#include "arch/core/model.h"
#include "nn/kv_cache.h"

namespace graft {

/// Not thread-safe beside itself being made; read-only afterwards. What it was made with must outlive it.
class ReadPrefix {
 public:
  /// Reads `tokens`, at least one, with adapter slot `slot` of `slots` (-1: the base model), and keeps their keys and
  /// values in the format of what goes on from them (GenerateOptions::kv_cache). Throws InvalidArgument for no tokens,
  /// and for an encoder–decoder model, whose encoder reads a prompt as a whole.
  ReadPrefix(const Model& model, std::vector<std::int64_t> tokens, const std::vector<const SiteHooks*>& slots,
             std::int32_t slot, Activations activations, KvFormat kv_cache = KvFormat::Dense);

  const std::vector<std::int64_t>& tokens() const { return tokens_; }
  std::int32_t slot() const { return slot_; }
  /// Its sequence 0 is the prefix.
  const KvCache& cache() const { return cache_; }

 private:
  std::vector<std::int64_t> tokens_;
  std::int32_t slot_;
  KvCache cache_;
};

}  // namespace graft
