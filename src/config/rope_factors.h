// Llama 3's rotary scaling, and the divisors of frequencies that GGUF files have in its place.
#pragma once

#include <optional>
#include <vector>

#include "config/model_config.h"

namespace graft {

/// What each inverse frequency is divided by under Llama 3's scaling, as llama.cpp's converter writes it into
/// rope_freqs.weight: [D/2].
std::vector<float> llama3_factors(const RopeConfig& rope);

/// The other way round: the scaling by Llama 3's rule whose factors are rope.factors, each to a 100,000th of it (the
/// converter computes in single precision). Of the ways to write one scaling that with low_freq_factor 1. Nothing where
/// no such scaling has them, and where fewer than two of them lie between 1 and the largest, too few to tell.
std::optional<RopeConfig> llama3_from_factors(const RopeConfig& rope);

}  // namespace graft
