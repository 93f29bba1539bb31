#include "checkpoint/sharded.h"

#include <map>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/layout.h"

namespace graft {
namespace {

using nlohmann::json;

// A shard lies beside its index: a path could reach any file of the machine. An index among them, or the folder, would
// lead back to where it is named, without end.
bool is_shard_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && std::filesystem::path(name).filename() == name &&
         !name.ends_with(".index.json");
}

class Sharded : public TensorSource {
 public:
  explicit Sharded(const std::filesystem::path& index) : where_(index.string()) {
    const std::map<std::string, std::string> places = read_index();
    std::set<std::string> names;
    for (const auto& [tensor, file] : places) names.insert(file);
    for (const std::string& file : names) add_shard(index.parent_path() / file);
    check_places(places);
  }

  std::string format() const override { return shards_.front()->format(); }
  const std::vector<TensorInfo>& tensors() const override { return tensors_; }
  const std::vector<std::filesystem::path>& files() const override { return files_; }
  const json& metadata() const override { return metadata_; }

  std::span<const std::byte> bytes(const TensorInfo& info) const override {
    return shards_.at(info.file)->bytes(in_shard(info));
  }
  void release(const TensorInfo& info) const override { shards_.at(info.file)->release(in_shard(info)); }
  void prefetch(const TensorInfo& info) const override { shards_.at(info.file)->prefetch(in_shard(info)); }

 private:
  // A shard knows itself as file 0.
  static TensorInfo in_shard(TensorInfo info) {
    info.file = 0;
    return info;
  }

  std::map<std::string, std::string> read_index() {
    json index;
    try {
      index = json::parse(read_file(where_));
    } catch (const json::exception& error) {
      fail(Category::Corruption, where_, "is not valid JSON: {}", printable(error.what()));
    }
    if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object() ||
        index["weight_map"].empty()) {
      fail(Category::Corruption, where_, "has no 'weight_map' that names the shards; fetch it again");
    }
    std::map<std::string, std::string> places;
    for (const auto& [tensor, file] : index["weight_map"].items()) {
      const std::string shard = file.is_string() ? file.get<std::string>() : "";
      if (!is_shard_name(shard)) {
        fail(Category::Corruption, where_,
             "weight_map['{}'] is '{}', not the name of a file of weights beside the index", printable(tensor),
             printable(shard));
      }
      places[tensor] = shard;
    }
    return places;
  }

  void add_shard(const std::filesystem::path& path) {
    if (!std::filesystem::exists(path)) {
      fail(Category::NotFound, where_, "names the shard '{}', which is not there; fetch it too",
           path.filename().string());
    }
    if (!std::filesystem::is_regular_file(path))
      fail(Category::Corruption, where_, "names the shard '{}', which is no file", path.filename().string());
    shards_.push_back(open_checkpoint(path));
    files_.push_back(path);
    for (TensorInfo info : shards_.back()->tensors()) {
      info.file = files_.size() - 1;
      const auto [other, added] = shard_of_.emplace(info.name, info.file);
      if (!added) {
        fail(Category::Corruption, where_, "tensor '{}' is in both '{}' and '{}'; fetch the index and its shards again",
             printable(info.name), files_[other->second].filename().string(), path.filename().string());
      }
      tensors_.push_back(std::move(info));
    }
    metadata_.update(shards_.back()->metadata());
  }

  void check_places(const std::map<std::string, std::string>& places) const {
    for (const auto& [tensor, file] : places) {
      const auto found = shard_of_.find(tensor);
      if (found == shard_of_.end() || files_[found->second].filename() != file) {
        fail(Category::Corruption, where_,
             "tensor '{}' is not in '{}'; index and shards do not belong together; fetch both again", printable(tensor),
             file);
      }
    }
  }

  std::string where_;
  std::vector<std::unique_ptr<TensorSource>> shards_;
  std::vector<std::filesystem::path> files_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, std::size_t> shard_of_;
  json metadata_ = json::object();
};

}  // namespace

std::unique_ptr<TensorSource> open_sharded(const std::filesystem::path& index) {
  return std::make_unique<Sharded>(index);
}

}  // namespace graft
