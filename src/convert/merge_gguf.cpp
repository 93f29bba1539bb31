#include "convert/merge_gguf.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "adapters/core/gguf_lora.h"
#include "adapters/core/peft.h"
#include "base/error.h"
#include "checkpoint/gguf.h"
#include "checkpoint/writer.h"
#include "config/gguf_names.h"
#include "convert/lossless_model.h"
#include "convert/model_folder.h"
#include "convert/stored_type.h"
#include "nn/compute_dtype.h"

namespace graft {
namespace {

at::Tensor float_of(const TensorInfo& info, DType type, const std::vector<std::byte>& bytes) {
  at::Tensor values = at::empty(info.shape, at::kFloat);
  to_float(type, bytes, {values.data_ptr<float>(), static_cast<std::size_t>(values.numel())});
  return values;
}

// Whole rows on each thread, which are whole blocks.
std::vector<std::byte> stored(DType type, const at::Tensor& values) {
  constexpr std::int64_t kValuesAtATime = 1 << 14;
  const std::int64_t row = values.size(-1), rows = values.numel() / row;
  const auto row_bytes = static_cast<std::size_t>(row / block_elements(type) * block_bytes(type));
  std::vector<std::byte> bytes(static_cast<std::size_t>(rows) * row_bytes);
  const float* from = values.const_data_ptr<float>();
  at::parallel_for(0, rows, std::max<std::int64_t>(1, kValuesAtATime / row), [&](std::int64_t begin, std::int64_t end) {
    const auto first = static_cast<std::size_t>(begin), count = static_cast<std::size_t>(end - begin);
    from_float(type, {from + begin * row, static_cast<std::size_t>((end - begin) * row)},
               std::span(bytes).subspan(first * row_bytes, count * row_bytes));
  });
  return bytes;
}

double summed_product(const at::Tensor& a, const at::Tensor& b) {
  return a.mul(b).sum(at::kDouble).item<double>();
}

// Sums over the changed tensors.
class Measured {
 public:
  void add(const std::string& tensor, DType type, const at::Tensor& base, const at::Tensor& merged,
           const at::Tensor& written) {
    const at::Tensor off = written - merged, change = merged - base, kept = written - base;
    const double size = summed_product(merged, merged), rounding = summed_product(off, off),
                 error = size > 0 ? std::sqrt(rounding / size) : 0;
    if (types_.empty() || error > result_.worst_error) {
      result_.worst_error = error;
      result_.worst = tensor;
    }
    errors_ += error;
    ++tensors_;
    change_ += summed_product(change, change);
    written_ += summed_product(kept, kept);
    rounding_ += rounding;
    along_ += summed_product(kept, change);
    types_.insert(name(type));
  }

  WrittenChange result() const {
    WrittenChange result = result_;
    result.types = fmt::format("{}", fmt::join(types_, ", "));
    result.mean_error = tensors_ > 0 ? errors_ / static_cast<double>(tensors_) : 0;
    result.change = std::sqrt(change_);
    result.written = std::sqrt(written_);
    result.rounding = std::sqrt(rounding_);
    result.survived = change_ > 0 ? along_ / change_ : 1;
    return result;
  }

 private:
  WrittenChange result_;
  std::set<std::string> types_;
  double errors_ = 0, change_ = 0, written_ = 0, rounding_ = 0, along_ = 0;
  std::size_t tensors_ = 0;
};

// One GGUF file on its way into another.
class GgufMerge : public MergeWriter {
 public:
  GgufMerge(const Model& model, ModelFiles files, const Adapter& adapter, std::filesystem::path output,
            std::optional<DType> wanted)
      : model_(model),
        files_(std::move(files)),
        adapter_(adapter),
        output_(std::move(output)),
        wanted_(wanted),
        path_(files_.weights->files().front()),
        architecture_(gguf_architecture(model.config()).value()),
        base_(open_gguf(path_)) {
    for (const auto& entry : model.roles()) {
      const auto rows = gguf_rows(architecture_, model.config(), entry);
      if (rows.empty()) continue;
      rows_[entry.weight] = rows;
      if (!entry.bias.empty()) rows_[entry.bias] = rows;
    }
  }

