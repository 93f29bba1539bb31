#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <limits>
#include <list>
#include <random>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"

namespace graft {
namespace {

[[noreturn]] void fail_open(const std::filesystem::path& path, int error) {
  if (error == ENOENT) fail(Category::NotFound, path.string(), "no such file");
  fail(Category::Io, path.string(), "cannot be read: {}", std::strerror(error));
}

class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  int value() const { return value_; }
  int take() { return std::exchange(value_, -1); }

 private:
  int value_;
};

// A device such as /dev/zero has no end.
struct stat status_of_file(int descriptor, const std::filesystem::path& path, bool pipes) {
  struct stat status {};
  if (::fstat(descriptor, &status) != 0) fail_open(path, errno);
  if (S_ISDIR(status.st_mode)) fail(Category::Io, path.string(), "is a folder, a file was expected");
  if (!S_ISREG(status.st_mode) && !(pipes && S_ISFIFO(status.st_mode)))
    fail(Category::Io, path.string(), "is a device or a pipe, a file was expected");
  return status;
}

constexpr std::string_view kTemporary = ".tmp-";

bool is_temporary(const std::string& name) {
  const auto at = name.rfind(kTemporary);
  return at != std::string::npos && at + kTemporary.size() < name.size() &&
         name.find_first_not_of("0123456789", at + kTemporary.size()) == std::string::npos;
}

}  // namespace

std::filesystem::path temporary_beside(std::filesystem::path path) {
  path += fmt::format("{}{}{:010}", kTemporary, ::getpid(), std::random_device{}());
  return path;
}

void fail_write(const std::filesystem::path& path, const char* doing) {
  const int error = errno;
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    fail(Category::ResourceExhausted, path.string(), "cannot be {}: {}; free some space or choose another folder",
         doing, std::strerror(error));
  }
  fail(Category::Io, path.string(), "cannot be {}: {}; choose a folder you may write to", doing, std::strerror(error));
}

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  // A pipe, which is refused below, would be waited for.
  Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (descriptor.value() < 0) fail_open(path, errno);
  size_ = static_cast<std::size_t>(status_of_file(descriptor.value(), path, /*pipes=*/false).st_size);
  if (size_ == 0) return;
  void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, descriptor.value(), 0);
  if (mapped == MAP_FAILED) fail(Category::Io, path.string(), "cannot be mapped: {}", std::strerror(errno));
  data_ = static_cast<const std::byte*>(mapped);
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(std::span<const std::byte> part) const {
  // The mapping begins on a page, so that offsets into it tell where pages do.
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto offset = static_cast<std::size_t>(part.data() - data_);
  const std::size_t begin = (offset + page - 1) / page * page, end = (offset + part.size()) / page * page;
  if (begin < end) ::madvise(const_cast<std::byte*>(data_) + begin, end - begin, MADV_DONTNEED);
}

void MappedFile::prefetch(std::span<const std::byte> part) const {
  if (part.empty()) return;
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const auto offset = static_cast<std::size_t>(part.data() - data_), begin = offset / page * page;
  ::madvise(const_cast<std::byte*>(data_) + begin, offset + part.size() - begin, MADV_WILLNEED);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

FileStream::FileStream(const std::filesystem::path& path) : path_(path) {
  Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (descriptor.value() < 0) fail_open(path, errno);
  status_of_file(descriptor.value(), path, /*pipes=*/true);
  descriptor_ = descriptor.take();
}

FileStream::~FileStream() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

bool FileStream::read(std::string& buffer, std::size_t bytes) {
  const std::size_t before = buffer.size();
  buffer.resize(before + bytes);
  ssize_t count = -1;
  do count = ::read(descriptor_, buffer.data() + before, bytes);
  while (count < 0 && errno == EINTR);
  if (count < 0) fail_open(path_, errno);
  buffer.resize(before + static_cast<std::size_t>(count));
  position_ += static_cast<std::uint64_t>(count);
  return count > 0;
}

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  if (path_.has_parent_path()) make_folder(path_.parent_path());
  do {
    temporary_ = temporary_beside(path_);
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  } while (descriptor_ < 0 && errno == EEXIST);
  if (descriptor_ < 0) fail_write(path_, "created");
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      fail_write(path_, "written");
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    position_ += static_cast<std::uint64_t>(written);
  }
}

void AtomicFile::write(std::string_view text) {
  write(std::as_bytes(std::span(text)));
}

