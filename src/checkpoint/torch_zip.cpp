#include "checkpoint/torch_zip.h"

#include <cstring>
#include <map>
#include <mutex>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/layout.h"
#include "checkpoint/pickle.h"
#include "checkpoint/zip.h"

namespace graft {
namespace {

using Kind = PickleValue::Kind;

// How a tensor lies in its storage, beside its TensorInfo.
struct Placement {
  const ZipEntry* storage = nullptr;
  std::vector<std::int64_t> strides;
  bool contiguous = true;
};

bool is_contiguous(const std::vector<std::int64_t>& shape, const std::vector<std::int64_t>& strides) {
  std::int64_t expected = 1;
  for (std::size_t i = shape.size(); i > 0; --i) {
    if (shape[i - 1] != 1 && strides[i - 1] != expected) return false;
    expected *= shape[i - 1];
  }
  return true;
}

class TorchZip : public TensorSource {
 public:
  explicit TorchZip(const std::filesystem::path& path) : files_{path}, file_(path), where_(path.string()) {
    refuse_old_format();
    entries_ = read_zip(file_.bytes(), where_);
    const ZipEntry& program = find_pickle();
    refuse_big_endian();
    check_crc(file_.bytes(), program, where_);
    const Pickle pickle =
        read_pickle(file_.text().substr(program.offset, program.bytes), where_ + ": " + printable(program.name));
    add_tensors(*state_dict(*pickle.top));
  }

  std::string format() const override { return "pytorch"; }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const std::vector<std::filesystem::path>& files() const override { return files_; }
  const nlohmann::json& metadata() const override { return metadata_; }

  std::span<const std::byte> bytes(const TensorInfo& info) const override {
    const Placement& placement = placements_.at(info.name);
    const std::lock_guard lock(mutex_);
    if (placement.storage != nullptr && checked_.insert(placement.storage).second) {
      try {
        check_crc(file_.bytes(), *placement.storage, where_);
        file_.release(file_.bytes().subspan(placement.storage->offset, placement.storage->bytes));
      } catch (const Error&) {
        checked_.erase(placement.storage);
        throw;
      }
    }
    if (placement.contiguous) return file_.bytes().subspan(info.offset, info.bytes);
    std::vector<std::byte>& copy = copies_[info.name];
    if (copy.empty()) copy = gathered(info, placement.strides);
    return copy;
  }
  void release(const TensorInfo& info) const override {
    if (placements_.at(info.name).contiguous) file_.release(file_.bytes().subspan(info.offset, info.bytes));
  }
  void prefetch(const TensorInfo& info) const override {
    if (placements_.at(info.name).contiguous) file_.prefetch(file_.bytes().subspan(info.offset, info.bytes));
  }

 private:
  void refuse_old_format() const {
    const std::string_view text = file_.text();
    // The pickled magic number with which torch.save began before version 1.6.
    if (text.starts_with("\x80\x02\x8a\x0a")) {
      fail(Category::Unsupported, where_,
           "was written by PyTorch before 1.6; load and save it again with a current version");
    }
    if (is_bare_pickle(text)) {
      fail(Category::Unsupported, where_,
           "is a bare pickle, not a zip file of torch.save's, and reading one runs what it says; where you trust it, "
           "load "
           "it and save its tensors as safetensors");
    }
  }

  const ZipEntry& find_pickle() {
    for (const ZipEntry& entry : entries_) {
      if (entry.name != "data.pkl" && !entry.name.ends_with("/data.pkl")) continue;
      prefix_ = entry.name.substr(0, entry.name.size() - std::string_view("data.pkl").size());
      if (find_entry(prefix_ + "constants.pkl") != nullptr) {
        fail(Category::Unsupported, where_, "is a TorchScript program, not a checkpoint; save its state_dict()");
      }
      return entry;
    }
    fail(Category::Corruption, where_, "is a zip archive without data.pkl, not a PyTorch checkpoint");
  }

  const ZipEntry* find_entry(const std::string& name) const {
    for (const ZipEntry& entry : entries_) {
      if (entry.name == name) return &entry;
    }
    return nullptr;
  }

  void refuse_big_endian() const {
    const ZipEntry* order = find_entry(prefix_ + "byteorder");
    if (order != nullptr && file_.text().substr(order->offset, order->bytes) == "big") {
      fail(Category::Unsupported, where_, "was written on a big-endian machine");
    }
  }

  static bool has_tensors(const PickleValue& dict) {
    for (const auto& [key, value] : dict.pairs) {
      if (value->kind == Kind::Tensor) return true;
    }
    return false;
  }

  // Training frameworks wrap the state dict: the one dictionary of tensors inside a dictionary without tensors.
  const PickleValue* state_dict(const PickleValue& top) const {
    if (top.kind != Kind::Dict)
      fail(Category::Unsupported, where_, "does not hold a dictionary of tensors; save model.state_dict()");
    if (has_tensors(top) || top.pairs.empty()) return &top;
    for (const char* name : {"state_dict", "model_state_dict", "model", "module"}) {
      for (const auto& [key, value] : top.pairs) {
        if (key->text == name && value->kind == Kind::Dict && has_tensors(*value)) return value;
      }
    }
    fail(Category::Unsupported, where_,
         "holds no tensors at its top nor under 'state_dict', 'model_state_dict', 'model' or 'module'");
  }

