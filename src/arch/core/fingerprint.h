// By what a base model's weights are known again.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "arch/core/model.h"

namespace graft {

/// That base_fingerprint() makes unless it is asked for an earlier one.
inline constexpr int kFingerprintVersion = 3;

/// What an adapter's file keeps of the weights it belongs to: a line per tensor, "name shape sha256-prefix" of its
/// values in bfloat16, so that another base is recognised by its first tensor that differs. Shapes and values are those
/// of Hugging Face's layout, whatever file the base comes from: GPT-2's maps count as [in, out]. Which values is the
/// version's rule (hashed_stretches()). Versions from 2 on have a first line that names them; version 1 has none. Each
/// call reads the weights, for version 3 on all threads; Model::fingerprint() keeps what it read.
std::string base_fingerprint(const Model& model, int version = kFingerprintVersion);

/// The version of a fingerprint. Throws Unsupported for one that a later graft made; `where` names its file.
int version_of_fingerprint(const std::string& fingerprint, const std::string& where);

struct Stretch {
  std::int64_t first = 0, count = 0;
};

/// Which values of a tensor of `elements` (at least 1) count, in order and none twice but in version 1. Version 3: all,
/// in blocks of 2^20; the tensor's hash is that of the blocks' hashes, one behind the other. Version 2, which hashes
/// the values themselves, as does 1: of up to 131,072 all; of more the first and the last 4,096, and between them 64
/// blocks of 1,024 from end to end in equal steps: any change over more than a 63rd of a tensor's values in a row is
/// found, not always one of few values. Version 1: the first and the last 16,384, or all twice.
std::vector<Stretch> hashed_stretches(std::int64_t elements, int version);

}  // namespace graft
