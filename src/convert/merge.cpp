#include "convert/merge.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "adapters/core/peft.h"
#include "base/error.h"
#include "base/file.h"
#include "convert/lossless_model.h"
#include "convert/merge_gguf.h"
#include "convert/model_folder.h"
#include "convert/stored_type.h"
#include "nn/compute_dtype.h"
#include "nn/stored_dtype.h"
#include "text/hugging_face_tokenizer.h"
#include "text/tokenizer.h"

namespace graft {
namespace {

// GPT-2's maps, which a GGUF file has the other way round than a folder.
std::set<std::string> turned_maps(const Model& model) {
  std::set<std::string> turned;
  const bool gpt2 = model.config().architecture == "gpt2";
  for (const auto& entry : model.roles()) {
    if (gpt2 && entry.layout == Layout::OutIn) turned.insert(entry.weight);
  }
  return turned;
}

// A model on its way into a folder, one parameter in memory at a time.
class FolderMerge {
 public:
  FolderMerge(const Model& model, const ModelFiles& files, const Adapter& adapter, const std::string& dtype)
      : model_(model), adapter_(adapter), turned_(turned_maps(model)) {
    std::vector<const TensorInfo*> stored;
    for (const auto& parameter : model.parameters().all()) stored.push_back(&files.weights->at(parameter.name));
    order_ = file_by_file(stored);
    for (const std::size_t i : order_) {
      stored_.push_back(stored[i]);
      plan_.push_back(planned(i, dtype.empty() ? folder_type(stored[i]->dtype) : folder_type(dtype)));
    }
  }

  MergeReport write(const ModelFiles& files, const std::filesystem::path& output) const {
    ModelFolder folder(files, output, plan_, stored_);
    MergeReport report;
    for (std::size_t i = 0; i < order_.size(); ++i) {
      const auto index = static_cast<std::int64_t>(order_[i]);
      const at::Tensor base = model_.parameters().value(index), merged = adapter_.merged(index, base);
      if (merged.defined()) ++report.changed;
      const at::Tensor values = laid_out(plan_[i], (merged.defined() ? merged : base).detach());
      folder.write({static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()});
      model_.parameters().residency().release({index});
    }
    report.tensors = plan_.size();
    report.bytes = bytes_of(plan_);
    report.no_tokenizer = folder.finish();
    return report;
  }

 private:
  TensorPlan planned(std::size_t index, DType type) const {
    const Parameter& parameter = model_.parameters().all()[index];
    TensorPlan tensor{parameter.name, type, parameter.store->shape()};
    if (turned_.contains(tensor.name)) std::ranges::reverse(tensor.shape);
    return tensor;
  }

  at::Tensor laid_out(const TensorPlan& tensor, const at::Tensor& values) const {
    const at::Tensor turned = turned_.contains(tensor.name) ? values.t() : values;
    return turned.to(scalar_type(tensor.dtype).value()).cpu().contiguous();
  }

  const Model& model_;
  const Adapter& adapter_;
  std::set<std::string> turned_;
  std::vector<std::size_t> order_;  // parameters, as they are written
  std::vector<const TensorInfo*> stored_;
  std::vector<TensorPlan> plan_;
};

}  // namespace

void refuse_other_tokenizer_beside(const std::filesystem::path& model, const LoadedAdapter& loaded) {
  const auto marked = [](const AdapterPart& part) {
    return part.manifest.is_object() && part.manifest.contains(kTokenizerKey);
  };
  if (std::ranges::none_of(loaded.parts, marked)) return;
  std::shared_ptr<const Tokenizer> tokenizer;
  try {
    tokenizer = open_tokenizer(model);
  } catch (const Error&) {
    return;  // none, or none that graft reads: merging only copies it
  }
  refuse_other_tokenizer(loaded, *tokenizer);
}

MergeReport write_merged(const Model& model, const std::filesystem::path& path, const Adapter& adapter,
                         const std::filesystem::path& output, const MergeOptions& options) {
  const ModelFiles files = open_model_files(path);
  return FolderMerge(model, files, adapter, options.dtype).write(files, output);
}

MergeReport merge(const std::filesystem::path& model_path, const std::filesystem::path& adapter_path,
                  const std::filesystem::path& output, const MergeOptions& options) {
  if (output.extension() == ".gguf") return merge_gguf(model_path, adapter_path, output, options);
  refuse_occupied(output);
  if (!options.dtype.empty()) folder_type(options.dtype);  // a slip is told before anything is read
  const WeightFormat weights = weight_format(options.weights);
  const ModelFiles files = open_model_files(model_path);
  folder_config(files);
  // What blocks hold is exact in fp32 alone.
  const at::ScalarType dtype = weights == WeightFormat::Dense ? lossless_dtype(*files.weights) : at::kFloat;
  const auto model = load_lossless(model_path, {dtype, compute_device(), weights});
  const LoadedAdapter loaded = load_adapter(adapter_path, *model);
  refuse_other_tokenizer_beside(model_path, loaded);
  MergeReport report = FolderMerge(*model, files, *loaded.adapter, options.dtype).write(files, output);
  report.method = loaded.method;
  report.placed = loaded.tensors;
  return report;
}

std::string no_tokenizer_text(const std::string& why, const std::filesystem::path& output) {
  return fmt::format("No tokenizer was written: {}. Copy the model's tokenizer.json into {} to make it whole.", why,
                     output.string());
}

}  // namespace graft
