// Files: read-only memory maps and writes that are whole or absent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

/// A whole file mapped read-only and shared: pages are read on first touch and may be dropped by the kernel. Movable.
/// Throws NotFound, Io (also for a folder, a device or a pipe). An empty file maps to an empty span.
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
  /// The whole pages of `part` of bytes() no longer count as this process's memory; touched again, they are read again.
  void release(std::span<const std::byte> part) const;
  /// The system begins to read `part` of bytes(), which will soon be touched; nothing waits for it.
  void prefetch(std::span<const std::byte> part) const;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// A file or a pipe read from front to back. Throws NotFound, Io (also for a folder or a device).
class FileStream {
 public:
  explicit FileStream(const std::filesystem::path& path);
  ~FileStream();
  FileStream(const FileStream&) = delete;
  FileStream& operator=(const FileStream&) = delete;

  /// Appends at most `bytes` (1 or more) to `buffer`; false where nothing is left. Throws Io.
  bool read(std::string& buffer, std::size_t bytes);
  /// Bytes that read() has given so far.
  std::uint64_t position() const { return position_; }

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::uint64_t position_ = 0;
};

/// A name beside `path` for what is not whole yet. No other process draws the same, also not one of the same id in
/// another container; remove_leftovers() knows such names.
std::filesystem::path temporary_beside(std::filesystem::path path);

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
  /// What was written is on the disk, still under the temporary name. Throws as commit().
  void sync();
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
  std::uint64_t position_ = 0;
};

/// A folder that appears under its name only when it is whole: files are written below path(), commit() renames it into
/// place. Destroyed without commit(), it leaves nothing behind. Throws as refuse_occupied() and make_folder() do.
class AtomicFolder {
 public:
  enum class Occupied { Refused, Replaced };
  /// Replaced: what has the name already keeps it until commit() gives it to the new folder, in one step where the file
  /// system can, and removes the old one.
  explicit AtomicFolder(const std::filesystem::path& target, Occupied occupied = Occupied::Refused);
  ~AtomicFolder();
  AtomicFolder(const AtomicFolder&) = delete;
  AtomicFolder& operator=(const AtomicFolder&) = delete;

  const std::filesystem::path& path() const { return temporary_; }
  void commit();

 private:
  void replace();

  std::filesystem::path target_;
  std::filesystem::path temporary_;
  Occupied occupied_;
};

/// For whoever writes with system calls: throws what errno says of `path`, which "cannot be `doing`": ResourceExhausted
/// (disk full, quota), else Io.
[[noreturn]] void fail_write(const std::filesystem::path& path, const char* doing);

/// Throws InvalidArgument unless `path` is absent or an empty folder, Io where that cannot be told.
void refuse_occupied(const std::filesystem::path& path);

/// Removes what an AtomicFile or AtomicFolder of a killed process left below `folder`. The caller holds whatever keeps
/// other processes from writing there.
void remove_leftovers(const std::filesystem::path& folder);

/// True for a name that ends in ".parquet", by which files of that format are told before they are opened.
bool is_parquet(const std::filesystem::path& path);

/// The whole file (or what a pipe gives) as a string. Throws NotFound, Io (also for a folder or a device).
std::string read_file(const std::filesystem::path& path);

/// AtomicFile in one call.
void write_file(const std::filesystem::path& path, std::string_view text);

/// Files that tell of one thing, of which none is to be newer than another: the first gets its name only when all are
/// on the disk, so that a full one leaves what was there. Throws as AtomicFile.
void write_files(const std::vector<std::pair<std::filesystem::path, std::string>>& files);

/// Bytes that this user may still write to the file system of `path`; where nothing is there yet, to that of the
/// nearest folder above it that is. Nothing where the system does not tell.
std::optional<std::int64_t> free_space(const std::filesystem::path& path);

/// Creates the folder and its parents. Throws Io that names the folder.
void make_folder(const std::filesystem::path& path);

}  // namespace graft
