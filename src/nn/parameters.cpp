#include "nn/parameters.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "base/progress.h"
#include "nn/kernels/huge_pages.h"
#include "nn/stored_dtype.h"
#include "nn/stores/mapped_values.h"

namespace graft {
namespace {

// The mapped pages are read-only; LibTorch has no such notion, and parameters are never written in place.
at::Tensor mapped_tensor(std::shared_ptr<const TensorSource> source, const TensorInfo& info, at::IntArrayRef shape,
                         at::ScalarType type) {
  auto* data = const_cast<std::byte*>(source->bytes(info).data());
  return at::from_blob(
      data, shape, [source](void*) {}, at::TensorOptions().dtype(type));
}

constexpr const char* kDense = "dense";
constexpr float kLargestHalf = 65504;  // what a block's minimum can hold

// A matrix in blocks as it lies in the file: [rows, bytes of a row].
at::Tensor mapped_blocks(const std::shared_ptr<const TensorSource>& source, const TensorInfo& info) {
  const std::int64_t row_bytes = info.shape[1] / block_elements(info.dtype) * block_bytes(info.dtype);
  return mapped_tensor(source, info, {info.shape[0], row_bytes}, at::kByte);
}

// What a matrix is kept as whose rows have changed places: other places, another name.
std::string kept_name(const std::string& name, const std::vector<std::int64_t>& rows) {
  if (rows.empty()) return name;
  const std::string_view places(reinterpret_cast<const char*>(rows.data()), rows.size() * sizeof(std::int64_t));
  return fmt::format("{}#{:.16}", name, sha256(places));
}

std::size_t bytes_of(DType type, std::int64_t values) {
  return static_cast<std::size_t>(values / block_elements(type) * block_bytes(type));
}

bool can_be_quantised(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float value) { return std::fabs(value) <= kLargestHalf; });
}

// What is laid out for products is read there from then on.
std::function<void()> giving_back(const std::shared_ptr<const TensorSource>& source, const TensorInfo& info) {
  return [source, info] { source->release(info); };
}

// Values of `info`, which may be copied where that has room.
std::shared_ptr<MappedValues> values_of(const at::Tensor& mapped, const std::shared_ptr<const TensorSource>& source,
                                        const TensorInfo& info, const std::shared_ptr<Residency>& residency) {
  // Which holds what is made here.
  const auto has_room = [pages = std::weak_ptr<const Residency>(residency)] {
    const auto held = pages.lock();
    return held != nullptr && held->has_room_for_copies();
  };
  const auto give_back = [source, info](std::size_t first, std::size_t count) {
    TensorInfo part = info;
    part.offset += first;
    part.bytes = count;
    source->release(part);
  };
  return std::make_shared<MappedValues>(mapped, has_room, give_back);
}

bool aligned(const std::byte* data, at::ScalarType type) {
  return reinterpret_cast<std::uintptr_t>(data) % c10::elementSize(type) == 0;
}

}  // namespace

std::int64_t ParameterTable::index(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? -1 : found->second;
}

std::int64_t ParameterTable::elements() const {
  std::int64_t total = 0;
  for (const auto& parameter : parameters_) total += parameter.store->elements();
  return total;
}

std::int64_t ParameterTable::bytes() const {
  std::int64_t total = 0;
  for (const auto& parameter : parameters_) total += parameter.store->bytes();
  return total;
}

bool ParameterTable::packed() const {
  return std::any_of(parameters_.begin(), parameters_.end(), [](const auto& p) { return p.store->packed(); });
}

std::string ParameterTable::storage() const {
  std::map<std::string, std::int64_t> by_kind;
  for (const auto& parameter : parameters_) by_kind[parameter.store->kind()] += parameter.store->bytes();
  std::vector<std::pair<std::int64_t, std::string>> most;
  for (const auto& [kind, bytes] : by_kind) most.emplace_back(bytes, kind);
  std::sort(most.rbegin(), most.rend());
  std::string text;
  for (const auto& [bytes, kind] : most)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", kind, human_bytes(static_cast<double>(bytes)));
  return text;
}

