// An adapter written into its base: a plain model that every Hugging Face program opens, or a GGUF file like the base.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "adapters/core/method.h"
#include "adapters/core/peft.h"
#include "convert/weight_work.h"

namespace graft {

struct MergeOptions {
  /// "float32", "bfloat16", "float16"; empty: each tensor as the base stores it. A folder has bfloat16 where the base
  /// is quantised; a GGUF file takes the block types too ("q8_0", "q4_k", …), and it holds of changed matrices alone.
  std::string dtype;
  std::string weights = "dense";  ///< a weight_format(): that of the adapter's run, where it quantised its base
};

/// What rounding to stored types did to the changed tensors. Norms are Frobenius norms over all of them.
struct WrittenChange {
  std::string types;      ///< of the changed tensors: "Q4_1", "F32, Q4_1"
  double mean_error = 0;  ///< of a tensor: ‖written − merged‖ / ‖merged‖, merged in fp32
  double worst_error = 0;
  std::string worst = {};  ///< the tensor of worst_error
  double change = 0;       ///< ‖merged − base‖
  double written = 0;      ///< ‖written − base‖
  double rounding = 0;     ///< ‖written − merged‖
  double survived = 0;  ///< ⟨written − base, merged − base⟩ / ‖merged − base‖²: 1 where nothing is lost, 0 where all is
};

struct MergeReport {
  std::string method;
  std::size_t placed = 0;   ///< tensors of the adapter's file
  std::size_t tensors = 0;  ///< written
  std::size_t changed = 0;  ///< that the adapter changed
  std::uint64_t bytes = 0;
  std::string no_tokenizer = {};              ///< why the folder has no tokenizer; empty where it has
  std::optional<WrittenChange> written = {};  ///< of a GGUF file
};

/// refuse_other_tokenizer() with the tokenizer of the model in `model`, which a merged model takes along. Where there
/// is none, or none that graft reads, nothing is refused.
void refuse_other_tokenizer_beside(const std::filesystem::path& model, const LoadedAdapter& loaded);

/// A model with an adapter on its way into files: opened, and nothing written yet.
class MergeWriter {
 public:
  virtual ~MergeWriter() = default;
  /// Writes it, once. The report leaves out the adapter's method and tensors. Throws as merge() does.
  virtual MergeReport write() = 0;
  /// What write() does where the adapter changes these parameters (merged_parameters()). Refers to this.
  virtual WeightWork work(const std::set<std::int64_t>& changed) = 0;
};

/// For `output`/{safetensors, config.json, tokenizer files} of `model`, which was loaded from `path`, with `adapter`
/// merged: each changed weight is computed in fp32 and rounded once; others are written as `model` holds them. One
/// tensor at a time is in memory beside the model, in files as ModelFolder cuts them. Model and adapter must outlive
/// it. Throws as open_model_files, InvalidArgument for a dtype that a folder has not.
std::unique_ptr<MergeWriter> open_merged(const Model& model, const std::filesystem::path& path, const Adapter& adapter,
                                         const std::filesystem::path& output, const MergeOptions& options = {});

/// A merge that may begin, with all that its writer refers to.
struct OpenedMerge {
  std::unique_ptr<Model> model;
  WeightFormat asked = WeightFormat::Dense;  ///< of the model's weights, where they have room in it (load_lossless())
  LoadedAdapter adapter;
  std::unique_ptr<MergeWriter> writer;
};

/// merge() up to where it begins to write. Throws as that does, but for what the values tell.
OpenedMerge open_merge(const std::filesystem::path& model, const std::filesystem::path& adapter,
                       const std::filesystem::path& output, const MergeOptions& options = {});

/// Writes `output`/{safetensors, config.json, tokenizer files} of `model` (a folder, or a GGUF file) with the
/// adapter merged; a GGUF file's tokenizer is written as tokenizer.json, or as tokenizer.model or spiece.model where it
/// is SentencePiece's. Each changed weight is computed in fp32 and rounded once, others keep their bits.
/// Throws InvalidArgument (an output that holds a model already; an adapter of another base or tokenizer), Unsupported
/// (a method that cannot be merged, a GGUF variant that config.json cannot say), and as load_model and load_adapter do.
/// An `output` whose name ends in ".gguf" becomes a GGUF file with everything of the base, a GGUF file, but the changed
/// tensors (merge_gguf.h).
MergeReport merge(const std::filesystem::path& model, const std::filesystem::path& adapter,
                  const std::filesystem::path& output, const MergeOptions& options = {});

/// What a user is told of a model in `output` that has no tokenizer for the reason `why` (MergeReport::no_tokenizer).
std::string no_tokenizer_text(const std::string& why, const std::filesystem::path& output);

}  // namespace graft
