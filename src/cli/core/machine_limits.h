// What this machine can do, measured on it: the limits that the rates of `graft bench` are held against.
#pragma once

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <vector>

#include "arch/core/model.h"
#include "cli/core/bench_result.h"

namespace graft {

/// A matrix [out, in] that `count` linear maps of a model have.
struct MapShape {
  std::int64_t out = 0, in = 0, count = 0;
  friend bool operator==(const MapShape&, const MapShape&) = default;
};

/// The shapes of a model's linear maps, each stored matrix once (a fused one as a whole), the head left out.
std::vector<MapShape> map_shapes(const Model& model);

struct LimitSettings {
  at::Device device = at::kCPU;
  at::ScalarType dtype = at::kFloat;  ///< of the model
  std::int64_t rows = 1024;           ///< of the products
  std::int64_t buffer_bytes = 0;      ///< that are read; 0: beyond the caches
  double seconds = 5;                 ///< to take in all, about
};

/// Products of random matrices of these shapes in turn, in every format, as a model's maps compute them; the rate of a
/// repetition is that of all maps of the model together. Then memory is read front to back by all threads. Throws
/// Cancelled on Ctrl-C.
MachineLimits measure_limits(const std::vector<MapShape>& shapes, const LimitSettings& settings);

/// The medians that bound a model of this dtype. `eight_bit`: its maps may be computed from blocks with inputs of 8
/// bits, where that is faster.
MachineRate rate_of(const MachineLimits& limits, at::ScalarType dtype, bool eight_bit);

}  // namespace graft
