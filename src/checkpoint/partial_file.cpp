#include "checkpoint/partial_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"

namespace graft {

namespace fs = std::filesystem;

PartialFile::PartialFile(fs::path path, const std::string& what) : path_(std::move(path)) {
  make_folder(path_.parent_path());
  open();
  lock(what);
  // Whoever held it may have renamed or removed it.
  while (!is_in_place()) {
    ::close(std::exchange(descriptor_, -1));
    open();
    lock(what);
  }
  size_ = static_cast<std::uint64_t>(std::max<off_t>(0, ::lseek(descriptor_, 0, SEEK_END)));
}

PartialFile::~PartialFile() {
  ::close(descriptor_);
}

void PartialFile::open() {
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (descriptor_ < 0) fail_with_errno();
}

void PartialFile::lock(const std::string& what) {
  constexpr std::chrono::milliseconds kPause{100};
  for (bool told = false; ::flock(descriptor_, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK; told = true) {
    if (!told) std::fprintf(stderr, "graft: note: another process fetches %s; waiting for it\n", what.c_str());
    if (interrupted()) {
      ::close(std::exchange(descriptor_, -1));
      fail_interrupted("the download");
    }
    std::this_thread::sleep_for(kPause);
  }
}

bool PartialFile::is_in_place() const {
  struct stat held {};
  struct stat there {};
  return ::fstat(descriptor_, &held) == 0 && ::stat(path_.c_str(), &there) == 0 && held.st_dev == there.st_dev &&
         held.st_ino == there.st_ino;
}

void PartialFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_with_errno();
    bytes.remove_prefix(static_cast<std::size_t>(written));
    size_ += static_cast<std::uint64_t>(written);
  }
}

void PartialFile::restart(std::uint64_t keep) {
  const auto end = static_cast<off_t>(keep);
  if (::ftruncate(descriptor_, end) != 0 || ::lseek(descriptor_, end, SEEK_SET) < 0) fail_with_errno();
  size_ = keep;
}

void PartialFile::sync() const {
  if (::fsync(descriptor_) != 0) fail_with_errno();
}

void PartialFile::become(const fs::path& target) const {
  std::error_code failed;
  fs::rename(path_, target, failed);
  if (failed) fail(Category::Io, target.string(), "cannot be created: {}", failed.message());
}

void PartialFile::discard() const {
  std::error_code ignored;
  fs::remove(path_, ignored);
}

void PartialFile::fail_with_errno() const {
  const bool full = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
  fail(full ? Category::ResourceExhausted : Category::Io, path_.string(), "cannot be written: {}; {}",
       std::strerror(errno),
       full ? "free some space or point HF_HOME elsewhere" : "point HF_HOME to a folder you may write to");
}

}  // namespace graft