  MergeReport write() override {
    MergeReport report;
    const auto plan = planned();
    const auto writer = write_gguf_copy(output_, plan, gguf_metadata(path_));
    for (std::size_t i = 0; i < plan.size(); ++i) {
      const TensorInfo& info = base_->tensors()[i];
      if (const at::Tensor merged = merged_of(i); merged.defined()) {
        writer->write(rounded(i, plan[i].dtype, merged));
        ++report.changed;
      } else {
        writer->write(base_->bytes(info));
      }
      give_back(i);
    }
    if (report.changed == 0)
      fail(Category::InvalidArgument, output_.string(), "the adapter changes no tensor of {}", path_.string());
    writer->finish();
    report.tensors = plan.size();
    report.bytes = std::filesystem::file_size(output_);
    report.written = measured_.result();
    return report;
  }

  WeightWork work(const std::set<std::int64_t>& changed) override {
    WeightWork all;
    std::vector<TensorPlan> plan;
    for (std::size_t i = 0; i < base_->tensors().size(); ++i) {
      const TensorInfo& info = base_->tensors()[i];
      const auto bytes = static_cast<std::int64_t>(info.bytes);
      const bool changes = changed.contains(parameter_of(i));
      const DType type = changes ? changed_type(info) : info.dtype;
      plan.push_back({info.name, type, info.shape});
      if (!changes) all.largest_copied = std::max(all.largest_copied, bytes);
      all.read += bytes;
      const auto make = [this, i, type] { make_of(i, type); };
      all.tensors.push_back({fmt::format("{} {} to {}", changes ? "merged" : "kept", name(info.dtype), name(type)),
                             info.elements(), make});
    }
    all.written = static_cast<std::int64_t>(bytes_beside() + bytes_of(plan));
    return all;
  }

 private:
  const std::string& parameter_name(std::size_t tensor) const { return files_.weights->tensors()[tensor].name; }

  // -1: it is none.
  std::int64_t parameter_of(std::size_t tensor) const { return model_.parameters().index(parameter_name(tensor)); }

  // What write() does to a tensor but writing it: where another type is wanted it looks twice for a change.
  void make_of(std::size_t tensor, DType type) {
    if (may_change_type(base_->tensors()[tensor])) merged_of(tensor);
    if (const at::Tensor merged = merged_of(tensor); merged.defined()) rounded(tensor, type, merged);
    give_back(tensor);
  }

  // Its pages, here and in the model.
  void give_back(std::size_t tensor) const {
    base_->release(base_->tensors()[tensor]);
    model_.parameters().residency().release({parameter_of(tensor)});
  }

  // Of the base's files, what is no tensor.
  std::uint64_t bytes_beside() const {
    std::uint64_t files = 0, tensors = 0;
    for (const auto& file : files_.weights->files()) files += std::filesystem::file_size(file);
    for (const TensorInfo& info : base_->tensors()) tensors += info.bytes;
    return files - std::min(files, tensors);
  }

  // In fp32 and in the order of the model's rows; undefined where the adapter changes nothing.
  at::Tensor merged_of(std::size_t tensor) const {
    const std::int64_t index = parameter_of(tensor);
    if (index < 0) return {};
    const at::Tensor merged = adapter_.merged(index, model_.parameters().value(index));
    return merged.defined() ? merged.detach() : merged;
  }

  // Vectors keep their type, since llama.cpp computes with norms and biases in the one that its converter gives them.
  bool takes_wanted(const TensorInfo& info) const { return wanted_ && info.shape.size() == 2; }

  bool may_change_type(const TensorInfo& info) const { return takes_wanted(info) || !is_writable(info.dtype); }

  // Of a tensor that the adapter changes.
  DType changed_type(const TensorInfo& info) const {
    if (!may_change_type(info)) return info.dtype;
    if (!takes_wanted(info))
      fail(Category::Unsupported, info.name,
           "is stored as {}, which graft reads and does not write; give what the adapter changes another type: "
           "--dtype q4_k",
           name(info.dtype));
    if (info.shape.back() % block_elements(*wanted_) != 0)
      fail(Category::InvalidArgument, "dtype",
           "rows of {} values ({}) are no whole blocks of {}, which {} has; choose {}", info.shape.back(), info.name,
           block_elements(*wanted_), name(*wanted_), info.shape.back() % 32 == 0 ? "q8_0" : "float16");
    return *wanted_;
  }

