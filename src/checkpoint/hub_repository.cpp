#include "checkpoint/hub_repository.h"

#include <fnmatch.h>

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/progress.h"
#include "base/suggest.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kAttempts = 5;

// "org/name" or "name".
void check_repository(const std::string& repository) {
  const std::size_t slash = repository.find('/');
  const bool good = slash == std::string::npos
                        ? is_plain_name(repository)
                        : is_plain_name(repository.substr(0, slash)) && is_plain_name(repository.substr(slash + 1));
  if (!good)
    fail(Category::InvalidArgument, repository, "is not the name of a repository; write it as organisation/name");
}

// A name the hub sends becomes a path on this machine: only relative ones without a step upwards are believed.
bool is_safe_path(const std::string& name) {
  if (name.empty() || name.front() == '/' || name.find('\\') != std::string::npos ||
      name.find('\0') != std::string::npos)
    return false;
  const fs::path path(name);
  return std::none_of(path.begin(), path.end(),
                      [](const fs::path& part) { return part == ".." || part == "." || part.empty(); });
}

RemoteFile remote_file(const json& entry, const std::string& where) {
  const auto text = [](const json& object, const char* key) {
    return object.is_object() && object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : "";
  };
  RemoteFile file;
  file.name = text(entry, "rfilename");
  if (!is_safe_path(file.name))
    fail(Category::Corruption, where, "the server names the file '{}', which is not a path inside a repository",
         file.name);
  file.hash = text(entry, "blobId");
  if (entry.contains("lfs") && !text(entry["lfs"], "sha256").empty()) file.hash = text(entry["lfs"], "sha256");
  if (entry.contains("size") && entry["size"].is_number_unsigned()) file.size = entry["size"].get<std::uint64_t>();
  if (!file.hash.empty() && !is_plain_name(file.hash))
    fail(Category::Corruption, where, "the server gives '{}' an impossible hash", file.name);
  return file;
}

std::vector<std::string> files_below(const fs::path& folder) {
  std::vector<std::string> names;
  if (!fs::is_directory(folder)) return names;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    // exists() follows the link: one whose blob is gone does not count.
    if (!entry.is_directory() && fs::exists(entry.path())) names.push_back(entry.path().lexically_relative(folder));
  }
  return names;
}

// The headers of the first reply speak of the file in large storage behind the redirect.
void read_promise(const HttpReply& reply, std::string& promised, std::optional<std::uint64_t>& size) {
  const auto linked = reply.headers.find("x-linked-etag");
  if (linked != reply.headers.end()) {
    std::string tag = linked->second;
    std::erase(tag, '"');
    if (tag.starts_with("W/")) tag.erase(0, 2);
    if (tag.size() == 64) promised = tag;
  }
  const auto length = reply.headers.find("x-linked-size");
  if (!size && length != reply.headers.end() && !length->second.empty() && length->second.size() < 19 &&
      std::all_of(length->second.begin(), length->second.end(), [](unsigned char c) { return std::isdigit(c) != 0; })) {
    size = std::stoull(length->second);
  }
}

void link_to(const fs::path& place, const fs::path& target) {
  make_folder(place.parent_path());
  const fs::path temporary = temporary_beside(place);
  std::error_code error;
  fs::create_symlink(fs::relative(target, place.parent_path()), temporary, error);
  if (!error) fs::rename(temporary, place, error);
  if (!error) return;
  std::error_code ignored;
  fs::remove(temporary, ignored);
  fail(Category::Io, place.string(), "cannot be linked: {}", error.message());
}

}  // namespace

bool is_plain_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  });
}

HubRepository::HubRepository(Kind kind, std::string name, HubOptions options)
    : kind_(kind), name_(std::move(name)), options_(std::move(options)) {
  check_repository(name_);
  if (!is_safe_path(options_.revision))
    fail(Category::InvalidArgument, options_.revision, "is not a branch, tag or commit");
  for (const std::string& pattern : options_.files) {
    if (!is_safe_path(pattern)) fail(Category::InvalidArgument, pattern, "is not the name of a file in a repository");
  }
  // Anything else would be a folder of whatever place the user is in.
  if (options_.cache.empty()) {
    fail(Category::InvalidArgument, "HF_HUB_CACHE",
         "is not set, nor are HF_HOME, XDG_CACHE_HOME and HOME, so that there is no place to keep {} in; set one of "
         "them, or say --cache FOLDER",
         name_);
  }
  std::string folder = kind_ == Kind::Model ? "models--" : "datasets--";
  for (char c : name_) folder += c == '/' ? std::string("--") : std::string(1, c);
  root_ = options_.cache / folder;
}

