#include "checkpoint/hub_dataset.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <regex>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/suggest.h"
#include "checkpoint/dataset_rows.h"
#include "checkpoint/hub_repository.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

// Files that tell of a data set are no rows, whatever their names end in.
bool is_about_data(const fs::path& name) {
  static const std::set<std::string> known = {"dataset_infos.json", "dataset_info.json", "README.txt",
                                              "LICENSE.txt",        "license.txt",       "readme.txt",
                                              "requirements.txt"};
  return known.contains(name.filename().string()) ||
         std::any_of(name.begin(), name.end(), [](const fs::path& part) { return part.string().starts_with('.'); });
}

bool is_readable_data(const fs::path& name, const HubOptions& options) {
  static const std::set<std::string> endings = {".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt"};
  const bool readable = endings.contains(name.extension().string()) || (options.parquet && is_parquet(name));
  return readable && !is_about_data(name);
}

// Where one file was asked for it is the place; else the deepest folder that holds all.
fs::path place_of_data(const fs::path& snapshot, const std::vector<std::string>& names, bool named) {
  if (named && names.size() == 1) return snapshot / names.front();
  fs::path shared = fs::path(names.front()).parent_path();
  const auto outside = [&](const std::string& name) {
    const fs::path way = fs::path(name).lexically_relative(shared);
    return !way.empty() && *way.begin() == "..";
  };
  while (!shared.empty() && std::any_of(names.begin(), names.end(), outside)) shared = shared.parent_path();
  return shared.empty() ? snapshot : snapshot / shared;
}

std::string rows_address(const HubOptions& options) {
  if (!options.rows_server.empty()) return options.rows_server;
  if (options.endpoint == kPublicHub) return "https://datasets-server.huggingface.co";
  fail(Category::InvalidArgument, "HF_DATASETS_SERVER",
       "is not set: the rows of a data set whose files graft does not read are asked of a rows server, and none is "
       "known for {}",
       options.endpoint);
}

std::vector<std::string> configs_of(const std::vector<DatasetSplit>& splits) {
  std::vector<std::string> names;
  for (const auto& one : splits) {
    if (std::find(names.begin(), names.end(), one.config) == names.end()) names.push_back(one.config);
  }
  return names;
}

// By where it lies: "anatomy/test-00000-of-00001.parquet", "data/train.parquet".
DatasetSplit split_of_file(const std::string& name) {
  static const std::regex part("-[0-9]+-of-[0-9]+(-[0-9a-f]+)?$");
  const fs::path path(name);
  const std::string folder = path.has_parent_path() ? path.begin()->string() : "data";
  return {folder == "data" ? "default" : folder, std::regex_replace(path.stem().string(), part, "")};
}

std::string chosen_config(const std::string& repository, const std::vector<std::string>& known,
                          const std::string& asked) {
  if (!asked.empty()) {
    if (std::find(known.begin(), known.end(), asked) != known.end()) return asked;
    fail(Category::NotFound, repository, "has no configuration '{}'{}", asked, did_you_mean(asked, known));
  }
  if (known.size() == 1) return known.front();
  if (std::find(known.begin(), known.end(), "default") != known.end()) return "default";
  constexpr std::size_t kMostNamed = 20;
  const std::size_t named = std::min(known.size(), kMostNamed);
  fail(Category::InvalidArgument, repository, "has several configurations; name one with --config: {}{}",
       fmt::join(known.begin(), known.begin() + static_cast<std::ptrdiff_t>(named), ", "),
       known.size() > named ? fmt::format(" and {} more", known.size() - named) : "");
}

std::vector<DatasetSplit> chosen_splits(const std::string& repository, const std::vector<DatasetSplit>& all,
                                        const RowsChoice& choice) {
  const std::string config = chosen_config(repository, configs_of(all), choice.config);
  std::vector<DatasetSplit> chosen;
  std::vector<std::string> names;
  for (const auto& one : all) {
    if (one.config != config) continue;
    names.push_back(one.split);
    if (choice.split.empty() || one.split == choice.split) chosen.push_back(one);
  }
  if (chosen.empty())
    fail(Category::NotFound, repository, "has no split '{}'{}", choice.split, did_you_mean(choice.split, names));
  return chosen;
}

