// Matrices that were quantised while loading, kept on the disk for the next process that loads them so.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/source.h"
#include "checkpoint/weight_format.h"
#include "checkpoint/writer.h"

namespace graft {

/// Where they are kept: what the environment's GRAFT_WEIGHT_CACHE says (the whole path of a folder, or "no": nowhere),
/// else graft/weights in user_cache_folder(). Empty: nowhere. Throws InvalidArgument for another value.
std::filesystem::path weight_cache_folder();

/// A matrix [rows, columns] and its blocks, row by row.
struct BlocksToKeep {
  TensorPlan plan;
  std::span<const std::byte> bytes;
};

/// What one checkpoint becomes in one format: a GGUF file (alignment 64) of matrices alone, which is named by a hash of
/// the format and of the checkpoint's files (file_identity()), and says in its metadata that hash and another of its
/// own list of tensors. It appears whole, and no one writes into it: any number of processes may read and write, the
/// last one's stays, and what another has mapped stays as it is. Immutable, for any thread.
class KeptBlocks {
 public:
  /// Opens what `folder` (which need not be there) has of `source` in blocks of `format`. A file that is cut short or
  /// damaged in what it says of its tensors, or another's, is left alone with one note on standard error.
  KeptBlocks(std::filesystem::path folder, const TensorSource& source, WeightFormat format);

  /// The name of the file, there or not. Empty where the source's files are not there any more: nothing is kept then.
  const std::filesystem::path& place() const { return place_; }
  /// What was found under it; null: nothing.
  const std::shared_ptr<const TensorSource>& file() const { return file_; }
  /// The tensor of file() of this name, type and shape, or nullptr.
  const TensorInfo* find(const TensorPlan& plan) const;

  /// Writes the file, in place of what was found, for the processes that come. Files of the folder that no process has
  /// used for 30 days go, and what killed ones left unfinished a day ago. Where the source has changed since, nothing
  /// is written. What is written, or why it cannot be (no room, no permission), is told in a note on standard error.
  void keep(const std::vector<BlocksToKeep>& blocks) const;

 private:
  void open();
  void write(const std::vector<BlocksToKeep>& blocks) const;

  std::filesystem::path folder_;
  std::vector<std::filesystem::path> files_;
  WeightFormat format_;
  std::string key_;
  std::filesystem::path place_;
  std::shared_ptr<const TensorSource> file_;
};

}  // namespace graft
