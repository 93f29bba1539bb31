#include "checkpoint/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <mutex>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/gguf_parts.h"
#include "checkpoint/layout.h"

namespace graft {
namespace {

using nlohmann::json;

constexpr std::uint64_t kDefaultAlignment = 32;
constexpr std::uint32_t kMostDimensions = 4;
constexpr int kDeepestArray = 4;
// Far above any vocabulary; bounds the memory a metadata array can ask for.
constexpr std::uint64_t kLongestArray = 1 << 24;
constexpr std::string_view kTokenizerKeys = "tokenizer.";

struct TypeNumber {
  std::uint32_t number;
  DType dtype;
};

constexpr TypeNumber kTypes[] = {{0, DType::F32},     {1, DType::F16},   {2, DType::Q4_0},  {3, DType::Q4_1},
                                 {6, DType::Q5_0},    {7, DType::Q5_1},  {8, DType::Q8_0},  {10, DType::Q2_K},
                                 {11, DType::Q3_K},   {12, DType::Q4_K}, {13, DType::Q5_K}, {14, DType::Q6_K},
                                 {20, DType::IQ4_NL}, {24, DType::I8},   {25, DType::I16},  {26, DType::I32},
                                 {27, DType::I64},    {28, DType::F64},  {30, DType::BF16}};

// Reads forward through the file; never past its end.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, const std::string& where, std::uint64_t position = 0)
      : bytes_(bytes), where_(where), position_(position) {}

  std::uint64_t position() const { return position_; }
  std::uint64_t left() const { return bytes_.size() - position_; }

  template <typename T>
  T number(const char* what) {
    T value;
    std::memcpy(&value, take(sizeof value, what), sizeof value);
    return value;
  }

  std::string text(const char* what) {
    const auto length = number<std::uint64_t>(what);
    const auto* at = take(length, what);
    return std::string(reinterpret_cast<const char*>(at), length);
  }
  void skip_text(const char* what) { take(number<std::uint64_t>(what), what); }
  void skip(std::uint64_t bytes, const char* what) { take(bytes, what); }

 private:
  const std::byte* take(std::uint64_t count, const char* what) {
    if (count > left()) {
      fail(Category::Corruption, where_,
           "{} at byte {} needs {} bytes and the file has {} left: truncated or damaged; fetch it again", what,
           position_, count, left());
    }
    const std::byte* at = bytes_.data() + position_;
    position_ += count;
    return at;
  }

  std::span<const std::byte> bytes_;
  const std::string& where_;
  std::uint64_t position_;
};

std::uint64_t smallest_size(GgufValue type) {
  switch (type) {
    case GgufValue::U8:
    case GgufValue::I8:
    case GgufValue::Bool:
      return 1;
    case GgufValue::U16:
    case GgufValue::I16:
      return 2;
    case GgufValue::U32:
    case GgufValue::I32:
    case GgufValue::F32:
      return 4;
    case GgufValue::Array:
      return 12;
    default:
      return 8;
  }
}

class Gguf : public TensorSource {
 public:
  explicit Gguf(const std::filesystem::path& path) : files_{path}, file_(path), where_(path.string()) {
    static_assert(std::endian::native == std::endian::little);
    Cursor cursor(file_.bytes(), where_);
    check_version(cursor);
    const auto tensor_count = cursor.number<std::uint64_t>("tensor count");
    const auto value_count = cursor.number<std::uint64_t>("metadata count");
    // The shortest tensor entry takes 24 bytes, the shortest metadata entry 13.
    if (tensor_count > cursor.left() / 24 || value_count > cursor.left() / 13) {
      fail(Category::Corruption, where_,
           "claims {} tensors and {} metadata entries, more than its {} bytes can hold; fetch it again", tensor_count,
           value_count, file_.bytes().size());
    }
    for (std::uint64_t i = 0; i < value_count; ++i) read_entry(cursor);
    for (std::uint64_t i = 0; i < tensor_count; ++i) tensors_.push_back(read_tensor(cursor));
    place_tensors(cursor.position());
  }

