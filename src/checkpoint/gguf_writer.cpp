// Writing GGUF version 3.
#include <cstring>
#include <limits>
#include <set>

#include "base/error.h"
#include "checkpoint/gguf.h"
#include "checkpoint/layout.h"
#include "checkpoint/writer.h"

namespace graft {
namespace {

using nlohmann::json;

template <typename T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_text(std::string& out, const std::string& text) {
  put<std::uint64_t>(out, text.size());
  out += text;
}

GgufValue integer_type(const json& value) {
  if (value.is_number_unsigned()) {
    return value.get<std::uint64_t>() <= std::numeric_limits<std::uint32_t>::max() ? GgufValue::U32 : GgufValue::U64;
  }
  const auto integer = value.get<std::int64_t>();
  return integer >= std::numeric_limits<std::int32_t>::min() && integer <= std::numeric_limits<std::int32_t>::max()
             ? GgufValue::I32
             : GgufValue::I64;
}

GgufValue type_of(const json& value, const std::string& where, const std::string& key) {
  if (value.is_boolean()) return GgufValue::Bool;
  if (value.is_string()) return GgufValue::String;
  if (value.is_number_integer()) return integer_type(value);
  if (value.is_number_float()) return GgufValue::F32;
  if (value.is_array() || value.is_binary()) return GgufValue::Array;
  fail(Category::InvalidArgument, where, "metadata '{}' holds a value GGUF cannot: {}", printable(key),
       value.type_name());
}

// One type for all elements: a float makes all floats, mixed integers become 64 bits wide.
GgufValue element_type(const json& array, const std::string& where, const std::string& key) {
  GgufValue type = array.empty() ? GgufValue::U32 : type_of(array.front(), where, key);
  for (const json& item : array) {
    const GgufValue other = type_of(item, where, key);
    if (other == type) continue;
    if (!item.is_number() || !array.front().is_number())
      fail(Category::InvalidArgument, where, "metadata '{}' mixes types in one array", printable(key));
    type = type == GgufValue::F32 || other == GgufValue::F32 ? GgufValue::F32 : GgufValue::I64;
  }
  return type;
}

void put_value(std::string& out, const json& value, GgufValue type, const std::string& where, const std::string& key) {
  switch (type) {
    case GgufValue::Bool:
      put<std::uint8_t>(out, value.get<bool>() ? 1 : 0);
      return;
    case GgufValue::String:
      put_text(out, value.get_ref<const std::string&>());
      return;
    case GgufValue::U32:
      put(out, value.get<std::uint32_t>());
      return;
    case GgufValue::I32:
      put(out, value.get<std::int32_t>());
      return;
    case GgufValue::U64:
      put(out, value.get<std::uint64_t>());
      return;
    case GgufValue::I64:
      put(out, value.get<std::int64_t>());
      return;
    case GgufValue::F32:
      put(out, value.get<float>());
      return;
    default:
      break;
  }
  if (value.is_binary()) {
    const auto& bytes = value.get_binary();
    put(out, static_cast<std::uint32_t>(GgufValue::U8));
    put<std::uint64_t>(out, bytes.size());
    out.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return;
  }
  const GgufValue inner = element_type(value, where, key);
  put(out, static_cast<std::uint32_t>(inner));
  put<std::uint64_t>(out, value.size());
  for (const json& item : value) put_value(out, item, inner, where, key);
}

void append(GgufMetadata& metadata, const json& values, const std::string& where) {
  metadata.count += values.size();
  for (const auto& [key, value] : values.items()) {
    put_text(metadata.bytes, key);
    const GgufValue type = type_of(value, where, key);
    put(metadata.bytes, static_cast<std::uint32_t>(type));
    put_value(metadata.bytes, value, type, where, key);
  }
}

GgufMetadata encoded(json metadata, const std::string& where) {
  // A file copied from another may have had a different alignment.
  metadata.erase("general.alignment");
  GgufMetadata result;
  append(result, metadata, where);
  return result;
}

class GgufWriter : public CheckpointWriter {
 public:
  GgufWriter(const std::filesystem::path& path, const std::vector<TensorPlan>& plan, const GgufMetadata& metadata)
      : plan_(plan),
        where_(path.string()),
        alignment_(metadata.alignment),
        header_(make_header(metadata)),
        file_(path) {
    file_.write(header_);
    pad();
  }

