// A model that is loaded for work on its values themselves.
#pragma once

#include <filesystem>
#include <memory>

#include "arch/core/model.h"

namespace graft {

/// load_model() of a verb without options for the dtype and the format that it loads in: `options` keep every value as
/// it is meant (lossless_dtype(), or float32 with blocks). Where a dense copy has no room on the CPU and the file has
/// blocks, these are used as they lie in it, mapped, in float32: the same values, dequantised whenever one is asked
/// for. Throws as load_model; ResourceExhausted names no other dtype or format.
std::unique_ptr<Model> load_lossless(const std::filesystem::path& path, ModelOptions options);

}  // namespace graft