  std::string format() const override { return "gguf"; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const std::vector<std::filesystem::path>& files() const override { return files_; }
  const json& settings() const override { return settings_; }
  const json& metadata() const override {
    std::call_once(all_read_, [this] {
      metadata_ = settings_;
      for (const auto& [key, position] : arrays_) {
        Cursor cursor(file_.bytes(), where_, position);
        metadata_[key] = read_array(cursor, key, 0);
      }
    });
    return metadata_;
  }
  std::span<const std::byte> bytes(const TensorInfo& info) const override {
    return file_.bytes().subspan(info.offset, info.bytes);
  }
  void release(const TensorInfo& info) const override { file_.release(bytes(info)); }
  void prefetch(const TensorInfo& info) const override { file_.prefetch(bytes(info)); }

  GgufMetadata raw_metadata(const std::vector<std::string>& left_out) const {
    GgufMetadata raw{0, "", alignment()};
    for (const Entry& entry : entries_) {
      if (entry.key.starts_with(kGgufPartKeys) || std::ranges::find(left_out, entry.key) != left_out.end()) continue;
      ++raw.count;
      raw.bytes += file_.text().substr(entry.begin, entry.end - entry.begin);
    }
    return raw;
  }

 private:
  // A key and its value, where they lie in the file.
  struct Entry {
    std::string key;
    std::uint64_t begin = 0, end = 0;
  };

  void check_version(Cursor& cursor) const {
    if (cursor.left() < 4 || file_.text().substr(0, 4) != "GGUF")
      fail(Category::Corruption, where_, "is not a GGUF file; fetch it again");
    cursor.number<std::uint32_t>("magic");
    const auto version = cursor.number<std::uint32_t>("version");
    if (version == 2 || version == 3) return;
    if (version == 0x02000000 || version == 0x03000000)
      fail(Category::Unsupported, where_, "is a big-endian GGUF file; convert it to little-endian");
    fail(Category::Unsupported, where_, "has GGUF version {}; graft reads 2 and 3", version);
  }

  void read_entry(Cursor& cursor) {
    const std::uint64_t begin = cursor.position();
    const std::string key = cursor.text("metadata key");
    if (key.empty() || !is_utf8(key))
      fail(Category::Corruption, where_, "metadata key '{}' is not valid; fetch it again", printable(key));
    if (settings_.contains(key) || arrays_.contains(key))
      fail(Category::Corruption, where_, "metadata key '{}' is there twice; fetch it again", printable(key));
    const GgufValue type = read_type(cursor, key);
    if (type == GgufValue::Array && key.starts_with(kTokenizerKeys)) {
      arrays_.emplace(key, cursor.position());
      pass_array(cursor, key, 0);
    } else {
      settings_[key] = read_value(cursor, key, type, 0);
    }
    entries_.push_back({key, begin, cursor.position()});
  }

  GgufValue read_type(Cursor& cursor, const std::string& key) const {
    const auto type = cursor.number<std::uint32_t>("metadata type");
    if (type > static_cast<std::uint32_t>(GgufValue::F64)) {
      fail(Category::Corruption, where_, "metadata '{}' has the unknown value type {}; fetch it again", printable(key),
           type);
    }
    return static_cast<GgufValue>(type);
  }

  json read_value(Cursor& cursor, const std::string& key, GgufValue type, int depth) const {
    switch (type) {
      case GgufValue::U8:
        return cursor.number<std::uint8_t>("metadata value");
      case GgufValue::I8:
        return cursor.number<std::int8_t>("metadata value");
      case GgufValue::U16:
        return cursor.number<std::uint16_t>("metadata value");
      case GgufValue::I16:
        return cursor.number<std::int16_t>("metadata value");
      case GgufValue::U32:
        return cursor.number<std::uint32_t>("metadata value");
      case GgufValue::I32:
        return cursor.number<std::int32_t>("metadata value");
      case GgufValue::F32:
        return cursor.number<float>("metadata value");
      case GgufValue::Bool:
        return cursor.number<std::uint8_t>("metadata value") != 0;
      case GgufValue::String:
        return cursor.text("metadata text");
      case GgufValue::U64:
        return cursor.number<std::uint64_t>("metadata value");
      case GgufValue::I64:
        return cursor.number<std::int64_t>("metadata value");
      case GgufValue::F64:
        return cursor.number<double>("metadata value");
      case GgufValue::Array:
        break;
    }
    return read_array(cursor, key, depth);
  }

  struct ArrayHead {
    GgufValue type;
    std::uint64_t count;
  };

  ArrayHead read_array_head(Cursor& cursor, const std::string& key, int depth) const {
    if (depth >= kDeepestArray)
      fail(Category::Corruption, where_, "metadata '{}': arrays nested too deeply; fetch it again", printable(key));
    const GgufValue type = read_type(cursor, key);
    const auto count = cursor.number<std::uint64_t>("metadata array");
    if (count > kLongestArray || count > cursor.left() / smallest_size(type)) {
      fail(Category::Corruption, where_, "metadata '{}' claims {} entries, more than can be true; fetch it again",
           printable(key), count);
    }
    return {type, count};
  }

  // As read_array(), whose errors are found here.
  void pass_array(Cursor& cursor, const std::string& key, int depth) const {
    const auto [type, count] = read_array_head(cursor, key, depth);
    if (type != GgufValue::String && type != GgufValue::Array)
      return cursor.skip(count * smallest_size(type), "metadata value");
    for (std::uint64_t i = 0; i < count; ++i) {
      if (type == GgufValue::String) {
        cursor.skip_text("metadata text");
      } else {
        pass_array(cursor, key, depth + 1);
      }
    }
  }

  json read_array(Cursor& cursor, const std::string& key, int depth) const {
    const auto [type, count] = read_array_head(cursor, key, depth);
    json array = json::array();
    auto& items = array.get_ref<json::array_t&>();
    items.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) items.push_back(read_value(cursor, key, type, depth + 1));
    return array;
  }