std::string HubRepository::commit() const {
  if (!commit_.empty()) return commit_;
  std::string kept = options_.revision;
  const fs::path reference = root_ / "refs" / options_.revision;
  if (fs::is_regular_file(reference)) kept = read_file(reference);
  while (!kept.empty() && std::isspace(static_cast<unsigned char>(kept.back())) != 0) kept.pop_back();
  return is_safe_path(kept) ? kept : options_.revision;
}

fs::path HubRepository::snapshot() const {
  return root_ / "snapshots" / commit();
}

std::vector<std::string> HubRepository::cached() const {
  std::vector<std::string> names = files_below(snapshot());
  std::erase_if(names, [this](const std::string& name) { return !is_wanted(name); });
  return names;
}

void HubRepository::fail_uncached() const {
  fail(Category::NotFound, name_,
       "{} is not in the cache {}, and offline nothing is fetched; leave --offline and HF_HUB_OFFLINE out once "
       "while there is a network",
       options_.files.empty() ? options_.revision : fmt::format("{}", fmt::join(options_.files, ", ")),
       options_.cache.string());
}

void HubRepository::keep_reference() const {
  if (commit_ != options_.revision) write_file(root_ / "refs" / options_.revision, commit_);
}

// Data sets have their addresses below "datasets", models theirs at the root.
std::string HubRepository::address(const std::string& path) const {
  return options_.endpoint + (kind_ == Kind::Model ? "/" : "/datasets/") + name_ + path;
}

// Patterns match whole names, folders included: "*" crosses a slash, as on the hub.
bool HubRepository::is_wanted(const std::string& name) const {
  return options_.files.empty() || std::any_of(options_.files.begin(), options_.files.end(), [&](const auto& pattern) {
           return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
         });
}

void HubRepository::check_status(const HttpReply& reply, const std::string& what) const {
  if (reply.status == 200 || reply.status == 206) return;
  const std::string where = options_.endpoint + ": " + name_;
  if (reply.status == 404)
    fail(Category::NotFound, where, "{} does not exist there (404); check the name and the revision '{}'", what,
         options_.revision);
  if (reply.status == 401 || reply.status == 403) {
    fail(Category::InvalidArgument, where, "{} may not be read ({}): {}", what, reply.status,
         options_.token.empty() ? "set HF_TOKEN if it is private or gated, or check the name"
                                : "the token in use has no access; ask for it on the repository's page");
  }
  fail(Category::Io, where, "{}: the server answered {}; try again later", what, reply.status);
}

std::vector<RemoteFile> HubRepository::list() {
  const std::string url =
      fmt::format("{}/api/{}/{}/revision/{}?blobs=true", options_.endpoint,
                  kind_ == Kind::Model ? "models" : "datasets", name_, url_encoded(options_.revision, false));
  const HttpReply reply = http_get({.url = url, .token = options_.token});
  check_status(reply, "the repository");
  const json answer = json::parse(reply.body, nullptr, false);
  const std::string where = options_.endpoint + ": " + name_;
  if (!answer.is_object() || !answer.contains("sha") || !answer["sha"].is_string() ||
      !is_plain_name(answer["sha"].get<std::string>()) || !answer.contains("siblings") ||
      !answer["siblings"].is_array()) {
    fail(Category::Corruption, where, "the server's answer is not a list of files; is HF_ENDPOINT a hub?");
  }
  commit_ = answer["sha"];
  std::vector<RemoteFile> files;
  for (const json& entry : answer["siblings"]) files.push_back(remote_file(entry, where));
  return files;
}

