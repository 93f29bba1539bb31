// Several checkpoint files behind one index.
#pragma once

#include <filesystem>
#include <memory>

#include "checkpoint/source.h"

namespace graft {

/// Opens the shards that a *.index.json names (its "weight_map" maps tensor names to files beside it). Throws NotFound
/// for a missing shard, Corruption for a malformed index, a tensor that is not where the index says, or one found in
/// two shards.
std::unique_ptr<TensorSource> open_sharded(const std::filesystem::path& index);

}  // namespace graft
