#include "checkpoint/zip.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "base/error.h"
#include "checkpoint/layout.h"

namespace graft {
namespace {

constexpr std::uint32_t kEndSignature = 0x06054b50, kEnd64Signature = 0x06064b50, kLocator64Signature = 0x07064b50,
                        kDirectorySignature = 0x02014b50, kLocalSignature = 0x04034b50;
constexpr std::uint64_t kEndSize = 22, kEnd64Size = 56, kLocator64Size = 20, kDirectorySize = 46, kLocalSize = 30;
constexpr std::uint64_t kLongestComment = 65535;

class Zip {
 public:
  Zip(std::span<const std::byte> bytes, const std::string& where) : bytes_(bytes), where_(where) {}

  std::vector<ZipEntry> entries() {
    find_directory();
    std::vector<ZipEntry> all;
    std::uint64_t at = directory_;
    for (std::uint64_t i = 0; i < count_; ++i) all.push_back(read_entry(at));
    check_apart(all);
    return all;
  }

 private:
  template <typename T>
  T number(std::uint64_t at) const {
    if (at > bytes_.size() || sizeof(T) > bytes_.size() - at) {
      fail(Category::Corruption, where_,
           "zip directory points beyond the file's {} bytes: truncated or damaged; fetch it again", bytes_.size());
    }
    T value;
    std::memcpy(&value, bytes_.data() + at, sizeof value);
    return value;
  }

  std::string text(std::uint64_t at, std::uint64_t length) const {
    if (length > 0) number<std::uint8_t>(at + length - 1);
    return std::string(reinterpret_cast<const char*>(bytes_.data()) + at, length);
  }

  // The end record lies at the very end, behind at most a comment.
  void find_directory() {
    const std::uint64_t size = bytes_.size();
    std::uint64_t end = size;
    for (std::uint64_t back = kEndSize; back <= std::min(size, kEndSize + kLongestComment); ++back) {
      if (number<std::uint32_t>(size - back) == kEndSignature &&
          number<std::uint16_t>(size - back + 20) == back - kEndSize) {
        end = size - back;
        break;
      }
    }
    if (end == size) fail(Category::Corruption, where_, "has no zip directory at its end: truncated; fetch it again");
    if (number<std::uint16_t>(end + 4) != 0) fail(Category::Unsupported, where_, "is one part of a split zip archive");
    count_ = number<std::uint16_t>(end + 10);
    directory_ = number<std::uint32_t>(end + 16);
    if (end >= kLocator64Size && number<std::uint32_t>(end - kLocator64Size) == kLocator64Signature) {
      const auto end64 = number<std::uint64_t>(end - kLocator64Size + 8);
      if (end64 > size || size - end64 < kEnd64Size || number<std::uint32_t>(end64) != kEnd64Signature) {
        fail(Category::Corruption, where_, "has a damaged zip64 end record");
      }
      count_ = number<std::uint64_t>(end64 + 32);
      directory_ = number<std::uint64_t>(end64 + 48);
    }
    if (directory_ > size || count_ > (size - directory_) / kDirectorySize) {
      fail(Category::Corruption, where_, "zip directory claims {} entries, more than the file can hold; fetch it again",
           count_);
    }
  }

  ZipEntry read_entry(std::uint64_t& at) {
    if (number<std::uint32_t>(at) != kDirectorySignature)
      fail(Category::Corruption, where_, "zip directory is damaged at byte {}; fetch it again", at);
    const auto flags = number<std::uint16_t>(at + 8), method = number<std::uint16_t>(at + 10);
    const std::uint64_t name_size = number<std::uint16_t>(at + 28), extra_size = number<std::uint16_t>(at + 30),
                        comment_size = number<std::uint16_t>(at + 32);
    ZipEntry entry;
    entry.name = text(at + kDirectorySize, name_size);
    entry.crc32 = number<std::uint32_t>(at + 16);
    if ((flags & 1) != 0) fail(Category::Unsupported, where_, "entry '{}' is encrypted", printable(entry.name));
    if (method != 0) {
      fail(Category::Unsupported, where_,
           "entry '{}' is compressed (method {}); torch.save writes uncompressed archives, re-save it",
           printable(entry.name), method);
    }
    entry.bytes = number<std::uint32_t>(at + 24);
    std::uint64_t local = number<std::uint32_t>(at + 42);
    read_zip64(at + kDirectorySize + name_size, extra_size, entry, local);
    place(entry, local);
    at += kDirectorySize + name_size + extra_size + comment_size;
    return entry;
  }

  // The extra field 1 replaces, in this order, each 32-bit value that is all ones.
  void read_zip64(std::uint64_t at, std::uint64_t size, ZipEntry& entry, std::uint64_t& local) const {
    const std::uint64_t end = at + size;
    while (at + 4 <= end) {
      const std::uint64_t length = number<std::uint16_t>(at + 2);
      if (number<std::uint16_t>(at) == 1) {
        std::uint64_t value = at + 4;
        if (entry.bytes == 0xffffffff) {
          entry.bytes = number<std::uint64_t>(value);
          value += 16;  // uncompressed, then the equal compressed size
        }
        if (local == 0xffffffff) local = number<std::uint64_t>(value);
        return;
      }
      at += 4 + length;
    }
  }

  void place(ZipEntry& entry, std::uint64_t local) const {
    if (local > bytes_.size() || number<std::uint32_t>(local) != kLocalSignature) {
      fail(Category::Corruption, where_, "entry '{}' is not where the zip directory says; fetch it again",
           printable(entry.name));
    }
    entry.offset = local + kLocalSize + number<std::uint16_t>(local + 26) + number<std::uint16_t>(local + 28);
    if (entry.offset > bytes_.size() || entry.bytes > bytes_.size() - entry.offset) {
      fail(Category::Corruption, where_, "entry '{}' claims {} bytes at {}, but the file has {}; fetch it again",
           printable(entry.name), entry.bytes, entry.offset, bytes_.size());
    }
  }

  void check_apart(const std::vector<ZipEntry>& all) const {
    std::set<std::string_view> names;
    std::vector<const ZipEntry*> order;
    for (const ZipEntry& entry : all) {
      if (!names.insert(entry.name).second)
        fail(Category::Corruption, where_, "entry '{}' is there twice; fetch it again", printable(entry.name));
      if (entry.bytes > 0) order.push_back(&entry);
    }
    std::sort(order.begin(), order.end(), [](auto* a, auto* b) { return a->offset < b->offset; });
    for (std::size_t i = 1; i < order.size(); ++i) {
      if (order[i - 1]->offset + order[i - 1]->bytes > order[i]->offset) {
        fail(Category::Corruption, where_, "entries '{}' and '{}' overlap; fetch it again",
             printable(order[i - 1]->name), printable(order[i]->name));
      }
    }
  }

  std::span<const std::byte> bytes_;
  const std::string& where_;
  std::uint64_t directory_ = 0;
  std::uint64_t count_ = 0;
};

}  // namespace

std::vector<ZipEntry> read_zip(std::span<const std::byte> archive, const std::string& where) {
  return Zip(archive, where).entries();
}

void check_crc(std::span<const std::byte> archive, const ZipEntry& entry, const std::string& where) {
  const auto* data = reinterpret_cast<const unsigned char*>(archive.data() + entry.offset);
  if (::crc32_z(0, data, entry.bytes) != entry.crc32) {
    fail(Category::Corruption, where, "entry '{}' does not have its checksum: a bit flipped on the way; fetch it again",
         printable(entry.name));
  }
}

}  // namespace graft
