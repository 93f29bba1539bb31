#include "checkpoint/gguf_parts.h"

#include <mutex>
#include <regex>
#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "checkpoint/layout.h"

namespace graft {
namespace {

using nlohmann::json;

// The keys are 16 bits wide.
constexpr std::int64_t kMostParts = 65535;

// A whole number from 0 on; `absent` where the key is not there.
std::uint64_t part_key(const TensorSource& file, const std::string& key, std::int64_t most, std::uint64_t absent) {
  const auto found = file.settings().find(key);
  if (found == file.settings().end()) return absent;
  const std::int64_t value = found->is_number_integer() ? found->get<std::int64_t>() : -1;
  if (value < 0 || value > most)
    fail(Category::Corruption, file.files().front().string(), "{} is {}, which is no number of files or tensors", key,
         printable(found->dump(-1, ' ', false, json::error_handler_t::replace)));
  return static_cast<std::uint64_t>(value);
}

std::string part_file_name(const GgufPartName& name, std::uint64_t number) {
  return fmt::format("{}-{:05}-of-{:05}.gguf", name.stem, number, name.count);
}

class GgufParts : public TensorSource {
 public:
  GgufParts(const std::filesystem::path& any, std::uint64_t count) : where_(any.string()) {
    const auto named = gguf_part_name(any);
    if (!named || named->count != count) {
      fail(Category::InvalidArgument, where_,
           "is one of {} files of a model, and its name does not say which; name them NAME-00001-of-{:05}.gguf and so "
           "on",
           count, count);
    }
    files_ = gguf_part_files(any);
    for (const std::filesystem::path& file : files_) {
      if (!std::filesystem::exists(file))
        fail(Category::NotFound, where_, "is part {} of {}, and '{}' is not beside it; fetch it too", named->number,
             count, file.filename().string());
    }
    for (std::uint64_t number = 1; number <= count; ++number) add_part(number, count);
    check_tensor_count();
    settings_ = without_part_keys(parts_.front()->settings());
  }

  std::string format() const override { return "gguf"; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const std::vector<std::filesystem::path>& files() const override { return files_; }
  const json& settings() const override { return settings_; }
  const json& metadata() const override {
    std::call_once(all_read_, [this] { metadata_ = without_part_keys(parts_.front()->metadata()); });
    return metadata_;
  }
  // GGUF bytes are found by offset.
  std::span<const std::byte> bytes(const TensorInfo& info) const override { return parts_.at(info.file)->bytes(info); }
  void release(const TensorInfo& info) const override { parts_.at(info.file)->release(info); }
  void prefetch(const TensorInfo& info) const override { parts_.at(info.file)->prefetch(info); }

 private:
  static json without_part_keys(const json& metadata) {
    json kept = json::object();
    for (const auto& [key, value] : metadata.items()) {
      if (!key.starts_with(kGgufPartKeys)) kept[key] = value;
    }
    return kept;
  }

  void add_part(std::uint64_t number, std::uint64_t count) {
    const std::filesystem::path& path = files_[number - 1];
    auto part = open_gguf_part(path);
    const std::uint64_t own = part_key(*part, "split.no", kMostParts, 0) + 1, of = gguf_part_count(*part);
    if (own != number || of != count) {
      fail(Category::Corruption, path.string(), "says that it is part {} of {}, its name says {} of {}; fetch it again",
           own, of, number, count);
    }
    for (TensorInfo info : part->tensors()) {
      info.file = parts_.size();
      if (!names_.insert(info.name).second)
        fail(Category::Corruption, path.string(), "tensor '{}' is in an earlier part of the model already",
             printable(info.name));
      tensors_.push_back(std::move(info));
    }
    parts_.push_back(std::move(part));
  }

  void check_tensor_count() const {
    constexpr std::int64_t kMostTensors = 1LL << 31;
    const std::uint64_t claimed =
        part_key(*parts_.front(), "split.tensors.count", kMostTensors, static_cast<std::uint64_t>(tensors_.size()));
    if (claimed == tensors_.size()) return;
    fail(Category::Corruption, files_.front().string(),
         "says that the model has {} tensors, its {} files have {}; they do not belong together", claimed,
         files_.size(), tensors_.size());
  }

  std::string where_;
  std::vector<std::unique_ptr<TensorSource>> parts_;
  std::vector<std::filesystem::path> files_;
  std::vector<TensorInfo> tensors_;
  std::unordered_set<std::string> names_;
  json settings_;
  mutable std::once_flag all_read_;
  mutable json metadata_;
};

}  // namespace

std::optional<GgufPartName> gguf_part_name(const std::filesystem::path& path) {
  static const std::regex pattern(R"((.*)-(\d{5})-of-(\d{5})\.gguf)");
  const std::string name = path.filename().string();
  std::smatch found;
  if (!std::regex_match(name, found, pattern)) return std::nullopt;
  return GgufPartName{found[1].str(), std::stoull(found[2].str()), std::stoull(found[3].str())};
}

std::filesystem::path gguf_first_part(const std::filesystem::path& path) {
  const auto named = gguf_part_name(path);
  return named ? path.parent_path() / part_file_name(*named, 1) : path;
}

std::vector<std::filesystem::path> gguf_part_files(const std::filesystem::path& path) {
  const auto named = gguf_part_name(path);
  if (!named) return {path};
  std::vector<std::filesystem::path> files;
  for (std::uint64_t number = 1; number <= named->count; ++number)
    files.push_back(path.parent_path() / part_file_name(*named, number));
  return files;
}

std::uint64_t gguf_part_count(const TensorSource& file) {
  return part_key(file, "split.count", kMostParts, 1);
}

std::unique_ptr<TensorSource> open_gguf_parts(const std::filesystem::path& any, std::uint64_t count) {
  return std::make_unique<GgufParts>(any, count);
}

}  // namespace graft
