#include "convert/merge.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
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
class FolderMerge : public MergeWriter {
 public:
  FolderMerge(const Model& model, ModelFiles files, const Adapter& adapter, std::filesystem::path output,
              const std::string& dtype)
      : model_(model),
        files_(std::move(files)),
        adapter_(adapter),
        output_(std::move(output)),
        turned_(turned_maps(model)) {
    std::vector<const TensorInfo*> stored;
    for (const auto& parameter : model.parameters().all()) stored.push_back(&files_.weights->at(parameter.name));
    order_ = file_by_file(stored);
    for (const std::size_t i : order_) {
      stored_.push_back(stored[i]);
      plan_.push_back(planned(i, dtype.empty() ? folder_type(stored[i]->dtype) : folder_type(dtype)));
    }
  }

  MergeReport write() override {
    ModelFolder folder(files_, output_, plan_, stored_);
    MergeReport report;
    for (std::size_t i = 0; i < order_.size(); ++i) {
      const auto [values, changed] = made(i);
      if (changed) ++report.changed;
      folder.write({static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()});
      give_back(i);
    }
    report.tensors = plan_.size();
    report.bytes = bytes_of(plan_);
    report.no_tokenizer = folder.finish();
    return report;
  }

  WeightWork work(const std::set<std::int64_t>& changed) override {
    WeightWork all;
    all.written = static_cast<std::int64_t>(bytes_of(plan_));
    for (std::size_t i = 0; i < order_.size(); ++i) {
      const std::int64_t index = parameter_of(i);
      const WeightStore& store = model_.parameters().store(index);
      const bool changes = changed.contains(index);
      all.read += static_cast<std::int64_t>(stored_[i]->bytes);
      if (!changes) all.largest_copied = std::max(all.largest_copied, mapped().bytes({index}));
      const auto make = [this, i] {
        made(i);
        give_back(i);
      };
      all.tensors.push_back(
          {fmt::format("{} {} to {}", changes ? "merged" : "kept", store.kind(), name(plan_[i].dtype)),
           store.elements(), make});
    }
    return all;
  }

 private:
  struct Made {
    at::Tensor values;  // as they are written
    bool changed = false;
  };

  std::int64_t parameter_of(std::size_t i) const { return static_cast<std::int64_t>(order_[i]); }

  const Residency& mapped() const { return model_.parameters().residency(); }

  Made made(std::size_t i) const {
    const std::int64_t index = parameter_of(i);
    const at::Tensor base = model_.parameters().value(index), merged = adapter_.merged(index, base);
    return {laid_out(plan_[i], (merged.defined() ? merged : base).detach()), merged.defined()};
  }

  void give_back(std::size_t i) const { mapped().release({parameter_of(i)}); }

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
  ModelFiles files_;
  const Adapter& adapter_;
  std::filesystem::path output_;
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

std::unique_ptr<MergeWriter> open_merged(const Model& model, const std::filesystem::path& path, const Adapter& adapter,
                                         const std::filesystem::path& output, const MergeOptions& options) {
  return std::make_unique<FolderMerge>(model, open_model_files(path), adapter, output, options.dtype);
}

OpenedMerge open_merge(const std::filesystem::path& model_path, const std::filesystem::path& adapter_path,
                       const std::filesystem::path& output, const MergeOptions& options) {
  if (output.extension() == ".gguf") return open_gguf_merge(model_path, adapter_path, output, options);
  refuse_occupied(output);
  if (!options.dtype.empty()) folder_type(options.dtype);  // a slip is told before anything is read
  const WeightFormat weights = weight_format(options.weights);
  ModelFiles files = open_model_files(model_path);
  folder_config(files);
  // What blocks hold is exact in fp32 alone.
  const at::ScalarType dtype = weights == WeightFormat::Dense ? lossless_dtype(*files.weights) : at::kFloat;
  OpenedMerge opened;
  opened.asked = weights;
  opened.model = load_lossless(model_path, {dtype, compute_device(), weights});
  opened.adapter = load_adapter(adapter_path, *opened.model);
  refuse_other_tokenizer_beside(model_path, opened.adapter);
  opened.writer =
      std::make_unique<FolderMerge>(*opened.model, std::move(files), *opened.adapter.adapter, output, options.dtype);
  return opened;
}

MergeReport merge(const std::filesystem::path& model, const std::filesystem::path& adapter,
                  const std::filesystem::path& output, const MergeOptions& options) {
  const OpenedMerge opened = open_merge(model, adapter, output, options);
  MergeReport report = opened.writer->write();
  report.method = opened.adapter.method;
  report.placed = opened.adapter.tensors;
  return report;
}

std::string no_tokenizer_text(const std::string& why, const std::filesystem::path& output) {
  return fmt::format("No tokenizer was written: {}. Copy the model's tokenizer.json into {} to make it whole.", why,
                     output.string());
}

}  // namespace graft
