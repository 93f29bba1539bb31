// One repository of a hub and its place in the cache: what fetching a model and fetching a data set share.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/http_get.h"
#include "checkpoint/hub.h"
#include "checkpoint/partial_file.h"

namespace graft {

inline constexpr const char* kPublicHub = "https://huggingface.co";

/// A file of a repository as the hub lists it.
struct RemoteFile {
  std::string name;  ///< a relative path without a step upwards
  std::string hash;  ///< SHA-256 for files in large storage, git's SHA-1 for others, empty where the hub does not say
  std::optional<std::uint64_t> size;
};

/// True for letters, digits and "-_." alone, which may be the name of a folder.
bool is_plain_name(const std::string& name);

/// Members throw as pull() says. Not thread-safe.
class HubRepository {
 public:
  enum class Kind { Model, Dataset };

  /// Throws InvalidArgument for malformed names, revisions and patterns, and without a cache. Touches neither network
  /// nor cache.
  HubRepository(Kind kind, std::string name, HubOptions options);

  const std::string& name() const { return name_; }
  /// Its folder in the cache: "models--org--name" or "datasets--org--name".
  const std::filesystem::path& root() const { return root_; }

  /// All files, as the hub tells them now. From then on commit() is the hub's.
  std::vector<RemoteFile> list();
  /// Those of `files` that the options' patterns name. Throws NotFound where there is none, with the nearest name.
  std::vector<RemoteFile> matching(const std::vector<RemoteFile>& files) const;
  /// Brings `files`, which list() told, into the snapshot.
  void fetch(const std::vector<RemoteFile>& files);
  /// From now on the revision stands for commit(), offline too. For the end, so that it never stands for half of one.
  void keep_reference() const;

  /// What the revision stands for: as list() heard, else as an earlier keep_reference() left it, else itself.
  std::string commit() const;
  /// The folder with the files of commit().
  std::filesystem::path snapshot() const;
  /// Names of the files that are there, of those only that the patterns name where there are any.
  std::vector<std::string> cached() const;
  /// For whoever finds nothing in the cache while offline.
  [[noreturn]] void fail_uncached() const;

 private:
  std::string address(const std::string& path) const;
  bool is_wanted(const std::string& name) const;
  void check_status(const HttpReply& reply, const std::string& what) const;
  void fetch_one(const RemoteFile& file);
  void download(const RemoteFile& file, const std::filesystem::path& target);
  void transfer(const RemoteFile& file, PartialFile& out, std::string& promised, std::optional<std::uint64_t>& size);
  void verify(const RemoteFile& file, const PartialFile& partial, const std::string& promised,
              std::optional<std::uint64_t> size) const;

  Kind kind_;
  std::string name_;
  HubOptions options_;
  std::filesystem::path root_;
  std::string commit_;
};

}  // namespace graft