void AtomicFile::sync() {
  if (::fsync(descriptor_) != 0 && errno != EINVAL) fail_write(path_, "written");
}

void AtomicFile::commit() {
  sync();
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail_write(path_, "renamed into place");
  ::close(std::exchange(descriptor_, -1));
}

AtomicFolder::AtomicFolder(const std::filesystem::path& target, Occupied occupied)
    : target_(target.lexically_normal()), occupied_(occupied) {
  if (!target_.has_filename()) target_ = target_.parent_path();  // "out/"
  if (occupied_ == Occupied::Refused) refuse_occupied(target_);
  temporary_ = temporary_beside(target_);
  make_folder(temporary_);
}

AtomicFolder::~AtomicFolder() {
  std::error_code ignored;
  if (!temporary_.empty()) std::filesystem::remove_all(temporary_, ignored);
}

void AtomicFolder::commit() {
  // An empty folder in its place is replaced.
  if (::rename(temporary_.c_str(), target_.c_str()) == 0) {
    temporary_.clear();
  } else if (occupied_ == Occupied::Replaced && (errno == ENOTEMPTY || errno == EEXIST)) {
    replace();
  } else {
    fail_write(target_, "renamed into place");
  }
}

// The destructor removes the old one.
void AtomicFolder::replace() {
  if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, target_.c_str(), RENAME_EXCHANGE) == 0) return;
  // Not every file system lets two names change places.
  const auto old = temporary_beside(target_);
  if (::rename(target_.c_str(), old.c_str()) != 0) fail_write(target_, "replaced");
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) {
    const int error = errno;
    ::rename(old.c_str(), target_.c_str());
    errno = error;
    fail_write(target_, "replaced");
  }
  temporary_ = old;
}

void refuse_occupied(const std::filesystem::path& path) {
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) return;
  if (!std::filesystem::exists(status))
    fail(Category::Io, path.string(), "cannot be looked into: {}; choose a folder you may write to", error.message());
  if (!std::filesystem::is_directory(status))
    fail(Category::InvalidArgument, path.string(), "is a file, a folder was expected; choose another name");
  const bool empty = std::filesystem::is_empty(path, error);
  if (error)
    fail(Category::Io, path.string(), "cannot be looked into: {}; choose a folder you may write to", error.message());
  if (!empty) {
    fail(Category::InvalidArgument, path.string(),
         "is not empty; choose a new or an empty folder, nothing was written");
  }
}

void remove_leftovers(const std::filesystem::path& folder) {
  std::error_code error;
  std::vector<std::filesystem::path> found;
  for (std::filesystem::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (!is_temporary(at->path().filename().string())) continue;
    if (at->is_directory(error)) at.disable_recursion_pending();
    if (at->is_directory(error) || at->is_regular_file(error)) found.push_back(at->path());
  }
  for (const auto& place : found) std::filesystem::remove_all(place, error);
}

bool is_parquet(const std::filesystem::path& path) {
  return path.extension() == ".parquet";
}

std::string read_file(const std::filesystem::path& path) {
  Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (descriptor.value() < 0) fail_open(path, errno);
  const struct stat status = status_of_file(descriptor.value(), path, /*pipes=*/true);
  std::string text;
  text.reserve(static_cast<std::size_t>(status.st_size));
  char buffer[1 << 16];
  for (;;) {
    const ssize_t count = ::read(descriptor.value(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_open(path, errno);
    if (count == 0) return text;
    text.append(buffer, static_cast<std::size_t>(count));
  }
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

void write_files(const std::vector<std::pair<std::filesystem::path, std::string>>& files) {
  std::list<AtomicFile> written;
  for (const auto& [path, text] : files) {
    AtomicFile& file = written.emplace_back(path);
    file.write(text);
    file.sync();
  }
  for (AtomicFile& file : written) file.commit();
}

std::optional<std::int64_t> free_space(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::path place = std::filesystem::absolute(path, error);
  while (!error && !std::filesystem::exists(place, error) && place.has_relative_path()) place = place.parent_path();
  if (error) return std::nullopt;
  const std::filesystem::space_info space = std::filesystem::space(place, error);
  if (error) return std::nullopt;
  constexpr std::uintmax_t kMost = std::numeric_limits<std::int64_t>::max();
  return static_cast<std::int64_t>(std::min(space.available, kMost));
}

void make_folder(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error)
    fail(Category::Io, path.string(), "folder cannot be created: {}; choose a folder you may write to",
         error.message());
}

}  // namespace graft
