#include "checkpoint/writer.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/json_text.h"
#include "checkpoint/layout.h"

namespace graft {
namespace {

using nlohmann::json;

constexpr std::uint64_t kHeaderAlignment = 8;

// The plan with its byte counts; checks names, types and the bytes of every write.
class Checklist {
 public:
  Checklist(std::string where, std::vector<TensorPlan> plan) : where_(std::move(where)), plan_(std::move(plan)) {
    std::set<std::string_view> names;
    for (const TensorPlan& tensor : plan_) {
      if (tensor.name.empty() || !is_utf8(tensor.name) || tensor.name == "__metadata__" ||
          !names.insert(tensor.name).second) {
        fail(Category::InvalidArgument, where_, "tensor name '{}' is empty, reserved, repeated or not UTF-8",
             printable(tensor.name));
      }
      sizes_.push_back(checked_bytes(where_, tensor.name, tensor.dtype, tensor.shape));
    }
  }

  const std::vector<TensorPlan>& plan() const { return plan_; }
  std::uint64_t size(std::size_t i) const { return sizes_[i]; }
  const std::string& where() const { return where_; }

  /// Index of the tensor whose bytes these are.
  std::size_t check(std::span<const std::byte> bytes) {
    if (next_ == plan_.size())
      fail(Category::InvalidArgument, where_, "more tensors are written than the {} planned", plan_.size());
    if (bytes.size() != sizes_[next_]) {
      fail(Category::InvalidArgument, where_, "tensor '{}' needs {} bytes, {} were given", printable(plan_[next_].name),
           sizes_[next_], bytes.size());
    }
    return next_++;
  }

  void check_complete() const {
    if (next_ != plan_.size())
      fail(Category::InvalidArgument, where_, "tensor '{}' was planned and not written", printable(plan_[next_].name));
  }

 private:
  std::string where_;
  std::vector<TensorPlan> plan_;
  std::vector<std::uint64_t> sizes_;
  std::size_t next_ = 0;
};

std::string little_endian(std::uint64_t value) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
  return bytes;
}

void check_safetensors_types(const Checklist& list, const json& metadata) {
  for (const TensorPlan& tensor : list.plan()) {
    if (is_quantised(tensor.dtype)) {
      fail(Category::Unsupported, list.where(),
           "tensor '{}' is {}, which safetensors cannot hold; dequantise it or write GGUF", printable(tensor.name),
           name(tensor.dtype));
    }
  }
  for (const auto& [key, value] : metadata.items()) {
    if (!value.is_string() || !is_utf8(key) || !is_utf8(value.get_ref<const std::string&>())) {
      fail(Category::InvalidArgument, list.where(),
           "metadata '{}' is not a string of UTF-8; safetensors holds only those", printable(key));
    }
  }
}

std::string safetensors_header(const Checklist& list, const json& metadata) {
  json header = json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t offset = 0;
  for (std::size_t i = 0; i < list.plan().size(); ++i) {
    const TensorPlan& tensor = list.plan()[i];
    header[tensor.name] = {
        {"dtype", name(tensor.dtype)}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + list.size(i)}}};
    offset += list.size(i);
  }
  std::string text = header.dump();
  // Spaces keep the data aligned.
  text.append((kHeaderAlignment - text.size() % kHeaderAlignment) % kHeaderAlignment, ' ');
  return little_endian(text.size()) + text;
}

class SafetensorsWriter : public CheckpointWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& path, const std::vector<TensorPlan>& plan, const json& metadata)
      : list_(path.string(), plan), file_((check_safetensors_types(list_, metadata), path)) {
    file_.write(safetensors_header(list_, metadata));
  }

  void write(std::span<const std::byte> bytes) override {
    list_.check(bytes);
    file_.write(bytes);
  }

  void finish() override {
    list_.check_complete();
    file_.commit();
  }

 private:
  Checklist list_;
  AtomicFile file_;
};

class ShardedWriter : public CheckpointWriter {
 public:
  ShardedWriter(std::filesystem::path folder, const std::vector<TensorPlan>& plan, const Sharding& sharding,
                const json& metadata)
      : folder_(std::move(folder)), list_(folder_.string(), plan), metadata_(metadata) {
    check_safetensors_types(list_, metadata);
    check_files(sharding.files);
    std::uint64_t used = 0;
    for (std::size_t i = 0; i < plan.size(); ++i) {
      const bool next = sharding.files.empty() ? used > 0 && used + list_.size(i) > sharding.most_bytes
                                               : i > 0 && sharding.files[i] != sharding.files[i - 1];
      if (shards_.empty() || next) {
        shards_.emplace_back();
        used = 0;
      }
      shards_.back().push_back(plan[i]);
      used += list_.size(i);
    }
    if (shards_.empty()) shards_.emplace_back();
    open_shard();
  }

  void write(std::span<const std::byte> bytes) override {
    total_ += bytes.size();
    const std::size_t index = list_.check(bytes);
    if (written_ == shards_[shard_].size()) {
      current_->finish();
      ++shard_;
      open_shard();
    }
    current_->write(bytes);
    ++written_;
    weight_map_[list_.plan()[index].name] = shard_name();
  }

  void finish() override {
    list_.check_complete();
    current_->finish();
    if (shards_.size() == 1) return;
    const json index = {{"metadata", {{"total_size", total_}}}, {"weight_map", weight_map_}};
    write_file(folder_ / "model.safetensors.index.json", json_text(index, 2) + "\n");
  }

 private:
  void check_files(const std::vector<std::size_t>& files) const {
    if (files.empty() || (files.size() == list_.plan().size() && std::is_sorted(files.begin(), files.end()))) return;
    fail(Category::InvalidArgument, list_.where(), "{} files that never fall were to be named, one for each tensor",
         list_.plan().size());
  }

  std::string shard_name() const {
    if (shards_.size() == 1) return "model.safetensors";
    return fmt::format("model-{:05}-of-{:05}.safetensors", shard_ + 1, shards_.size());
  }

  void open_shard() {
    current_ = write_safetensors(folder_ / shard_name(), shards_[shard_], metadata_);
    written_ = 0;
  }

  std::filesystem::path folder_;
  Checklist list_;
  json metadata_;
  std::vector<std::vector<TensorPlan>> shards_;
  std::size_t shard_ = 0;
  std::size_t written_ = 0;
  std::uint64_t total_ = 0;
  std::unique_ptr<CheckpointWriter> current_;
  json weight_map_ = json::object();
};

}  // namespace

TensorPlan plan_of(const TensorInfo& info) {
  return {info.name, info.dtype, info.shape};
}

std::unique_ptr<CheckpointWriter> write_safetensors(const std::filesystem::path& path,
                                                    const std::vector<TensorPlan>& plan, const json& metadata) {
  return std::make_unique<SafetensorsWriter>(path, plan, metadata);
}

std::unique_ptr<CheckpointWriter> write_safetensors_folder(const std::filesystem::path& folder,
                                                           const std::vector<TensorPlan>& plan,
                                                           const Sharding& sharding, const json& metadata) {
  return std::make_unique<ShardedWriter>(folder, plan, sharding, metadata);
}

}  // namespace graft
