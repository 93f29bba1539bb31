// graft pull: a model from a hub into the usual cache.
#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <filesystem>

#include "base/progress.h"
#include "checkpoint/hub.h"
#include "cli/core/verb.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::string repository, revision = "main", cache, endpoint;
  std::vector<std::string> files;
  bool offline = false;
};

Arguments arguments;

HubOptions options() {
  HubOptions options = hub_options_from_environment();
  options.revision = arguments.revision;
  options.files = arguments.files;
  options.offline = options.offline || arguments.offline;
  if (!arguments.cache.empty()) options.cache = arguments.cache;
  if (!arguments.endpoint.empty()) options.endpoint = arguments.endpoint;
  while (options.endpoint.ends_with('/')) options.endpoint.pop_back();
  return options;
}

std::uintmax_t size_of(const fs::path& place) {
  if (!fs::is_directory(place)) return fs::file_size(place);
  std::uintmax_t total = 0;
  for (const auto& entry : fs::recursive_directory_iterator(place)) {
    if (entry.is_regular_file()) total += entry.file_size();
  }
  return total;
}

int run() {
  const fs::path place = pull(arguments.repository, options());
  fmt::print("{}: {}\nnext: graft inspect {}\n", place.string(), human_bytes(static_cast<double>(size_of(place))),
             place.string());
  return 0;
}

void declare(CLI::App& app) {
  app.add_option("repository", arguments.repository, "organisation/name")->required();
  app.add_option("--revision", arguments.revision, "branch, tag or commit")->capture_default_str();
  app.add_option("--file", arguments.files,
                 "only files that match, e.g. '*.Q4_0.gguf'; may be given several times (default: what a model needs)")
      ->allow_extra_args(false);
  app.add_option("--cache", arguments.cache, "where to keep it (default: HF_HUB_CACHE, else HF_HOME/hub)");
  app.add_option("--endpoint", arguments.endpoint, "the hub (default: HF_ENDPOINT, else https://huggingface.co)");
  app.add_flag("--offline", arguments.offline, "answer from the cache, touch no network (HF_HUB_OFFLINE=1)");
}

}  // namespace

namespace cli {
extern const Verb pull;
const Verb pull{"pull", "fetch a model from a hub; an interrupted download goes on",
                "  graft pull HuggingFaceTB/SmolLM2-135M-Instruct\n"
                "  graft pull some/model-GGUF --file '*.Q4_0.gguf'\n"
                "  graft pull org/model --endpoint https://mirror.example --cache ./models\n"
                "Fetched files are checked against the SHA-256 that the hub promises. HF_TOKEN opens private ones.\n",
                declare, run};
}  // namespace cli
}  // namespace graft
