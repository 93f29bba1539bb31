#include "convert/lossless_model.h"

#include <algorithm>

#include "base/error.h"

namespace graft {
namespace {

bool has_blocks(const std::filesystem::path& path) {
  const ModelFiles files = open_model_files(path);
  const auto& tensors = files.weights->tensors();
  return std::any_of(tensors.begin(), tensors.end(), [](const TensorInfo& info) { return is_quantised(info.dtype); });
}

}  // namespace

std::unique_ptr<Model> load_lossless(const std::filesystem::path& path, ModelOptions options) {
  options.settled = true;
  const bool dense = options.weights == WeightFormat::Dense;
  try {
    return load_model(path.string(), options);
  } catch (const Error& error) {
    const bool no_room = error.category() == Category::ResourceExhausted;
    if (!no_room || !dense || !options.device.is_cpu() || !has_blocks(path)) throw;
  }
  options.dtype = at::kFloat;
  options.weights = WeightFormat::Packed;
  return load_model(path.string(), options);
}

}  // namespace graft
