// A whole model in another format: a Hugging Face folder as llama.cpp's GGUF file, the other way round, or in another
// type (docs/formats/gguf.md).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/writer.h"
#include "config/gguf_export.h"
#include "config/model_config.h"
#include "convert/passage.h"
#include "convert/weight_work.h"

namespace graft {

struct ExportReport {
  std::size_t tensors = 0;  ///< written
  std::uint64_t bytes = 0;  ///< of the tensors
  std::string types;        ///< "F32 (7), Q8_0 (15)"
  RoundingError error;
  std::vector<std::string> notes;  ///< what is otherwise than was asked for, or than llama.cpp computes, a line each
  std::string no_tokenizer = {};   ///< why there is none; empty where there is one
};

/// A model on its way into another format: opened and checked, no value read and nothing written yet.
class ModelExport {
 public:
  /// What export_model() with these arguments writes. Throws as that does, but for what the values tell.
  ModelExport(const std::filesystem::path& model, const std::filesystem::path& output, const std::string& dtype);

  /// Writes it, once. Throws as export_model().
  ExportReport write();
  /// What write() does. Refers to this.
  WeightWork work() const;

 private:
  bool into_gguf() const;
  const TensorSource& source() const { return own_names_ != nullptr ? *own_names_ : *files_.weights; }
  std::vector<TensorPlan> planned() const;
  void plan_gguf_of_folder(const std::optional<DType>& wanted);
  void plan_gguf_of_gguf(const std::optional<DType>& wanted);
  void plan_folder(const std::string& dtype);
  void count_types();
  void write_gguf_file();
  void write_folder();
  template <typename Write>
  void carry(const Write& write);

  std::filesystem::path output_;
  ModelFiles files_;
  std::unique_ptr<TensorSource> own_names_;  // of a GGUF file that becomes one: the same under its own names
  std::vector<Passage> passages_;            // of source(), in the order in which they are written
  nlohmann::json metadata_;                  // of a GGUF file; where it is a copy, the keys that it has otherwise
  std::vector<RopeTensor> rotation_;         // written behind the passages
  ExportReport report_;
};

/// Writes `model` (a folder or a GGUF file) as `output`: a GGUF file where the name ends in ".gguf", else a new folder.
/// Its configuration and tokenizer go along. `dtype` is a stored_type(), of a folder a folder_type(); empty: each
/// tensor as it is stored, blocks in a folder as BF16. In a GGUF file norms, biases and positions stay F32, the head
/// gets at least Q6_K, and a matrix whose rows are no whole blocks the next type that holds them, as llama.cpp does.
/// One tensor at a time is in memory. Throws InvalidArgument (an output that is there already, an unknown dtype),
/// Unsupported (a family, variant or tokenizer that the format has no words for), Corruption (tensors that are not the
/// family's, NaN), and as open_model_files.
ExportReport export_model(const std::filesystem::path& model, const std::filesystem::path& output,
                          const std::string& dtype);

}  // namespace graft