  // Offsets come before the data: another type must be known of every tensor before the first is written.
  std::vector<TensorPlan> planned() const {
    std::vector<TensorPlan> plan;
    for (std::size_t i = 0; i < base_->tensors().size(); ++i) {
      const TensorInfo& info = base_->tensors()[i];
      plan.push_back(plan_of(info));
      if (!may_change_type(info)) continue;
      if (merged_of(i).defined()) plan.back().dtype = changed_type(info);
      give_back(i);
    }
    return plan;
  }

  // In the order and with the offset of the file.
  at::Tensor as_stored(std::size_t tensor, const at::Tensor& values) const {
    if (gguf_adds_one(architecture_, parameter_name(tensor))) return values + 1;
    const auto rows = rows_.find(parameter_name(tensor));
    if (rows == rows_.end()) return values.contiguous();
    return at::empty_like(values).index_copy_(0, at::tensor(rows->second, at::kLong), values);
  }

  std::vector<std::byte> rounded(std::size_t tensor, DType type, const at::Tensor& merged) {
    const TensorInfo& info = base_->tensors()[tensor];
    const std::int64_t index = parameter_of(tensor);
    const at::Tensor values = as_stored(tensor, merged),
                     base = as_stored(tensor, model_.parameters().value(index).to(at::kFloat));
    auto bytes = stored(type, values);
    const at::Tensor written = float_of(info, type, bytes);
    if (!written.isfinite().all().item<bool>())
      fail(Category::Unsupported, info.name, "the merged values do not fit {}; choose --dtype bfloat16 or float32",
           name(type));
    measured_.add(info.name, type, base, values, written);
    return bytes;
  }

  const Model& model_;
  ModelFiles files_;
  const Adapter& adapter_;
  std::filesystem::path output_;
  std::optional<DType> wanted_;  // for what the adapter changes
  std::filesystem::path path_;
  std::string architecture_;
  std::unique_ptr<TensorSource> base_;  // the file under its own names; files_ has the same tensors in the same order
  std::map<std::string, std::vector<std::int64_t>> rows_;
  Measured measured_;
};

// Blocks stay mapped, and a tensor at a time is dequantised.
ModelOptions options_for(const ModelFiles& files) {
  const auto& tensors = files.weights->tensors();
  const bool blocks =
      std::any_of(tensors.begin(), tensors.end(), [](const TensorInfo& info) { return is_quantised(info.dtype); });
  if (blocks) return {at::kFloat, at::kCPU, WeightFormat::Packed};
  return {lossless_dtype(*files.weights), at::kCPU, WeightFormat::Dense};
}

}  // namespace

OpenedMerge open_gguf_merge(const std::filesystem::path& model_path, const std::filesystem::path& adapter_path,
                            const std::filesystem::path& output, const MergeOptions& options) {
  refuse_chosen_gpu("a GGUF file is merged");
  if (std::filesystem::exists(output))
    fail(Category::InvalidArgument, output.string(), "is there already; choose another name");
  const auto wanted = options.dtype.empty() ? std::nullopt : std::optional(stored_type(options.dtype));
  const WeightFormat weights = weight_format(options.weights);
  if (loading_type(weights))
    fail(Category::Unsupported, "weights",
         "an adapter over a base that was quantised to {} while loading belongs to those values, not to the file's; "
         "write a folder: --output without .gguf",
         options.weights);
  ModelFiles files = open_model_files(model_path);
  if (files.weights->format() != "gguf")
    fail(Category::InvalidArgument, output.string(),
         "a GGUF file is written over a GGUF base, and {} is a Hugging Face folder; give a folder as --output",
         model_path.string());
  OpenedMerge opened;
  const ModelOptions loading = options_for(files);
  opened.asked = loading.weights;
  opened.model = load_lossless(model_path, loading);
  opened.adapter = load_adapter(adapter_path, *opened.model);
  refuse_other_tokenizer_beside(model_path, opened.adapter);
  opened.writer = std::make_unique<GgufMerge>(*opened.model, std::move(files), *opened.adapter.adapter, output, wanted);
  return opened;
}

}  // namespace graft