// Of `names` the files that are taken; none where rows are to be asked of the server.
std::vector<std::string> taken_files(const std::string& repository, std::vector<std::string> names,
                                     const HubOptions& options, RowsChoice choice) {
  std::erase_if(names, [&](const std::string& name) { return !is_readable_data(name, options); });
  const bool all_parquet = std::all_of(names.begin(), names.end(), is_parquet);
  if (names.empty() || (!choice.is_made() && !all_parquet)) return names;
  std::erase_if(names, [](const std::string& name) { return !is_parquet(name); });
  std::vector<DatasetSplit> splits;
  for (const auto& name : names) splits.push_back(split_of_file(name));
  if (choice.config.empty() && !names.empty()) choice.config = chosen_config(repository, configs_of(splits), "");
  std::erase_if(names, [&](const std::string& name) {
    const DatasetSplit own = split_of_file(name);
    return own.config != choice.config || (!choice.split.empty() && own.split != choice.split);
  });
  return names;
}

fs::path rows_folder(const HubRepository& hub) {
  return hub.root() / "rows" / hub.commit();
}

PulledDataset rows_from_network(const HubRepository& hub, const HubOptions& options, const RowsChoice& choice) {
  RowsServer server(rows_address(options), options.token, hub.name(), hub.commit());
  const auto splits = chosen_splits(hub.name(), server.splits(), choice);
  const fs::path folder = rows_folder(hub) / splits.front().config;
  PulledDataset pulled;
  for (const auto& one : splits) {
    if (!server.fetch(one, folder / (one.split + ".jsonl"))) {
      pulled.notices.push_back(
          fmt::format("the server has only the first part of the split '{}', and so has its file", one.split));
    }
  }
  hub.keep_reference();
  pulled.place = choice.split.empty() ? folder : folder / (choice.split + ".jsonl");
  return pulled;
}

std::vector<DatasetSplit> kept_rows(const fs::path& folder) {
  std::vector<DatasetSplit> kept;
  if (!fs::is_directory(folder)) return kept;
  for (const auto& config : fs::directory_iterator(folder)) {
    if (!config.is_directory()) continue;
    for (const auto& file : fs::directory_iterator(config.path())) {
      if (file.path().extension() == ".jsonl")
        kept.push_back({config.path().filename().string(), file.path().stem().string()});
    }
  }
  return kept;
}

fs::path rows_from_cache(const HubRepository& hub, const RowsChoice& choice) {
  const fs::path folder = rows_folder(hub);
  const auto kept = kept_rows(folder);
  if (kept.empty()) hub.fail_uncached();
  const auto chosen = chosen_splits(hub.name() + " in the cache", kept, choice);
  const fs::path config = folder / chosen.front().config;
  return choice.split.empty() ? config : config / (choice.split + ".jsonl");
}

PulledDataset from_cache(const HubRepository& hub, const HubOptions& options, const RowsChoice& choice) {
  const bool named = !options.files.empty();
  const auto names = named ? hub.cached() : taken_files(hub.name(), hub.cached(), options, choice);
  if (!names.empty()) return {place_of_data(hub.snapshot(), names, named || !choice.split.empty()), {}};
  if (named) hub.fail_uncached();
  return {rows_from_cache(hub, choice), {}};
}

std::vector<std::string> names_of_files(const std::vector<RemoteFile>& files) {
  std::vector<std::string> names;
  for (const RemoteFile& file : files) names.push_back(file.name);
  return names;
}

PulledDataset files_from_network(HubRepository& hub, const std::vector<RemoteFile>& files, bool named) {
  hub.fetch(files);
  hub.keep_reference();
  return {place_of_data(hub.snapshot(), names_of_files(files), named), {}};
}

}  // namespace

PulledDataset pull_dataset(const std::string& repository, const HubOptions& options, const RowsChoice& choice) {
  if (choice.is_made() && !options.files.empty()) {
    fail(Category::InvalidArgument, "--file",
         "fetches files as they are, --config and --split rows; name the ones or the others");
  }
  HubRepository hub(HubRepository::Kind::Dataset, repository, options);
  if (options.offline) return from_cache(hub, options, choice);
  const std::vector<RemoteFile> all = hub.list();
  if (!options.files.empty()) return files_from_network(hub, hub.matching(all), true);
  const auto names = taken_files(repository, names_of_files(all), options, choice);
  if (names.empty()) return rows_from_network(hub, options, choice);
  std::vector<RemoteFile> taken;
  std::copy_if(all.begin(), all.end(), std::back_inserter(taken),
               [&](const RemoteFile& file) { return std::find(names.begin(), names.end(), file.name) != names.end(); });
  PulledDataset pulled = files_from_network(hub, taken, !choice.split.empty());
  const auto parquet = std::count_if(all.begin(), all.end(), [](const auto& file) { return is_parquet(file.name); });
  if (parquet > 0 && !options.parquet) {
    pulled.notices.push_back(
        fmt::format("left out are {} Parquet files, which this build of graft does not read; --config or --split "
                    "fetches their rows",
                    parquet));
  }
  return pulled;
}

}  // namespace graft