std::string ParameterTable::fallen_back() const {
  if (fallen_back_.empty()) return "";
  const DType wanted = loading_type(format_).value();
  std::int64_t count = 0;
  std::vector<std::string> parts;
  for (const auto& [type, matrices] : fallen_back_) {
    count += matrices;
    parts.push_back(fmt::format("{} {}{}", matrices, type == kDense ? "" : "in ", type));
  }
  return fmt::format("rows of {} of {} matrices are no whole blocks of {} ({} values): {}", count, matrices_,
                     graft::name(wanted), block_elements(wanted), fmt::join(parts, ", "));
}

ParameterLoader::ParameterLoader(std::shared_ptr<const TensorSource> source, at::ScalarType dtype, at::Device device,
                                 WeightFormat format)
    : source_(std::move(source)), dtype_(dtype), device_(device), format_(format) {
  if (format != WeightFormat::Dense && !device.is_cpu() && !device.is_meta())
    fail(Category::Unsupported, "model.weights",
         "{} computes on the CPU only; choose dense for the GPU, or --device cpu", name(format));
  table_.dtype_ = dtype;
  table_.device_ = device;
  table_.format_ = format;
  if (source_ != nullptr) table_.files_ = source_->files();
}

void ParameterLoader::keep_blocks(const std::filesystem::path& folder) {
  if (source_ != nullptr && loading_type(format_))
    kept_ = std::make_shared<const KeptBlocks>(folder, *source_, format_);
}

ParameterLoader ParameterLoader::outline(at::ScalarType dtype, WeightFormat format,
                                         std::shared_ptr<const TensorSource> file) {
  ParameterLoader loader(nullptr, dtype, at::kMeta, format);
  loader.outlined_ = std::move(file);
  return loader;
}

ParameterLoader ParameterLoader::outlined() const {
  ParameterLoader loader = outline(dtype_, format_, source_);
  loader.kept_ = kept_;
  return loader;
}

bool ParameterLoader::has(const std::string& name) const {
  return file() == nullptr || file()->find(name) != nullptr;
}

bool ParameterLoader::holds(const std::string& name, const std::vector<std::int64_t>& shape) const {
  if (file() == nullptr) return false;
  checked(name, shape);
  return true;
}

at::Tensor ParameterLoader::load(const TensorInfo& info) const {
  const auto bytes = source_->bytes(info);
  const auto type = scalar_type(info.dtype);
  if (type && c10::isFloatingType(*type) && aligned(bytes.data(), *type)) {
    const at::Tensor mapped = mapped_tensor(source_, info, info.shape, *type);
    if (*type == dtype_ && device_.is_cpu()) return mapped;
    const at::Tensor moved = mapped.to(device_, dtype_);
    source_->release(info);
    return moved;
  }
  const at::Tensor values = converted(info);
  source_->release(info);
  return values.to(device_);
}

// As quantised(): blocks, or values that lie at odd addresses, by parts of whole blocks on all threads.
at::Tensor ParameterLoader::converted(const TensorInfo& info) const {
  constexpr std::int64_t kBlocks = 1 << 10;
  const std::int64_t block = block_elements(info.dtype), blocks = info.elements() / block;
  const auto stored = source_->bytes(info);
  const at::Tensor values = at::empty(info.shape, dtype_), flat = values.view({-1});
  at::parallel_for(0, (blocks + kBlocks - 1) / kBlocks, 1, [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> part(static_cast<std::size_t>(kBlocks * block));
    for (std::int64_t first = begin * kBlocks; first < std::min(end * kBlocks, blocks); first += kBlocks) {
      const std::int64_t count = std::min(kBlocks, blocks - first), elements = count * block;
      const auto bytes = static_cast<std::size_t>(block_bytes(info.dtype));
      to_float(info.dtype,
               stored.subspan(static_cast<std::size_t>(first) * bytes, static_cast<std::size_t>(count) * bytes),
               {part.data(), static_cast<std::size_t>(elements)});
      flat.narrow(0, first * block, elements).copy_(at::from_blob(part.data(), {elements}, at::kFloat));
    }
  });
  return values;
}

