// Whether a model's weights have room, told from the headers of its files before a value of them is read.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "arch/core/model.h"

namespace graft {

/// Bytes of a model's weights, or of those that an outline of its files stands for.
struct WeightMemory {
  std::int64_t own = 0;     ///< the process's own: converted, quantised, or with rows in other places
  std::int64_t mapped = 0;  ///< used as they lie in files: they come when they are read, and go where room is needed
};

WeightMemory weight_memory(const ParameterTable& parameters);

/// An outline of the files' model as it would be loaded with these options. May throw Error.
using OutlineOf = std::function<std::unique_ptr<Model>(const ModelOptions&)>;

/// Throws ResourceExhausted where loading with `options` would take more than ModelOptions::memory, or without that
/// more than this process can have now, of memory that nothing but its end gives back: names `path`, what it takes,
/// what can be had, which dtypes and formats would fit (unless they are settled), and what says that there is more.
/// Mapped weights are refused nothing: the system drops their pages where it needs them.
void refuse_oversized(const std::string& path, const ModelOptions& options, const OutlineOf& outline);

}  // namespace graft