  void add_tensors(const PickleValue& dict) {
    std::map<std::string, const ZipEntry*> storages;
    for (const ZipEntry& entry : entries_) storages[entry.name] = &entry;
    for (const auto& [key, value] : dict.pairs) {
      // Counters and hyper-parameters beside the tensors are not weights.
      if (value->kind != Kind::Tensor) continue;
      if (key->kind != Kind::String || !is_utf8(key->text))
        fail(Category::Corruption, where_, "tensor name '{}' is not valid", printable(key->text));
      if (placements_.contains(key->text))
        fail(Category::Corruption, where_, "tensor '{}' is there twice", printable(key->text));
      const auto found = storages.find(prefix_ + "data/" + value->items[0]->text);
      if (found == storages.end()) {
        fail(Category::Corruption, where_, "tensor '{}' lies in storage '{}', which is not in the archive",
             printable(key->text), printable(value->items[0]->text));
      }
      add_tensor(key->text, *value, *found->second);
    }
  }

  void add_tensor(const std::string& name, const PickleValue& tensor, const ZipEntry& storage) {
    TensorInfo info;
    info.name = name;
    info.dtype = tensor.items[0]->dtype;
    info.shape = tensor.shape;
    info.bytes = checked_bytes(where_, name, info.dtype, info.shape);
    const auto size = static_cast<std::uint64_t>(block_bytes(info.dtype));
    const std::uint64_t held = storage.bytes / size, offset = static_cast<std::uint64_t>(tensor.integer);
    if (held < static_cast<std::uint64_t>(tensor.items[0]->integer)) {
      fail(Category::Corruption, where_, "storage '{}' has {} values, {} were promised", printable(storage.name), held,
           tensor.items[0]->integer);
    }
    // The last element touched, in elements; also bounds the copy of an expanded tensor by the bytes really there.
    std::uint64_t last = offset;
    bool overflow = info.bytes / size > held;
    for (std::size_t i = 0; i < info.shape.size() && info.bytes > 0; ++i) {
      std::uint64_t span = 0;
      overflow |= __builtin_mul_overflow(static_cast<std::uint64_t>(info.shape[i] - 1),
                                         static_cast<std::uint64_t>(tensor.strides[i]), &span);
      overflow |= __builtin_add_overflow(last, span, &last);
    }
    if (overflow || offset > held || (info.bytes > 0 && last >= held)) {
      fail(Category::Corruption, where_, "tensor '{}' [{}] reaches beyond the {} values of its storage",
           printable(name), fmt::join(info.shape, ", "), held);
    }
    info.offset = storage.offset + offset * size;
    placements_[name] = {info.bytes > 0 ? &storage : nullptr, tensor.strides,
                         info.bytes == 0 || is_contiguous(info.shape, tensor.strides)};
    tensors_.push_back(std::move(info));
  }

  std::vector<std::byte> gathered(const TensorInfo& info, const std::vector<std::int64_t>& strides) const {
    const auto size = static_cast<std::size_t>(block_bytes(info.dtype));
    const std::byte* base = file_.bytes().data() + info.offset;
    std::vector<std::byte> copy(info.bytes);
    std::vector<std::int64_t> index(info.shape.size(), 0);
    std::int64_t from = 0;
    for (std::size_t to = 0; to < copy.size(); to += size) {
      std::memcpy(copy.data() + to, base + static_cast<std::size_t>(from) * size, size);
      for (std::size_t axis = index.size(); axis > 0; --axis) {
        // An axis of one value is never stepped along: its stride is checked by nothing, and may be any number.
        if (info.shape[axis - 1] == 1) continue;
        from += strides[axis - 1];
        if (++index[axis - 1] < info.shape[axis - 1]) break;
        from -= strides[axis - 1] * info.shape[axis - 1];
        index[axis - 1] = 0;
      }
    }
    return copy;
  }

  std::vector<std::filesystem::path> files_;
  MappedFile file_;
  std::string where_;
  std::string prefix_;
  std::vector<ZipEntry> entries_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, Placement, std::less<>> placements_;
  nlohmann::json metadata_ = nlohmann::json::object();
  mutable std::mutex mutex_;
  mutable std::set<const ZipEntry*> checked_;
  mutable std::map<std::string, std::vector<std::byte>> copies_;
};

}  // namespace

bool is_bare_pickle(std::string_view bytes) {
  constexpr unsigned char kProtocol = 0x80;  // an opcode that only a stream begins with, and only from protocol 2 on
  return bytes.size() > 2 && static_cast<unsigned char>(bytes[0]) == kProtocol && bytes[1] >= 2 && bytes[1] <= 5;
}

std::unique_ptr<TensorSource> open_torch_zip(const std::filesystem::path& path) {
  return std::make_unique<TorchZip>(path);
}

}  // namespace graft
