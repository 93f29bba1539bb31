// An unfinished download.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace graft {

/// A file that bytes are appended to and that stays where the process ends, so that a download can go on later. While
/// it lives it is held by flock: another process, or thread, that wants the same waits for it. File systems without
/// flock are used unlocked. Members throw Io or ResourceExhausted (disk full) that name the file. One thread at a time.
class PartialFile {
 public:
  /// Opens what is there of it, or a new one. `what` is told on standard error where it waits. Throws Cancelled on
  /// Ctrl-C meanwhile.
  PartialFile(std::filesystem::path path, const std::string& what);
  ~PartialFile();
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return size_; }

  void append(std::string_view bytes);
  /// Forgets what is there behind the first `keep` bytes, of which there are that many.
  void restart(std::uint64_t keep = 0);
  void sync() const;
  /// It is whole: becomes `target`.
  void become(const std::filesystem::path& target) const;
  /// Removes it.
  void discard() const;

 private:
  void open();
  void lock(const std::string& what);
  bool is_in_place() const;
  [[noreturn]] void fail_with_errno() const;

  std::filesystem::path path_;
  int descriptor_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace graft
