// How sure a share of right answers is, without resampling: Wilson's interval, and McNemar's test of two classifiers on
// the same examples.
#pragma once

#include <cstdint>
#include <span>

#include "statistics/bootstrap.h"

namespace graft {

/// 95% score interval of a proportion (Wilson 1927): `part` (0 to 1) of `count` examples, without correction for
/// continuity. Throws InvalidArgument for no examples or a part outside 0 to 1.
Interval wilson(double part, std::int64_t count);

struct McNemar {
  std::int64_t only_first = 0;   ///< examples that the first alone has right
  std::int64_t only_second = 0;  ///< examples that the second alone has right
  double p_value = 1;            ///< exact and two-sided: twice the smaller binomial tail, at most 1
};

/// McNemar's test (1947) from 1 (right) and 0 for every example. Throws InvalidArgument for lists of different lengths
/// or without examples.
McNemar mcnemar(std::span<const std::uint8_t> first_right, std::span<const std::uint8_t> second_right);

}  // namespace graft