std::optional<DType> ParameterLoader::blocks_of(const TensorInfo& info) const {
  if (format_ == WeightFormat::Packed) return is_quantised(info.dtype) ? std::optional(info.dtype) : std::nullopt;
  return fitting_blocks(loading_type(format_).value(), info.shape.back());
}

std::optional<DType> ParameterLoader::outlined_type(const std::string& name, std::int64_t row) const {
  if (format_ != WeightFormat::Packed) return fitting_blocks(loading_type(format_).value(), row);
  const TensorInfo* info = outlined_ == nullptr ? nullptr : outlined_->find(name);
  return info != nullptr && is_quantised(info->dtype) ? std::optional(info->dtype) : std::nullopt;
}

std::int64_t ParameterLoader::take_outlined(const std::string& name, const std::vector<std::int64_t>& shape,
                                            const std::vector<std::int64_t>& rows) {
  const auto type = outlined_type(name, shape.back());
  note_blocks(type);
  if (!type) return take(name, shape, rows);
  const std::int64_t index = add(name, outlined_blocks(*type, stored(name, shape)));
  note_outlined(index, type, rows);
  return index;
}

void ParameterLoader::note_blocks(const std::optional<DType>& type) {
  const auto wanted = loading_type(format_);
  ++table_.matrices_;
  if (wanted && type != wanted) ++table_.fallen_back_[type ? graft::name(*type) : kDense];
}

// A few rows at a time, so that no more than they are ever in memory as fp32.
at::Tensor ParameterLoader::quantised(const TensorInfo& info, DType type) const {
  constexpr std::int64_t kValues = 1 << 18;
  const std::int64_t rows = info.shape[0], columns = info.shape[1], step = std::max<std::int64_t>(1, kValues / columns);
  const std::int64_t row_bytes = columns / block_elements(type) * block_bytes(type);
  const auto stored = source_->bytes(info);
  const std::size_t stored_row = stored.size() / static_cast<std::size_t>(rows);
  at::Tensor packed = at::empty({rows, row_bytes}, at::kByte);
  auto* out = reinterpret_cast<std::byte*>(packed.data_ptr<std::uint8_t>());
  at::parallel_for(0, (rows + step - 1) / step, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t first = begin * step; first < std::min(end * step, rows); first += step) {
      const auto count = static_cast<std::size_t>(std::min(step, rows - first)), from = static_cast<std::size_t>(first);
      std::vector<float> values(count * static_cast<std::size_t>(columns));
      to_float(info.dtype, stored.subspan(from * stored_row, count * stored_row), values);
      if (!can_be_quantised(values))
        fail(
            Category::Corruption, source_->files()[info.file].string(),
            "tensor {} holds NaN, infinity or numbers beyond 65,504, which cannot be quantised; fetch the model again, "
            "or choose dense",
            info.name);
      const auto row = static_cast<std::size_t>(row_bytes);
      quantise_closely(type, values, {out + from * row, count * row});
    }
  });
  source_->release(info);
  return packed;
}

// Rows in another order are a copy, and what it was made of is given back.
at::Tensor ParameterLoader::ordered(const at::Tensor& values, const std::string& name,
                                    const std::vector<std::int64_t>& rows) const {
  if (rows.empty() || values.is_meta()) return values;
  const at::Tensor from = at::tensor(rows, at::kLong).to(values.device());
  at::Tensor copy = values.is_cpu() ? in_huge_pages(values.sizes(), values.scalar_type()) : at::Tensor();
  if (copy.defined()) {
    at::index_select_out(copy, values, 0, from);
  } else {
    copy = values.index_select(0, from);
  }
  source_->release(source_->at(name));
  return copy;
}

std::int64_t ParameterLoader::take(const std::string& name, const std::vector<std::int64_t>& shape,
                                   const std::vector<std::int64_t>& rows) {
  const at::Tensor values = ordered(stored(name, shape), name, rows);
  const TensorInfo* info = lies_in_file(name, values);
  const auto mapped = info != nullptr ? values_of(values, source_, *info, table_.residency_) : nullptr;
  const std::int64_t index = add(name, mapped != nullptr ? mapped_store(mapped) : dense_store(values));
  if (mapped != nullptr) table_.residency_->add(index, *info, source_, mapped);
  note_outlined(index, std::nullopt, rows);
  return index;
}