  void write(std::span<const std::byte> bytes) override {
    if (next_ == plan_.size())
      fail(Category::InvalidArgument, where_, "more tensors are written than the {} planned", plan_.size());
    if (bytes.size() != sizes_[next_]) {
      fail(Category::InvalidArgument, where_, "tensor '{}' needs {} bytes, {} were given", printable(plan_[next_].name),
           sizes_[next_], bytes.size());
    }
    file_.write(bytes);
    pad();
    ++next_;
  }

  void finish() override {
    if (next_ != plan_.size())
      fail(Category::InvalidArgument, where_, "tensor '{}' was planned and not written", printable(plan_[next_].name));
    file_.commit();
  }

 private:
  std::string make_header(const GgufMetadata& metadata) {
    std::string out = "GGUF";
    put<std::uint32_t>(out, 3);
    put<std::uint64_t>(out, plan_.size());
    put<std::uint64_t>(out, metadata.count);
    out += metadata.bytes;
    std::uint64_t offset = 0;
    std::set<std::string_view> names;
    for (const TensorPlan& tensor : plan_) {
      if (!is_utf8(tensor.name) || !names.insert(tensor.name).second) {
        fail(Category::InvalidArgument, where_, "tensor name '{}' is repeated or not UTF-8", printable(tensor.name));
      }
      offset = put_tensor(out, tensor, offset);
    }
    return out;
  }

  // Returns the offset of the next tensor.
  std::uint64_t put_tensor(std::string& out, const TensorPlan& tensor, std::uint64_t offset) {
    const auto type = ggml_type(tensor.dtype);
    if (!type)
      fail(Category::Unsupported, where_, "tensor '{}' is {}, which GGUF cannot hold", printable(tensor.name),
           name(tensor.dtype));
    if (tensor.shape.size() > 4)
      fail(Category::Unsupported, where_, "tensor '{}' has more than 4 dimensions", printable(tensor.name));
    put_text(out, tensor.name);
    put<std::uint32_t>(out, static_cast<std::uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size)
      put<std::uint64_t>(out, static_cast<std::uint64_t>(*size));
    put<std::uint32_t>(out, *type);
    put<std::uint64_t>(out, offset);
    sizes_.push_back(checked_bytes(where_, tensor.name, tensor.dtype, tensor.shape));
    return aligned(offset + sizes_.back());
  }

  std::uint64_t aligned(std::uint64_t position) const { return (position + alignment_ - 1) / alignment_ * alignment_; }

  void pad() {
    const std::vector<std::byte> zeros(aligned(file_.position()) - file_.position());
    file_.write(std::span(zeros));
  }

  std::vector<TensorPlan> plan_;
  std::string where_;
  std::uint64_t alignment_;
  std::vector<std::uint64_t> sizes_;
  std::string header_;
  AtomicFile file_;
  std::size_t next_ = 0;
};

}  // namespace

std::unique_ptr<CheckpointWriter> write_gguf(const std::filesystem::path& path, const std::vector<TensorPlan>& plan,
                                             const json& metadata) {
  return std::make_unique<GgufWriter>(path, plan, encoded(metadata, path.string()));
}

std::unique_ptr<CheckpointWriter> write_gguf_copy(const std::filesystem::path& path,
                                                  const std::vector<TensorPlan>& plan, GgufMetadata metadata,
                                                  const json& more) {
  append(metadata, more, path.string());
  return std::make_unique<GgufWriter>(path, plan, metadata);
}

}  // namespace graft
