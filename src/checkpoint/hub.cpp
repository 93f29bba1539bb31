#include "checkpoint/hub.h"

#include <fnmatch.h>

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/progress.h"
#include "base/suggest.h"
#include "base/user_cache.h"
#include "checkpoint/http_get.h"
#include "checkpoint/partial_file.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kAttempts = 5;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_plain(const std::string& part) {
  return !part.empty() && part != "." && part != ".." && std::all_of(part.begin(), part.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
  });
}

// "org/name" or "name".
void check_repository(const std::string& repository) {
  const std::size_t slash = repository.find('/');
  const bool good = slash == std::string::npos
                        ? is_plain(repository)
                        : is_plain(repository.substr(0, slash)) && is_plain(repository.substr(slash + 1));
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

struct RemoteFile {
  std::string name;
  std::string hash;  // SHA-256 for files in large storage, git's SHA-1 for others, empty where the hub does not say
  std::optional<std::uint64_t> size;
};

bool is_weight(const std::string& name, const std::string& stem, const std::string& extension) {
  return name.find('/') == std::string::npos && name.starts_with(stem) &&
         (name.ends_with(extension) || name.ends_with(extension + ".index.json"));
}

// What a model needs, of all that a repository may hold.
std::vector<RemoteFile> needed(const std::vector<RemoteFile>& all) {
  static const std::set<std::string> small = {"config.json",
                                              "generation_config.json",
                                              "tokenizer.json",
                                              "tokenizer_config.json",
                                              "special_tokens_map.json",
                                              "added_tokens.json",
                                              "vocab.json",
                                              "merges.txt",
                                              "vocab.txt",
                                              "spiece.model",
                                              "tokenizer.model",
                                              "chat_template.jinja",
                                              "adapter_config.json"};
  const auto safe = [](const std::string& name) {
    return is_weight(name, "model", ".safetensors") || is_weight(name, "adapter_model", ".safetensors");
  };
  const bool has_safetensors = std::any_of(all.begin(), all.end(), [&](const auto& file) { return safe(file.name); });
  std::vector<RemoteFile> chosen;
  for (const RemoteFile& file : all) {
    const bool weight = has_safetensors ? safe(file.name)
                                        : is_weight(file.name, "pytorch_model", ".bin") ||
                                              is_weight(file.name, "adapter_model", ".bin");
    if (weight || small.contains(file.name)) chosen.push_back(file);
  }
  return chosen;
}

class Hub {
 public:
  Hub(std::string repository, const HubOptions& options) : repository_(std::move(repository)), options_(options) {
    check_repository(repository_);
    if (!is_safe_path(options_.revision))
      fail(Category::InvalidArgument, options_.revision, "is not a branch, tag or commit");
    for (const std::string& pattern : options_.files) {
      if (!is_safe_path(pattern)) fail(Category::InvalidArgument, pattern, "is not the name of a file in a repository");
    }
    std::string folder = "models--";
    for (char c : repository_) folder += c == '/' ? std::string("--") : std::string(1, c);
    root_ = options_.cache / folder;
  }

  fs::path from_cache() const {
    std::string commit = options_.revision;
    const fs::path reference = root_ / "refs" / options_.revision;
    if (fs::is_regular_file(reference)) commit = read_file(reference);
    while (!commit.empty() && std::isspace(static_cast<unsigned char>(commit.back())) != 0) commit.pop_back();
    const fs::path kept = is_safe_path(commit) ? root_ / "snapshots" / commit : fs::path();
    std::vector<std::string> names = kept.empty() ? std::vector<std::string>() : files_below(kept);
    std::erase_if(names, [&](const std::string& name) { return !is_wanted(name); });
    if (names.empty()) {
      fail(Category::NotFound, repository_,
           "{} is not in the cache {}, and offline nothing is fetched; leave --offline and HF_HUB_OFFLINE out once "
           "while there is a network",
           options_.files.empty() ? options_.revision : fmt::format("{}", fmt::join(options_.files, ", ")),
           options_.cache.string());
    }
    return place_of(kept, names);
  }

  fs::path from_network() {
    std::vector<RemoteFile> files = list();
    if (options_.files.empty()) {
      files = needed(files);
      if (files.empty()) {
        fail(Category::NotFound, repository_,
             "holds no model files; name those you want with --file (for a .gguf: --file '*.gguf')");
      }
    } else {
      files = wanted(files);
    }
    std::vector<std::string> names;
    for (const RemoteFile& file : files) names.push_back(file.name);
    for (const RemoteFile& file : files) fetch(file);
    // Last, so that a reference never points to half a snapshot.
    if (commit_ != options_.revision) write_file(root_ / "refs" / options_.revision, commit_);
    return place_of(snapshot(), names);
  }

 private:
  fs::path snapshot() const { return root_ / "snapshots" / commit_; }

  // Patterns match whole names, folders included: "*" crosses a slash, as on the hub.
  bool is_wanted(const std::string& name) const {
    return options_.files.empty() ||
           std::any_of(options_.files.begin(), options_.files.end(),
                       [&](const auto& pattern) { return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0; });
  }

  static std::vector<std::string> files_below(const fs::path& folder) {
    std::vector<std::string> names;
    if (!fs::is_directory(folder)) return names;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      // exists() follows the link: one whose blob is gone does not count.
      if (!entry.is_directory() && fs::exists(entry.path())) names.push_back(entry.path().lexically_relative(folder));
    }
    return names;
  }

  fs::path place_of(const fs::path& folder, const std::vector<std::string>& names) const {
    return !options_.files.empty() && names.size() == 1 ? folder / names.front() : folder;
  }

  void check_status(const HttpReply& reply, const std::string& what) const {
    if (reply.status == 200 || reply.status == 206) return;
    const std::string where = options_.endpoint + ": " + repository_;
    if (reply.status == 404)
      fail(Category::NotFound, where, "{} does not exist there (404); check the name and the revision '{}'", what,
           options_.revision);
    if (reply.status == 401 || reply.status == 403) {
      fail(Category::InvalidArgument, where, "{} may not be read ({}): {}", what, reply.status,
           options_.token.empty() ? "set HF_TOKEN if it is private or gated, or check the name"
                                  : "the token in use has no access; ask for it on the model's page");
    }
    fail(Category::Io, where, "{}: the server answered {}; try again later", what, reply.status);
  }

  std::vector<RemoteFile> list() {
    const HttpReply reply = http_get({.url = fmt::format("{}/api/models/{}/revision/{}?blobs=true", options_.endpoint,
                                                         repository_, url_encoded(options_.revision, false)),
                                      .token = options_.token});
    check_status(reply, "the repository");
    const json answer = json::parse(reply.body, nullptr, false);
    const std::string where = options_.endpoint + ": " + repository_;
    if (!answer.is_object() || !answer.contains("sha") || !answer["sha"].is_string() ||
        !is_plain(answer["sha"].get<std::string>()) || !answer.contains("siblings") || !answer["siblings"].is_array()) {
      fail(Category::Corruption, where, "the server's answer is not a list of files; is HF_ENDPOINT a model hub?");
    }
    commit_ = answer["sha"];
    std::vector<RemoteFile> files;
    for (const json& entry : answer["siblings"]) files.push_back(remote_file(entry, where));
    return files;
  }

  static RemoteFile remote_file(const json& entry, const std::string& where) {
    const auto text = [](const json& object, const char* key) {
      return object.is_object() && object.contains(key) && object[key].is_string() ? object[key].get<std::string>()
                                                                                   : "";
    };
    RemoteFile file;
    file.name = text(entry, "rfilename");
    if (!is_safe_path(file.name))
      fail(Category::Corruption, where, "the server names the file '{}', which is not a path inside a repository",
           file.name);
    file.hash = text(entry, "blobId");
    if (entry.contains("lfs") && !text(entry["lfs"], "sha256").empty()) file.hash = text(entry["lfs"], "sha256");
    if (entry.contains("size") && entry["size"].is_number_unsigned()) file.size = entry["size"].get<std::uint64_t>();
    if (!file.hash.empty() && !is_plain(file.hash))
      fail(Category::Corruption, where, "the server gives '{}' an impossible hash", file.name);
    return file;
  }

  std::vector<RemoteFile> wanted(const std::vector<RemoteFile>& files) const {
    std::vector<RemoteFile> chosen;
    std::vector<std::string> names;
    for (const RemoteFile& file : files) {
      if (is_wanted(file.name)) chosen.push_back(file);
      names.push_back(file.name);
    }
    if (!chosen.empty()) return chosen;
    const std::string asked = fmt::format("{}", fmt::join(options_.files, ", "));
    const std::string near = nearest(asked, names);
    fail(Category::NotFound, repository_, "holds no file '{}'{}", asked,
         near.empty() ? "" : " (did you mean '" + near + "'?)");
  }

  void fetch(const RemoteFile& file) {
    const fs::path place = snapshot() / file.name;
    // exists() follows the link: one whose blob is gone is fetched again.
    if (fs::exists(place)) return;
    const std::string blob = file.hash.empty() ? "unnamed-" + sha256(commit_ + "/" + file.name) : file.hash;
    const fs::path target = root_ / "blobs" / blob;
    if (!fs::exists(target)) download(file, target);
    link(place, target);
  }

  void download(const RemoteFile& file, const fs::path& target) {
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

  void transfer(const RemoteFile& file, PartialFile& out, std::string& promised, std::optional<std::uint64_t>& size) {
    if (size && out.size() == *size && *size > 0) return;
    if (size && out.size() > *size) out.restart();
    std::unique_ptr<Progress> progress;
    HttpRequest request{.url = fmt::format("{}/{}/resolve/{}/{}", options_.endpoint, repository_,
                                           url_encoded(commit_, false), url_encoded(file.name, true)),
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

  // The headers of the first reply speak of the file in large storage behind the redirect.
  static void read_promise(const HttpReply& reply, std::string& promised, std::optional<std::uint64_t>& size) {
    const auto linked = reply.headers.find("x-linked-etag");
    if (linked != reply.headers.end()) {
      std::string tag = linked->second;
      std::erase(tag, '"');
      if (tag.starts_with("W/")) tag.erase(0, 2);
      if (tag.size() == 64) promised = tag;
    }
    const auto length = reply.headers.find("x-linked-size");
    if (!size && length != reply.headers.end() && !length->second.empty() && length->second.size() < 19 &&
        std::all_of(length->second.begin(), length->second.end(),
                    [](unsigned char c) { return std::isdigit(c) != 0; })) {
      size = std::stoull(length->second);
    }
  }

  // A part that failed here would fail for ever if it were kept.
  void verify(const RemoteFile& file, const PartialFile& partial, const std::string& promised,
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
    fail(Category::Corruption, repository_ + ": " + file.name, "{}; the download was thrown away, try again", problem);
  }

  void link(const fs::path& place, const fs::path& target) const {
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

  std::string repository_;
  HubOptions options_;
  fs::path root_;
  std::string commit_;
};

}  // namespace

HubOptions hub_options_from_environment() {
  HubOptions options;
  options.endpoint = environment("HF_ENDPOINT");
  if (options.endpoint.empty()) options.endpoint = "https://huggingface.co";
  while (options.endpoint.ends_with('/')) options.endpoint.pop_back();
  fs::path home = environment("HF_HOME");
  if (home.empty()) home = user_cache_folder() / "huggingface";
  options.cache = environment("HF_HUB_CACHE");
  if (options.cache.empty()) options.cache = home / "hub";
  options.token = environment("HF_TOKEN");
  fs::path token_file = environment("HF_TOKEN_PATH");
  if (token_file.empty()) token_file = home / "token";
  if (options.token.empty() && fs::is_regular_file(token_file)) options.token = read_file(token_file);
  std::erase_if(options.token, [](unsigned char c) { return std::isspace(c) != 0; });
  std::string offline = environment("HF_HUB_OFFLINE");
  std::transform(offline.begin(), offline.end(), offline.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  options.offline = offline == "1" || offline == "TRUE" || offline == "YES" || offline == "ON";
  return options;
}

fs::path pull(const std::string& repository, const HubOptions& options) {
  Hub hub(repository, options);
  return options.offline ? hub.from_cache() : hub.from_network();
}

}  // namespace graft
