// Files: read-only memory maps and writes that are whole or absent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace graft {

/// A whole file mapped read-only and shared: pages are read on first touch and may be dropped by the kernel. Movable.
/// Throws NotFound, Io (also for a folder). An empty file maps to an empty span.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Writes to a temporary file beside `path`; commit() syncs it and renames it over `path`. Destroyed without commit(),
/// it leaves nothing behind. write() and commit() throw Io (no permission) or ResourceExhausted (disk full, quota).
/// Creates missing parent folders.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  std::uint64_t position() const { return position_; }
  void commit();

 private:
  [[noreturn]] void fail_with_errno(const char* doing) const;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
  std::uint64_t position_ = 0;
};

/// The whole file as a string. Throws NotFound, Io.
std::string read_file(const std::filesystem::path& path);

/// AtomicFile in one call.
void write_file(const std::filesystem::path& path, std::string_view text);

/// Creates the folder and its parents. Throws Io that names the folder.
void make_folder(const std::filesystem::path& path);

}  // namespace graft
