#include "statistics/proportion.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace graft {
namespace {

constexpr double kNormal95 = 1.959963984540054;  // 97.5% quantile of the standard normal distribution

// P(X <= most) of X ~ Binomial(count, 1/2). Terms are formed as logarithms, so that no count overflows them.
double half_binomial_tail(std::int64_t most, std::int64_t count) {
  const auto n = static_cast<double>(count);
  double sum = 0;
  for (std::int64_t i = 0; i <= most; ++i) {
    const auto k = static_cast<double>(i);
    sum += std::exp(std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) - n * std::log(2.0));
  }
  return sum;
}

}  // namespace

Interval wilson(double part, std::int64_t count) {
  if (count < 1) fail(Category::InvalidArgument, "wilson", "no examples to score");
  if (!(part >= 0 && part <= 1)) fail(Category::InvalidArgument, "wilson", "the part {} is outside 0 to 1", part);
  const auto n = static_cast<double>(count);
  const double z2 = kNormal95 * kNormal95;
  const double centre = (part + z2 / (2 * n)) / (1 + z2 / n);
  const double half = kNormal95 / (1 + z2 / n) * std::sqrt(part * (1 - part) / n + z2 / (4 * n * n));
  // Rounding must not leave 0 and 1 outside.
  return {part == 0 ? 0 : std::max(0.0, centre - half), part == 1 ? 1 : std::min(1.0, centre + half)};
}

McNemar mcnemar(std::span<const std::uint8_t> first_right, std::span<const std::uint8_t> second_right) {
  if (first_right.size() != second_right.size() || first_right.empty()) {
    fail(Category::InvalidArgument, "mcnemar", "{} answers against {}; give one for each example", first_right.size(),
         second_right.size());
  }
  McNemar result;
  for (std::size_t i = 0; i < first_right.size(); ++i) {
    const bool first = first_right[i] != 0, second = second_right[i] != 0;
    result.only_first += first && !second;
    result.only_second += second && !first;
  }
  const std::int64_t fewer = std::min(result.only_first, result.only_second);
  result.p_value = std::min(1.0, 2 * half_binomial_tail(fewer, result.only_first + result.only_second));
  return result;
}

}  // namespace graft