std::int64_t ParameterLoader::take_matrix(const std::string& name, const std::vector<std::int64_t>& shape,
                                          const std::vector<std::int64_t>& rows) {
  if (format_ == WeightFormat::Dense) return take(name, shape, rows);
  if (source_ == nullptr) return take_outlined(name, shape, rows);
  const TensorInfo& info = checked(name, shape);
  const auto type = blocks_of(info);
  note_blocks(type);
  if (!type) return take(name, shape, rows);
  if (info.dtype != *type) return take_quantised(info, *type, rows);
  const at::Tensor bytes = ordered(mapped_blocks(source_, info), name, rows);
  const auto laid_out = rows.empty() ? giving_back(source_, info) : std::function<void()>();
  const std::int64_t index = add(name, block_store(*type, bytes, dtype_, laid_out));
  if (lies_in_file(name, bytes) != nullptr) table_.residency_->add(index, info, source_);
  return index;
}

std::int64_t ParameterLoader::take_quantised(const TensorInfo& info, DType type,
                                             const std::vector<std::int64_t>& rows) {
  const TensorPlan plan{kept_name(info.name, rows), type, info.shape};
  const bool keeps = kept_ != nullptr && scales_are_fitted(type);
  const TensorInfo* kept = keeps ? kept_->find(plan) : nullptr;
  if (kept != nullptr && !made_so_now(info, type, rows, *kept)) kept = nullptr;
  const at::Tensor bytes =
      kept != nullptr ? mapped_blocks(kept_->file(), *kept) : ordered(quantised(info, type), info.name, rows);
  const auto laid_out = kept != nullptr ? giving_back(kept_->file(), *kept) : std::function<void()>();
  const std::int64_t index = add(info.name, block_store(type, bytes, dtype_, laid_out));
  if (kept != nullptr) table_.residency_->add(index, *kept, kept_->file());
  if (keeps) {
    fitted_.emplace_back(plan, bytes);
    any_made_ = any_made_ || kept == nullptr;
  }
  return index;
}

// Looks at the beginnings of three rows: what another version of the quantisation made, or of a file whose change its
// times do not tell, shows nearly everywhere.
bool ParameterLoader::made_so_now(const TensorInfo& info, DType type, const std::vector<std::int64_t>& rows,
                                  const TensorInfo& kept) const {
  constexpr std::int64_t kLooked = 1 << 10;  // values: whole blocks of every type
  const std::int64_t last = info.shape[0] - 1, columns = std::min(kLooked, info.shape[1]);
  const std::size_t row_bytes = kept.bytes / static_cast<std::size_t>(info.shape[0]);
  std::vector<float> values(static_cast<std::size_t>(columns));
  std::vector<std::byte> blocks(bytes_of(type, columns));
  bool same = true;
  for (const std::int64_t row : {std::int64_t{0}, last / 2, last}) {
    const std::int64_t from = rows.empty() ? row : rows[static_cast<std::size_t>(row)];
    const auto stored = source_->bytes(info).subspan(
        static_cast<std::size_t>(from) * bytes_of(info.dtype, info.shape[1]), bytes_of(info.dtype, columns));
    to_float(info.dtype, stored, values);
    if (!can_be_quantised(values)) return false;
    quantise_closely(type, values, blocks);
    const auto* there = kept_->file()->bytes(kept).data() + static_cast<std::size_t>(row) * row_bytes;
    same = same && std::memcmp(blocks.data(), there, blocks.size()) == 0;
  }
  source_->release(info);
  return same;
}

std::int64_t ParameterLoader::add(const std::string& name, std::shared_ptr<const WeightStore> store) {
  const auto index = static_cast<std::int64_t>(table_.parameters_.size());
  table_.parameters_.push_back({name, std::move(store)});
  table_.index_.emplace(name, index);
  return index;
}