std::vector<RemoteFile> HubRepository::matching(const std::vector<RemoteFile>& files) const {
  std::vector<RemoteFile> chosen;
  std::vector<std::string> names;
  for (const RemoteFile& file : files) {
    if (is_wanted(file.name)) chosen.push_back(file);
    names.push_back(file.name);
  }
  if (!chosen.empty()) return chosen;
  const std::string asked = fmt::format("{}", fmt::join(options_.files, ", "));
  const std::string near = nearest(asked, names);
  fail(Category::NotFound, name_, "holds no file '{}'{}", asked, near.empty() ? "" : " (did you mean '" + near + "'?)");
}

void HubRepository::fetch(const std::vector<RemoteFile>& files) {
  for (const RemoteFile& file : files) fetch_one(file);
}

void HubRepository::fetch_one(const RemoteFile& file) {
  const fs::path place = snapshot() / file.name;
  // exists() follows the link: one whose blob is gone is fetched again.
  if (fs::exists(place)) return;
  const std::string blob = file.hash.empty() ? "unnamed-" + sha256(commit_ + "/" + file.name) : file.hash;
  const fs::path target = root_ / "blobs" / blob;
  if (!fs::exists(target)) download(file, target);
  link_to(place, target);
}

void HubRepository::download(const RemoteFile& file, const fs::path& target) {
  fs::path partial = target;
  partial += ".incomplete";
  PartialFile out(partial, file.name);
  if (fs::exists(target)) return out.discard();  // another process has fetched it meanwhile
  std::string promised = file.hash;
  std::optional<std::uint64_t> size = file.size;
  for (int attempt = 1;; ++attempt) {
    try {
      transfer(file, out, promised, size);
      break;
    } catch (const Error& error) {
      // A broken connection goes on where it stopped; anything else is not mended by trying again.
      if (error.category() != Category::Io || attempt == kAttempts || out.size() == 0) throw;
    }
  }
  verify(file, out, promised, size);
  out.become(target);
}

void HubRepository::transfer(const RemoteFile& file, PartialFile& out, std::string& promised,
                             std::optional<std::uint64_t>& size) {
  if (size && out.size() == *size && *size > 0) return;
  if (size && out.size() > *size) out.restart();
  std::unique_ptr<Progress> progress;
  HttpRequest request{.url = address("/resolve/" + url_encoded(commit_, false) + "/" + url_encoded(file.name, true)),
                      .token = options_.token,
                      .from = out.size()};
  request.begin = [&](const HttpReply& reply) {
    // A server that ignores the range, or gives another one, sends the file from its start.
    const auto range = reply.headers.find("content-range");
    const bool goes_on = reply.status == 206 && range != reply.headers.end() &&
                         range->second.starts_with(fmt::format("bytes {}-", request.from));
    if (!goes_on) out.restart();
    read_promise(reply, promised, size);
    if (size)
      progress = std::make_unique<Progress>("fetch " + file.name, static_cast<std::int64_t>(*size),
                                            static_cast<std::int64_t>(out.size()));
    return reply.status == 200 || goes_on;
  };
  request.receive = [&](std::string_view bytes) {
    out.append(bytes);
    if (size && out.size() > *size) return false;
    if (progress) progress->update(static_cast<std::int64_t>(out.size()));
    return true;
  };
  const HttpReply reply = http_get(request);
  // The server says that nothing is left: what lies here does not belong to this file.
  if (reply.status == 416) out.restart();
  if (reply.status == 416)
    fail(Category::Io, file.name, "the server refuses to go on with a partial download; try again");
  check_status(reply, file.name);
  if (progress) progress->finish();
  out.sync();
}

// A part that failed here would fail for ever if it were kept.
void HubRepository::verify(const RemoteFile& file, const PartialFile& partial, const std::string& promised,
                           std::optional<std::uint64_t> size) const {
  const std::uint64_t have = partial.size();
  std::string problem;
  if (size && have != *size) problem = fmt::format("has {} bytes, {} were promised", have, *size);
  if (problem.empty() && promised.size() == 64) {
    Sha256 hash;
    hash.update(MappedFile(partial.path()).bytes());
    const std::string found = hash.finish();
    if (found != promised) problem = fmt::format("has SHA-256 {}, {} was promised", found, promised);
  }
  if (problem.empty()) return;
  partial.discard();
  fail(Category::Corruption, name_ + ": " + file.name, "{}; the download was thrown away, try again", problem);
}

}  // namespace graft
