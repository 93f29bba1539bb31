// Work on the tensors of a model, one at a time, before it is begun: what `graft plan` makes a part of.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace graft {

/// What is done to one tensor.
struct TensorWork {
  std::string kind;            ///< tensors of one kind take the same time for each of their values
  std::int64_t values = 0;     ///< of the tensor
  std::function<void()> make;  ///< does it, as the command does, and writes nothing; throws what that throws
};

/// What a command does that writes a model.
struct WeightWork {
  std::vector<TensorWork> tensors;  ///< those that are more than copied
  std::int64_t read = 0;            ///< bytes of the tensors that are read from files
  std::int64_t written = 0;         ///< bytes, as the command tells them when it has written
  std::int64_t largest_copied = 0;  ///< bytes of the largest tensor that is written as it lies mapped in a file
};

}  // namespace graft
