#include "convert/merge_gguf.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "adapters/core/gguf_lora.h"
#include "adapters/core/peft.h"
#include "base/error.h"
#include "checkpoint/gguf.h"
#include "checkpoint/writer.h"
#include "config/gguf_names.h"
#include "convert/lossless_model.h"
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
class GgufMerge {
 public:
  GgufMerge(const Model& model, const ModelFiles& files, const Adapter& adapter)
      : model_(model),
        files_(files),
        adapter_(adapter),
        path_(files.weights->files().front()),
        architecture_(gguf_architecture(model.config()).value()),
        base_(open_gguf(path_)) {
    for (const auto& entry : model.roles()) {
      const auto rows = gguf_rows(architecture_, model.config(), entry);
      if (rows.empty()) continue;
      rows_[entry.weight] = rows;
      if (!entry.bias.empty()) rows_[entry.bias] = rows;
    }
  }

  MergeReport write(const std::filesystem::path& output, std::optional<DType> wanted) {
    MergeReport report;
    const auto plan = planned(wanted);
    const auto writer = write_gguf_copy(output, plan, gguf_metadata(path_));
    for (std::size_t i = 0; i < plan.size(); ++i) {
      const TensorInfo& info = base_->tensors()[i];
      if (const at::Tensor merged = merged_of(i); merged.defined()) {
        writer->write(rounded(i, plan[i].dtype, merged));
        ++report.changed;
      } else {
        writer->write(base_->bytes(info));
      }
      base_->release(info);
    }
    if (report.changed == 0)
      fail(Category::InvalidArgument, output.string(), "the adapter changes no tensor of {}", path_.string());
    writer->finish();
    report.tensors = plan.size();
    report.bytes = std::filesystem::file_size(output);
    report.written = measured_.result();
    return report;
  }

 private:
  const std::string& parameter_name(std::size_t tensor) const { return files_.weights->tensors()[tensor].name; }

  // In fp32 and in the order of the model's rows; undefined where the adapter changes nothing.
  at::Tensor merged_of(std::size_t tensor) const {
    const std::int64_t index = model_.parameters().index(parameter_name(tensor));
    if (index < 0) return {};
    const at::Tensor merged = adapter_.merged(index, model_.parameters().value(index));
    return merged.defined() ? merged.detach() : merged;
  }

  // Offsets come before the data: another type must be known of every tensor before the first is written. Vectors keep
  // theirs, since llama.cpp computes with norms and biases in the type that its converter gives them.
  std::vector<TensorPlan> planned(std::optional<DType> wanted) const {
    std::vector<TensorPlan> plan;
    for (std::size_t i = 0; i < base_->tensors().size(); ++i) {
      const TensorInfo& info = base_->tensors()[i];
      plan.push_back(plan_of(info));
      const bool other_type = wanted && info.shape.size() == 2;
      if ((!other_type && is_writable(info.dtype)) || !merged_of(i).defined()) continue;
      if (!other_type)
        fail(Category::Unsupported, info.name,
             "is stored as {}, which graft reads and does not write; give what the adapter changes another type: "
             "--dtype q4_k",
             name(info.dtype));
      if (info.shape.back() % block_elements(*wanted) != 0)
        fail(Category::InvalidArgument, "dtype",
             "rows of {} values ({}) are no whole blocks of {}, which {} has; choose {}", info.shape.back(), info.name,
             block_elements(*wanted), name(*wanted), info.shape.back() % 32 == 0 ? "q8_0" : "float16");
      plan.back().dtype = *wanted;
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
    const std::int64_t index = model_.parameters().index(parameter_name(tensor));
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
  const ModelFiles& files_;
  const Adapter& adapter_;
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

MergeReport merge_gguf(const std::filesystem::path& model_path, const std::filesystem::path& adapter_path,
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
  const ModelFiles files = open_model_files(model_path);
  if (files.weights->format() != "gguf")
    fail(Category::InvalidArgument, output.string(),
         "a GGUF file is written over a GGUF base, and {} is a Hugging Face folder; give a folder as --output",
         model_path.string());
  const auto model = load_lossless(model_path, options_for(files));
  const LoadedAdapter loaded = load_adapter(adapter_path, *model);
  refuse_other_tokenizer_beside(model_path, loaded);
  MergeReport report = GgufMerge(*model, files, *loaded.adapter).write(output, wanted);
  report.method = loaded.method;
  report.placed = loaded.tensors;
  return report;
}

}  // namespace graft