// Null of values that were converted, or whose rows changed places: they lie elsewhere than the file's.
const TensorInfo* ParameterLoader::lies_in_file(const std::string& name, const at::Tensor& values) const {
  if (source_ == nullptr || !values.is_cpu()) return nullptr;
  const TensorInfo& info = source_->at(name);
  return values.const_data_ptr() == source_->bytes(info).data() ? &info : nullptr;
}

// Of an outline: what load() and take_matrix() would leave where it is. No value is looked at.
void ParameterLoader::note_outlined(std::int64_t index, const std::optional<DType>& blocks,
                                    const std::vector<std::int64_t>& rows) {
  if (outlined_ == nullptr) return;
  const TensorInfo& info = outlined_->at(table_.name(index));
  const bool same =
      blocks ? info.dtype == *blocks : scalar_type(info.dtype) == dtype_ && info.offset % c10::elementSize(dtype_) == 0;
  if (same) {
    if (rows.empty()) table_.residency_->add(index, info, outlined_);
  } else if (blocks && kept_ != nullptr && scales_are_fitted(*blocks)) {
    const TensorInfo* kept = kept_->find({kept_name(info.name, rows), *blocks, info.shape});
    if (kept != nullptr) table_.residency_->add(index, *kept, kept_->file());
  }
}

const TensorInfo& ParameterLoader::checked(const std::string& name, const std::vector<std::int64_t>& shape) const {
  const TensorInfo& info = file()->at(name);
  if (info.shape != shape) {
    fail(Category::Corruption, file()->files()[info.file].string(),
         "tensor {} has shape [{}], the config asks for [{}]", name, fmt::join(info.shape, ", "),
         fmt::join(shape, ", "));
  }
  return info;
}

at::Tensor ParameterLoader::stored(const std::string& name, const std::vector<std::int64_t>& shape) const {
  if (source_ != nullptr) return load(checked(name, shape));
  if (outlined_ != nullptr) checked(name, shape);
  return at::empty(shape, at::TensorOptions(device_).dtype(dtype_));
}

std::int64_t ParameterLoader::take_fixed(const std::string& name, const std::vector<std::int64_t>& shape) {
  const auto index = take(name, shape);
  table_.parameters_[static_cast<std::size_t>(index)].fixed = true;
  return index;
}

void ParameterLoader::refuse_without_blocks() const {
  if (format_ == WeightFormat::Dense || table_.packed()) return;
  const std::string of = file() == nullptr ? "the model" : file()->files().front().string();
  if (format_ == WeightFormat::Packed)
    fail(Category::InvalidArgument, "model.weights",
         "{} has no quantised tensor to keep packed; choose {} to quantise while loading, or dense", of,
         block_names("or"));
  fail(Category::InvalidArgument, "model.weights",
       "no matrix of {} has rows of whole blocks of 32 values; choose dense", of);
}

void ParameterLoader::keep_made() const {
  if (!any_made_) return;
  std::vector<BlocksToKeep> blocks;
  for (const auto& [plan, bytes] : fitted_)
    blocks.push_back({plan, {static_cast<const std::byte*>(bytes.const_data_ptr()), bytes.nbytes()}});
  kept_->keep(blocks);
}

ParameterTable ParameterLoader::finish() {
  refuse_without_blocks();
  if (source_ == nullptr) return std::move(table_);
  std::vector<std::string> left;
  for (const auto& info : source_->tensors()) {
    const bool ignored =
        std::any_of(ignored_.begin(), ignored_.end(), [&](const auto& suffix) { return info.name.ends_with(suffix); });
    if (!ignored && table_.index(info.name) < 0) left.push_back(info.name);
  }
  if (!left.empty()) {
    const std::size_t shown = std::min<std::size_t>(left.size(), 3);
    fail(Category::Corruption, source_->files().front().string(), "{} tensors have no place in this architecture: {}{}",
         left.size(), fmt::join(left.begin(), left.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
         left.size() > shown ? ", …" : "");
  }
  keep_made();
  return std::move(table_);
}

}  // namespace graft
