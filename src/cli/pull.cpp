// graft pull: a model or a data set from a hub into the usual cache.
#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>

#include "base/error.h"
#include "base/progress.h"
#include "checkpoint/gguf_parts.h"
#include "checkpoint/hub.h"
#include "checkpoint/hub_dataset.h"
#include "cli/core/verb.h"
#include "data/parquet.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string repository, revision = "main", cache, endpoint;
  std::vector<std::string> files;
  RowsChoice rows;
  bool offline = false, dataset = false;
};

Arguments arguments;

HubOptions options() {
  HubOptions options = hub_options_from_environment();
  options.revision = arguments.revision;
  options.files = arguments.files;
  options.offline = options.offline || arguments.offline;
  options.parquet = reads_parquet();
  if (!arguments.cache.empty()) options.cache = arguments.cache;
  if (!arguments.endpoint.empty()) options.endpoint = arguments.endpoint;
  while (options.endpoint.ends_with('/')) options.endpoint.pop_back();
  return options;
}

std::uintmax_t size_of(const fs::path& place) {
  std::uintmax_t total = 0;
  if (!fs::is_directory(place)) {
    for (const fs::path& part : gguf_part_files(place)) total += fs::file_size(part);
    return total;
  }
  for (const auto& entry : fs::recursive_directory_iterator(place)) {
    if (entry.is_regular_file()) total += entry.file_size();
  }
  return total;
}

void print_place(const fs::path& place) {
  fmt::print("{}: {}\n", place.string(), human_bytes(static_cast<double>(size_of(place))));
}

int run_dataset() {
  const PulledDataset pulled = pull_dataset(arguments.repository, options(), arguments.rows);
  for (const auto& notice : pulled.notices) std::fprintf(stderr, "graft: note: %s\n", notice.c_str());
  print_place(pulled.place);
  fmt::print("next: graft eval --model MODEL --task TASK --data {}\n", pulled.place.string());
  return 0;
}

int run() {
  if (arguments.dataset) return run_dataset();
  if (arguments.rows.is_made())
    fail(Category::InvalidArgument, "--config and --split", "are of data sets; say --dataset too");
  const fs::path place = pull(arguments.repository, options());
  print_place(place);
  fmt::print("next: graft inspect {}\n", place.string());
  return 0;
}

void declare(CLI::App& app) {
  app.add_option("repository", arguments.repository, "organisation/name")->required();
  app.add_flag("--dataset", arguments.dataset, "a data set, not a model");
  app.add_option("--revision", arguments.revision, "branch, tag or commit")->capture_default_str();
  app.add_option("--file", arguments.files,
                 "only files that match, e.g. '*.Q4_0.gguf' (of a model in several GGUF files one brings the others "
                 "along); may be given several times (default: what a model needs; of a data set .jsonl, .ndjson, "
                 ".json, .csv, .tsv, .txt and .parquet files, or where there are none its rows as .jsonl)")
      ->allow_extra_args(false);
  app.add_option("--config", arguments.rows.config,
                 "of a data set: this configuration, its Parquet files or its rows as .jsonl");
  app.add_option("--split", arguments.rows.split, "of a data set: this split, likewise (default: all)");
  app.add_option("--cache", arguments.cache,
                 "where to keep it (default: HF_HUB_CACHE, else HF_HOME/hub, else huggingface/hub in XDG_CACHE_HOME or "
                 "~/.cache)");
  app.add_option("--endpoint", arguments.endpoint, "the hub (default: HF_ENDPOINT, else https://huggingface.co)");
  app.add_flag("--offline", arguments.offline, "answer from the cache, touch no network (HF_HUB_OFFLINE=1)");
}

}  // namespace

namespace cli {
extern const Verb pull;
const Verb pull{"pull", "fetch a model or a data set from a hub; an interrupted download goes on",
                "  graft pull HuggingFaceTB/SmolLM2-135M-Instruct\n"
                "  graft pull some/model-GGUF --file '*.Q4_0.gguf'\n"
                "  graft pull some/large-GGUF --file 'large-Q4_K_M-00001-of-00003.gguf'   (and the other two)\n"
                "  graft pull org/model --endpoint https://mirror.example --cache ./models\n"
                "  graft pull --dataset rajpurkar/squad_v2\n"
                "  graft pull --dataset cais/mmlu --config anatomy --split test\n"
                "  graft pull --dataset org/data --file 'train/*.csv'\n"
                "Fetched files are checked against the SHA-256 that the hub promises. HF_TOKEN opens private ones.\n"
                "Rows come from the server at HF_DATASETS_SERVER, of huggingface.co from its own.\n"
                "Downloads go through the proxy that https_proxy (HTTPS_PROXY, all_proxy, ALL_PROXY) names, written\n"
                "http://user:password@host:port (80 where it names none), but for the hosts, domains, addresses and\n"
                "blocks of addresses in no_proxy (NO_PROXY); to http:// addresses through that of http_proxy, in\n"
                "lower case only.\n",
                declare, run};
}  // namespace cli
}  // namespace graft
