#include "config/rope_factors.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace graft {
namespace {

double wavelength(const RopeConfig& rope, std::size_t pair) {
  return 2 * std::numbers::pi *
         std::pow(rope.theta, 2 * static_cast<double>(pair) / static_cast<double>(rope.dimensions));
}

// A frequency between those that are kept (1) and those that are stretched whole (0).
struct OnRamp {
  double waves = 0;  // that one token holds
  double kept = 0;
};

std::vector<OnRamp> on_ramp(const RopeConfig& rope) {
  const double whole = rope.factors.back();
  std::vector<OnRamp> found;
  for (std::size_t pair = 0; pair < rope.factors.size(); ++pair) {
    const double factor = rope.factors[pair];
    if (factor > 1 && factor < whole)
      found.push_back({1 / wavelength(rope, pair), (1 / factor - 1 / whole) / (1 - 1 / whole)});
  }
  return found;
}

bool nearly_equal(const std::vector<float>& a, const std::vector<float>& b) {
  constexpr float kTolerance = 1e-5F;
  return std::ranges::equal(a, b, [](float x, float y) { return std::fabs(x - y) <= kTolerance * y; });
}

}  // namespace

std::vector<float> llama3_factors(const RopeConfig& rope) {
  std::vector<float> factors;
  const auto original = static_cast<double>(rope.original_max_position);
  for (std::size_t pair = 0; pair < static_cast<std::size_t>(rope.dimensions / 2); ++pair) {
    const double ramp = std::clamp(
        (original / wavelength(rope, pair) - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor),
        0.0, 1.0);
    factors.push_back(static_cast<float>(1 / ((1 - ramp) / rope.factor + ramp)));
  }
  return factors;
}

// kept = (original · waves - low) / (high - low) is a line; its slope and what it is at no waves tell two of the three
// numbers, as all three may be multiplied by one and mean the same.
std::optional<RopeConfig> llama3_from_factors(const RopeConfig& rope) {
  constexpr double kLongest = 1e9;
  if (rope.factors.empty() || !std::isfinite(rope.factors.back())) return std::nullopt;
  const std::vector<OnRamp> ramp = on_ramp(rope);
  if (ramp.size() < 2) return std::nullopt;
  const OnRamp &first = ramp.front(), &last = ramp.back();
  const double slope = (first.kept - last.kept) / (first.waves - last.waves),
               at_none = first.kept - slope * first.waves, original = -slope / at_none;
  if (!(slope > 0 && at_none < 0 && original < kLongest)) return std::nullopt;
  RopeConfig found = rope;
  found.scaling = RopeScaling::Llama3;
  found.factors.clear();
  found.factor = rope.factors.back();
  found.low_freq_factor = 1;
  found.high_freq_factor = std::round((1 - 1 / at_none) * 1000) / 1000;  // more digits nobody wrote
  found.original_max_position = std::llround(original);
  if (!nearly_equal(llama3_factors(found), rope.factors)) return std::nullopt;
  return found;
}

}  // namespace graft