  TensorInfo read_tensor(Cursor& cursor) const {
    TensorInfo info;
    info.name = cursor.text("tensor name");
    if (info.name.empty() || !is_utf8(info.name))
      fail(Category::Corruption, where_, "tensor name '{}' is not valid; fetch it again", printable(info.name));
    const auto dimensions = cursor.number<std::uint32_t>("tensor dimensions");
    if (dimensions > kMostDimensions) {
      fail(Category::Corruption, where_, "tensor '{}' claims {} dimensions, at most {} are allowed; fetch it again",
           printable(info.name), dimensions, kMostDimensions);
    }
    info.shape.resize(dimensions);
    // GGUF writes the innermost dimension first.
    for (auto size = info.shape.rbegin(); size != info.shape.rend(); ++size) {
      *size = static_cast<std::int64_t>(cursor.number<std::uint64_t>("tensor shape"));
    }
    info.dtype = read_dtype(info.name, cursor.number<std::uint32_t>("tensor type"));
    info.bytes = checked_bytes(where_, info.name, info.dtype, info.shape);
    info.offset = cursor.number<std::uint64_t>("tensor offset");
    return info;
  }

  DType read_dtype(const std::string& tensor, std::uint32_t number) const {
    for (const TypeNumber& type : kTypes) {
      if (type.number == number) return type.dtype;
    }
    fail(Category::Unsupported, where_,
         "tensor '{}' has the GGML type {}; graft reads F32 F16 BF16 F64 I8 I16 I32 I64 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K "
         "Q3_K Q4_K Q5_K Q6_K IQ4_NL",
         printable(tensor), number);
  }

  // Offsets in the file count from the data section, which starts at the next multiple of the alignment.
  void place_tensors(std::uint64_t header_end) {
    const std::uint64_t step = alignment();
    const std::uint64_t begin = (header_end + step - 1) / step * step;
    for (TensorInfo& info : tensors_) {
      if (info.offset % step != 0) {
        fail(Category::Corruption, where_,
             "tensor '{}' starts at {}, which is not a multiple of the alignment {}; fetch it again",
             printable(info.name), info.offset, step);
      }
      if (__builtin_add_overflow(info.offset, begin, &info.offset)) {
        fail(Category::Corruption, where_, "tensor '{}' claims an impossible offset; fetch it again",
             printable(info.name));
      }
    }
    check_layout(where_, tensors_, begin, file_.bytes().size());
  }

  std::uint64_t alignment() const {
    const auto found = settings_.find("general.alignment");
    if (found == settings_.end()) return kDefaultAlignment;
    if (!found->is_number_unsigned() || !std::has_single_bit(found->get<std::uint64_t>()) ||
        found->get<std::uint64_t>() > 1 << 20) {
      fail(Category::Corruption, where_, "general.alignment is not a power of two up to 2^20; fetch it again");
    }
    return found->get<std::uint64_t>();
  }

  std::vector<std::filesystem::path> files_;
  MappedFile file_;
  std::string where_;
  std::vector<TensorInfo> tensors_;
  json settings_ = json::object();
  std::map<std::string, std::uint64_t> arrays_;  // of the tokenizer: where they begin
  std::vector<Entry> entries_;
  mutable std::once_flag all_read_;
  mutable json metadata_;
};

}  // namespace

std::unique_ptr<TensorSource> open_gguf(const std::filesystem::path& path) {
  auto file = open_gguf_part(path);
  const std::uint64_t parts = gguf_part_count(*file);
  return parts > 1 ? open_gguf_parts(path, parts) : std::move(file);
}

std::unique_ptr<TensorSource> open_gguf_part(const std::filesystem::path& path) {
  return std::make_unique<Gguf>(path);
}

GgufMetadata gguf_metadata(const std::filesystem::path& path, const std::vector<std::string>& left_out) {
  return Gguf(path).raw_metadata(left_out);
}

std::optional<std::uint32_t> ggml_type(DType dtype) {
  for (const TypeNumber& type : kTypes) {
    if (type.dtype == dtype) return type.number;
  }
  return std::nullopt;
}

}  // namespace graft
