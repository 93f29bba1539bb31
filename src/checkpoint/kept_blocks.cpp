#include "checkpoint/kept_blocks.h"

#include <fmt/ranges.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file_identity.h"
#include "base/hash.h"
#include "base/progress.h"
#include "base/user_cache.h"
#include "checkpoint/gguf.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

constexpr int kKeptVersion = 1;          // of the file, and of how blocks are fitted
constexpr std::uint64_t kKeptLine = 64;  // bytes; no kernel asks for more
constexpr const char* kKeptSwitch = "GRAFT_WEIGHT_CACHE";
constexpr std::string_view kKeptEnding = ".blocks";
constexpr std::size_t kKeyDigits = 64;

// Once for each text: a verb may load a model several times.
void tell_of_kept(const std::string& text) {
  static std::mutex mutex;
  static std::set<std::string> told;
  const std::lock_guard lock(mutex);
  if (told.insert(text).second) std::fprintf(stderr, "graft: note: %s\n", text.c_str());
}

// Empty where a file is not there any more.
std::string key_of_kept(const std::vector<fs::path>& files, WeightFormat format) {
  Sha256 key;
  key.update(fmt::format("blocks {} {}\n", kKeptVersion, name(format)));
  for (const auto& file : files) {
    const std::string identity = file_identity(file);
    if (identity.empty()) return "";
    key.update(identity);
  }
  return files.empty() ? "" : key.finish();
}

// All that the file says: offsets count from the first tensor's.
nlohmann::json kept_metadata(const std::string& key, const std::vector<TensorInfo>& tensors) {
  Sha256 list;
  for (const TensorInfo& info : tensors)
    list.update(fmt::format("{} {} {} [{}] {} {}\n", info.name.size(), info.name, name(info.dtype),
                            fmt::join(info.shape, ","), info.offset - tensors.front().offset, info.bytes));
  return {{"general.alignment", kKeptLine}, {"graft.blocks.of", key}, {"graft.blocks.list", list.finish()}};
}

// As the writer lays them out.
std::vector<TensorInfo> placed(const std::vector<BlocksToKeep>& blocks) {
  std::vector<TensorInfo> tensors;
  std::uint64_t offset = 0;
  for (const auto& [plan, bytes] : blocks) {
    tensors.push_back({plan.name, plan.dtype, plan.shape, 0, offset, bytes.size()});
    offset += (bytes.size() + kKeptLine - 1) / kKeptLine * kKeptLine;
  }
  return tensors;
}

// Whether the name is one of a file of ours, "….blocks", or of one that was not finished, "….blocks.tmp-…".
bool is_kept_file(const std::string& name) {
  return name.size() >= kKeyDigits + kKeptEnding.size() && name.find_first_not_of("0123456789abcdef") == kKeyDigits &&
         name.compare(kKeyDigits, kKeptEnding.size(), kKeptEnding) == 0;
}

void drop_unused(const fs::path& folder) {
  constexpr std::chrono::hours kUnused{24 * 30}, kUnfinished{24};
  const auto now = fs::file_time_type::clock::now();
  std::error_code error;
  std::vector<fs::path> old;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    std::error_code gone;
    const auto used = at->last_write_time(gone);
    if (gone || !is_kept_file(name)) continue;
    if (now - used > (name.ends_with(kKeptEnding) ? kUnused : kUnfinished)) old.push_back(at->path());
  }
  for (const auto& file : old) fs::remove(file, error);
}

}  // namespace

fs::path weight_cache_folder() {
  const char* value = std::getenv(kKeptSwitch);
  const std::string given = value == nullptr ? "" : value;
  if (given == "no") return {};
  if (!given.empty() && !fs::path(given).is_absolute())
    fail(Category::InvalidArgument, kKeptSwitch,
         "'{}' is neither no nor the whole path of a folder; give one to keep quantised weights in, or no", given);
  if (!given.empty()) return given;
  const fs::path cache = user_cache_folder();
  return cache.is_absolute() ? cache / "graft" / "weights" : fs::path();
}

KeptBlocks::KeptBlocks(fs::path folder, const TensorSource& source, WeightFormat format)
    : folder_(std::move(folder)), files_(source.files()), format_(format), key_(key_of_kept(files_, format)) {
  if (key_.empty()) return;
  place_ = folder_ / (key_ + std::string(kKeptEnding));
  try {
    open();
  } catch (const Error& error) {
    if (error.category() == Category::NotFound) return;
    const bool readable = error.category() != Category::Io;
    tell_of_kept(fmt::format("{} {}; its weights are quantised again", place_.string(),
                             readable ? "is damaged or not what its name says" : error.message()));
  }
}

void KeptBlocks::open() {
  std::shared_ptr<const TensorSource> file = open_gguf(place_);
  if (file->metadata() != kept_metadata(key_, file->tensors()))
    fail(Category::Corruption, place_.string(), "does not hold what its name says");
  file_ = std::move(file);
  std::error_code ignored;  // where it is not ours, it counts as used when it was written
  fs::last_write_time(place_, fs::file_time_type::clock::now(), ignored);
}

const TensorInfo* KeptBlocks::find(const TensorPlan& plan) const {
  const TensorInfo* info = file_ == nullptr ? nullptr : file_->find(plan.name);
  return info != nullptr && info->dtype == plan.dtype && info->shape == plan.shape ? info : nullptr;
}

void KeptBlocks::keep(const std::vector<BlocksToKeep>& blocks) const {
  if (key_.empty() || key_of_kept(files_, format_) != key_) return;
  drop_unused(folder_);
  try {
    write(blocks);
  } catch (const Error& error) {
    tell_of_kept(fmt::format("quantised weights are not kept for the next start: {} ({} names another folder, or no)",
                             error.what(), kKeptSwitch));
  }
}

void KeptBlocks::write(const std::vector<BlocksToKeep>& blocks) const {
  std::vector<TensorPlan> plan;
  std::uint64_t bytes = 0;
  for (const auto& one : blocks) {
    plan.push_back(one.plan);
    bytes += one.bytes.size();
  }
  const auto writer =
      write_gguf_copy(place_, plan, GgufMetadata{0, "", kKeptLine}, kept_metadata(key_, placed(blocks)));
  for (const auto& one : blocks) writer->write(one.bytes);
  writer->finish();
  tell_of_kept(fmt::format("weights in {} are kept for the next start: {} in {} ({}=no: they are not)", name(format_),
                           human_bytes(static_cast<double>(bytes)), place_.string(), kKeptSwitch));
}

}  // namespace graft
