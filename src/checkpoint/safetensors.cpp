#include "checkpoint/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/layout.h"

namespace graft {
namespace {

using nlohmann::json;

constexpr std::uint64_t kLengthBytes = 8;
// The limit of the reference implementation; a header that needs more is a mistake or an attack.
constexpr std::uint64_t kLongestHeader = 100'000'000;

// Refuses duplicate keys and deep nesting while the header is parsed: a JSON library keeps one of two equal keys
// silently.
class HeaderGuard {
 public:
  explicit HeaderGuard(const std::string& where) : where_(where) {}

  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    if (depth > 3) fail(Category::Corruption, where_, "safetensors header is nested too deeply; fetch it again");
    if (event == json::parse_event_t::object_start && depth == 1) fields_.clear();
    if (event == json::parse_event_t::key) {
      auto& seen = depth == 1 ? names_ : fields_;
      if (!seen.insert(parsed.get<std::string>()).second) {
        fail(Category::Corruption, where_, "safetensors header has the key '{}' twice; fetch it again",
             printable(parsed.get<std::string>()));
      }
    }
    return true;
  }

 private:
  const std::string& where_;
  std::set<std::string> names_;
  std::set<std::string> fields_;
};

class Safetensors : public TensorSource {
 public:
  explicit Safetensors(const std::filesystem::path& path) : files_{path}, file_(path), where_(path.string()) {
    const json header = parse_header();
    for (const auto& [key, value] : header.items()) {
      if (key == "__metadata__") {
        read_metadata(value);
      } else {
        tensors_.push_back(read_tensor(key, value));
      }
    }
    std::sort(tensors_.begin(), tensors_.end(),
              [](const auto& a, const auto& b) { return std::tie(a.offset, a.name) < std::tie(b.offset, b.name); });
    check_layout(where_, tensors_, data_begin_, file_.bytes().size());
    check_no_gaps();
  }

