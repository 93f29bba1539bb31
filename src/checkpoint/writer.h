// Writing checkpoints. All tensors are declared first, because both formats put their header before the data; then
// their bytes are written in the same order. A file appears under its name only when it is whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/source.h"

namespace graft {

struct GgufMetadata;

/// A tensor to be written; the bytes follow from dtype and shape.
struct TensorPlan {
  std::string name;
  DType dtype = DType::F32;
  std::vector<std::int64_t> shape;
};

/// The plan of an existing tensor, for copies.
TensorPlan plan_of(const TensorInfo& info);

/// Streams one checkpoint. Use: construct with every tensor, write() each in the order of the plan, finish(). Without
/// finish() nothing is left behind. All members throw Io, ResourceExhausted (disk full), InvalidArgument (bytes that do
/// not fit the plan).
class CheckpointWriter {
 public:
  virtual ~CheckpointWriter() = default;
  /// The bytes of the next tensor of the plan, all of them.
  virtual void write(std::span<const std::byte> bytes) = 0;
  /// Commits. Throws InvalidArgument when tensors of the plan are missing.
  virtual void finish() = 0;
};

/// One safetensors file. `metadata` maps strings to strings. Throws Unsupported for GGML block types, which the format
/// cannot hold.
std::unique_ptr<CheckpointWriter> write_safetensors(const std::filesystem::path& path,
                                                    const std::vector<TensorPlan>& plan,
                                                    const nlohmann::json& metadata = nlohmann::json::object());

/// How the tensors of a folder are shared out over its files.
struct Sharding {
  std::uint64_t most_bytes = 5'000'000'000;  ///< in one file, unless one tensor alone has more: Hugging Face's rule
  /// The file of each tensor of the plan, as numbers that never fall; empty: by most_bytes.
  std::vector<std::size_t> files = {};
};

/// A folder with model.safetensors, or with model-0000i-of-0000n.safetensors and model.safetensors.index.json where the
/// tensors take several files. A tensor is never split, and one file is open at a time; the index comes last, so that
/// an interrupted write is not taken for a model. Throws as write_safetensors, and InvalidArgument for a sharding that
/// does not fit the plan.
std::unique_ptr<CheckpointWriter> write_safetensors_folder(const std::filesystem::path& folder,
                                                           const std::vector<TensorPlan>& plan,
                                                           const Sharding& sharding = {},
                                                           const nlohmann::json& metadata = nlohmann::json::object());

/// One GGUF file, version 3, alignment 32. `metadata` maps keys to booleans, integers, numbers, strings and arrays of
/// one of these: integers become UINT32 where they fit (else INT32, UINT64, INT64), numbers FLOAT32, array elements the
/// widest type needed; JSON's binary values become arrays of UINT8. Throws Unsupported for dtypes GGUF lacks,
/// InvalidArgument for a metadata value it cannot hold.
std::unique_ptr<CheckpointWriter> write_gguf(const std::filesystem::path& path, const std::vector<TensorPlan>& plan,
                                             const nlohmann::json& metadata);
/// The same with the metadata and the alignment of another file, byte for byte (gguf.h), and behind it `more`, whose
/// keys the other does not have.
std::unique_ptr<CheckpointWriter> write_gguf_copy(const std::filesystem::path& path,
                                                  const std::vector<TensorPlan>& plan, GgufMetadata metadata,
                                                  const nlohmann::json& more = nlohmann::json::object());

}  // namespace graft
