#include "checkpoint/hub_dataset.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "base/error.h"
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

bool is_readable_data(const fs::path& name) {
  static const std::set<std::string> endings = {".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".txt"};
  return endings.contains(name.extension().string()) && !is_about_data(name);
}

bool is_parquet(const std::string& name) {
  return name.ends_with(".parquet");
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
  std::vector<std::string> names = hub.cached();
  if (!named) std::erase_if(names, [](const std::string& name) { return !is_readable_data(name); });
  if (!choice.is_made() && !names.empty()) return {place_of_data(hub.snapshot(), names, named), {}};
  if (named) hub.fail_uncached();
  return {rows_from_cache(hub, choice), {}};
}

PulledDataset files_from_network(HubRepository& hub, const HubOptions& options, const std::vector<RemoteFile>& files) {
  std::vector<std::string> names;
  for (const RemoteFile& file : files) names.push_back(file.name);
  hub.fetch(files);
  hub.keep_reference();
  return {place_of_data(hub.snapshot(), names, !options.files.empty()), {}};
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
  if (!options.files.empty()) return files_from_network(hub, options, hub.matching(all));
  std::vector<RemoteFile> readable;
  std::copy_if(all.begin(), all.end(), std::back_inserter(readable),
               [](const RemoteFile& file) { return is_readable_data(file.name); });
  if (choice.is_made() || readable.empty()) return rows_from_network(hub, options, choice);
  PulledDataset pulled = files_from_network(hub, options, readable);
  const auto parquet = std::count_if(all.begin(), all.end(), [](const auto& file) { return is_parquet(file.name); });
  if (parquet > 0) {
    pulled.notices.push_back(fmt::format(
        "left out are {} Parquet files, which graft does not read; --config or --split fetches their rows", parquet));
  }
  return pulled;
}

}  // namespace graft