  std::string format() const override { return "safetensors"; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const std::vector<std::filesystem::path>& files() const override { return files_; }
  const json& metadata() const override { return metadata_; }
  std::span<const std::byte> bytes(const TensorInfo& info) const override {
    return file_.bytes().subspan(info.offset, info.bytes);
  }
  void release(const TensorInfo& info) const override { file_.release(bytes(info)); }
  void prefetch(const TensorInfo& info) const override { file_.prefetch(bytes(info)); }

 private:
  json parse_header() {
    static_assert(std::endian::native == std::endian::little);
    const auto all = file_.bytes();
    if (all.size() < kLengthBytes)
      fail(Category::Corruption, where_, "has {} bytes, too few for a safetensors file; fetch it again", all.size());
    std::uint64_t length = 0;
    std::memcpy(&length, all.data(), sizeof length);
    if (length > kLongestHeader) {
      fail(Category::Corruption, where_, "claims a header of {} bytes (at most {} are allowed): not a safetensors file",
           length, kLongestHeader);
    }
    if (length > all.size() - kLengthBytes) {
      fail(Category::Corruption, where_, "claims a header of {} bytes but ends after {}: truncated; fetch it again",
           length, all.size() - kLengthBytes);
    }
    data_begin_ = kLengthBytes + length;
    try {
      const json header = json::parse(file_.text().substr(kLengthBytes, length), HeaderGuard(where_));
      if (!header.is_object())
        fail(Category::Corruption, where_, "safetensors header is not a JSON object; fetch it again");
      return header;
    } catch (const json::exception& error) {
      fail(Category::Corruption, where_, "safetensors header is not valid JSON; fetch it again ({})",
           printable(error.what()));
    }
  }

  void read_metadata(const json& value) {
    if (!value.is_object()) fail(Category::Corruption, where_, "__metadata__ is not an object; fetch or save it again");
    for (const auto& [key, text] : value.items()) {
      if (!text.is_string())
        fail(Category::Corruption, where_, "__metadata__ field '{}' is not a string; fetch or save it again",
             printable(key));
    }
    metadata_ = value;
  }

  const json& field(const std::string& tensor, const json& entry, const char* key) const {
    if (!entry.is_object() || !entry.contains(key)) {
      fail(Category::Corruption, where_, "tensor '{}' has no '{}'; fetch it again", printable(tensor), key);
    }
    return entry[key];
  }

  std::uint64_t natural(const std::string& tensor, const char* key, const json& value) const {
    if (value.is_number_unsigned() && value.get<std::uint64_t>() < 1ULL << 62) return value.get<std::uint64_t>();
    fail(Category::Corruption, where_, "tensor '{}': '{}' holds {}, a whole number from 0 was expected; fetch it again",
         printable(tensor), key, printable(value.dump(-1, ' ', true, json::error_handler_t::replace)));
  }

  TensorInfo read_tensor(const std::string& key, const json& entry) const {
    TensorInfo info;
    info.name = key;
    const json& dtype = field(key, entry, "dtype");
    if (!dtype.is_string())
      fail(Category::Corruption, where_, "tensor '{}': 'dtype' is not a string; fetch it again", printable(key));
    info.dtype = safetensors_dtype(where_, key, dtype.get<std::string>());
    const json& shape = field(key, entry, "shape");
    if (!shape.is_array())
      fail(Category::Corruption, where_, "tensor '{}': 'shape' is not a list; fetch it again", printable(key));
    for (const json& size : shape) info.shape.push_back(static_cast<std::int64_t>(natural(key, "shape", size)));
    const json& offsets = field(key, entry, "data_offsets");
    if (!offsets.is_array() || offsets.size() != 2) {
      fail(Category::Corruption, where_, "tensor '{}': 'data_offsets' is not a pair; fetch it again", printable(key));
    }
    const std::uint64_t from = natural(key, "data_offsets", offsets[0]), to = natural(key, "data_offsets", offsets[1]);
    info.bytes = checked_bytes(where_, key, info.dtype, info.shape);
    if (to < from || to - from != info.bytes) {
      fail(Category::Corruption, where_,
           "tensor '{}': data_offsets [{}, {}] do not fit {} [{}], which needs {} bytes; fetch it again",
           printable(key), from, to, name(info.dtype), fmt::join(info.shape, ", "), info.bytes);
    }
    info.offset = data_begin_ + from;
    return info;
  }

  // The format has no padding between tensors: unclaimed bytes mean a wrong header or something hidden in the file.
  void check_no_gaps() const {
    std::uint64_t end = data_begin_;
    for (const TensorInfo& info : tensors_) {
      if (info.bytes == 0) continue;
      if (info.offset != end)
        fail(Category::Corruption, where_, "{} bytes before tensor '{}' belong to none; fetch it again",
             info.offset - end, printable(info.name));
      end += info.bytes;
    }
    if (end != file_.bytes().size()) {
      fail(Category::Corruption, where_, "{} bytes behind the last tensor belong to none; fetch it again",
           file_.bytes().size() - end);
    }
  }

  std::vector<std::filesystem::path> files_;
  MappedFile file_;
  std::string where_;
  std::uint64_t data_begin_ = 0;
  std::vector<TensorInfo> tensors_;
  json metadata_ = json::object();
};

}  // namespace

DType safetensors_dtype(const std::string& where, const std::string& tensor, const std::string& text) {
  for (DType dtype : {DType::F64, DType::F32, DType::F16, DType::BF16, DType::F8_E4M3, DType::F8_E5M2, DType::I64,
                      DType::I32, DType::I16, DType::I8, DType::U64, DType::U32, DType::U16, DType::U8, DType::Bool}) {
    if (text == name(dtype)) return dtype;
  }
  fail(Category::Unsupported, where,
       "tensor '{}' has the dtype '{}', which graft does not read; save it as F32, F16 or BF16", printable(tensor),
       printable(text));
}

std::unique_ptr<TensorSource> open_safetensors(const std::filesystem::path& path) {
  return std::make_unique<Safetensors>(path);
}

}  // namespace graft
