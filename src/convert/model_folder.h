// A Hugging Face model folder, written tensor by tensor.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "checkpoint/writer.h"
#include "config/model_config.h"

namespace graft {

/// config.json of a folder made of these files: their own, or hf_config() of a GGUF file's. Throws as hf_config.
nlohmann::json folder_config(const ModelFiles& files);

/// Indices of `stored`, file by file of the source: the order in which a folder can be written that shares its tensors
/// out over files as the source does.
std::vector<std::size_t> file_by_file(const std::vector<const TensorInfo*>& stored);

/// A folder that appears under its name when it is whole: the tensors of a plan, config.json and the tokenizer of the
/// files it is made of. One tensor at a time is in memory. Where these are several, tensors that came from one file go
/// into one file again; else Sharding's rule holds. Throws as AtomicFolder, folder_config and CheckpointWriter.
class ModelFolder {
 public:
  /// `stored[i]`: the tensor of `files` that `plan[i]` is made of, in the order of file_by_file(). `files` must outlive
  /// this.
  ModelFolder(const ModelFiles& files, const std::filesystem::path& output, const std::vector<TensorPlan>& plan,
              const std::vector<const TensorInfo*>& stored);

  /// The next tensor of the plan.
  void write(std::span<const std::byte> bytes) { writer_->write(bytes); }
  /// Writes the rest and gives the folder its name. Returns why it has no tokenizer; empty where it has one.
  std::string finish();

 private:
  const ModelFiles& files_;
  AtomicFolder folder_;
  nlohmann::json config_;
  std::unique_ptr<CheckpointWriter> writer_;
};

/// The type that most values of a plan have; F32 of an empty one.
DType main_dtype(const std::vector<TensorPlan>& plan);

/// Bytes of the tensors of a plan.
std::uint64_t bytes_of(const std::vector<TensorPlan>& plan);

}  // namespace graft
