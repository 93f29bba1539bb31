// graft similarity: what the updates of two LoRA adapters have in common.
#include <ATen/ATen.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

#include "adapters/core/peft.h"
#include "base/build.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json_text.h"
#include "cli/core/options.h"
#include "cli/core/placed_tensors.h"
#include "cli/core/verb.h"
#include "cli/core/weight_plan.h"
#include "convert/lossless_model.h"
#include "convert/subspace.h"
#include "nn/compute_dtype.h"
#include "report/similarity.h"

namespace graft {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  std::string model, of = "a", output = "similarity.html";
  std::vector<std::string> adapters;
  bool json = false;
};

Arguments arguments;

std::vector<std::vector<double>> rows_of(const at::Tensor& grid) {
  std::vector<std::vector<double>> rows;
  const at::Tensor values = grid.contiguous();
  const auto* data = values.const_data_ptr<double>();
  for (std::int64_t i = 0; i < values.size(0); ++i, data += values.size(1))
    rows.emplace_back(data, data + values.size(1));
  return rows;
}

// Maps of one role may have several ranks, by layer: each pair of ranks is a mean of its own.
std::vector<RoleSimilarity> by_role(const std::vector<MapSimilarity>& maps) {
  std::map<std::pair<Role, std::vector<std::int64_t>>, std::vector<const MapSimilarity*>> groups;
  for (const auto& map : maps) groups[{map.role, map.grid.sizes().vec()}].push_back(&map);
  std::vector<RoleSimilarity> result;
  for (const auto& [key, alike] : groups) {
    at::Tensor sum = at::zeros_like(alike.front()->grid);
    for (const auto* map : alike) sum += map->grid;
    const auto count = static_cast<std::int64_t>(alike.size());
    result.push_back({name(key.first), count, alike.front()->in, rows_of(sum / count)});
  }
  return result;
}

std::vector<SiteSimilarity> by_site(const std::vector<MapSimilarity>& maps) {
  std::vector<SiteSimilarity> result;
  for (const auto& map : maps) {
    const auto largest = static_cast<double>(std::max(map.grid.size(0), map.grid.size(1)));
    result.push_back({map.site, map.grid[0][0].item<double>(), map.grid[-1][-1].item<double>(),
                      largest / static_cast<double>(map.in)});
  }
  return result;
}

Json json_of(const SimilarityReport& report) {
  Json all = {{"model", report.model}, {"first", report.first}, {"second", report.second}};
  for (const auto& role : report.roles)
    all["roles"].push_back({{"role", role.role}, {"maps", role.maps}, {"in", role.in}, {"similarity", role.grid}});
  for (const auto& site : report.sites)
    all["maps"].push_back({{"map", site.site}, {"first", site.first}, {"all", site.whole}, {"random", site.chance}});
  return all;
}

void print(const SimilarityReport& report) {
  fmt::print("{:<8} {:>6} {:>22} {:>16} {:>10}\n", "role", "maps", "strongest direction", "all directions", "random");
  for (const auto& role : report.roles) {
    const double largest = static_cast<double>(std::max(role.grid.size(), role.grid.front().size()));
    fmt::print("{:<8} {:>6} {:>22.3f} {:>16.3f} {:>10.3f}\n", role.role, role.maps, role.grid.front().front(),
               role.grid.back().back(), largest / static_cast<double>(role.in));
  }
  fmt::print("{}: a heat map per role, and every map\n", arguments.output);
}

struct Opened {
  std::unique_ptr<Model> model;
  LoadedAdapter first, second;
};

Opened open_pair() {
  if (arguments.adapters.size() != 2)
    fail(Category::InvalidArgument, "--adapter", "two adapters are compared, not {}", arguments.adapters.size());
  if (std::filesystem::exists(arguments.output))
    fail(Category::InvalidArgument, arguments.output, "exists already; name a new file with --output");
  const auto dtype = lossless_dtype(*open_model_files(arguments.model).weights);
  Opened opened;
  opened.model = load_lossless(arguments.model, {dtype, compute_device()});
  opened.first = load_adapter(arguments.adapters[0], *opened.model);
  opened.second = load_adapter(arguments.adapters[1], *opened.model);
  tell_placed(arguments.adapters[0], opened.first.method, opened.first.tensors);
  tell_placed(arguments.adapters[1], opened.second.method, opened.second.tensors);
  return opened;
}

bool of_updates() {
  return arguments.of == "update";
}

void plan(bool json) {
  const auto began = Clock::now();
  const Opened opened = open_pair();
  WorkPlan plan = begin_weight_plan(*opened.model, WeightFormat::Dense, seconds_since(began));
  add_tensors(plan, "comparing",
              similarity_work(*opened.model, *opened.first.adapter, *opened.second.adapter, of_updates()));
  print_plan(plan, json);
}

int run() {
  const Opened opened = open_pair();
  const auto maps = similarity_of(*opened.model, *opened.first.adapter, *opened.second.adapter, of_updates());
  const SimilarityReport report{arguments.model, arguments.adapters[0], arguments.adapters[1],
                                by_role(maps),   by_site(maps),         build_version()};
  write_file(arguments.output, render_similarity(report));
  if (arguments.json) {
    fmt::print("{}\n", json_text(json_of(report), 2));
  } else {
    print(report);
  }
  return 0;
}

void declare(CLI::App& app) {
  Arguments& a = arguments;
  app.add_option("--model", a.model, "base model: folder or .gguf file")->required();
  app.add_option("--adapter", a.adapters, "two LoRA adapters of it, of any ranks")->required();
  app.add_option(
         "--of", a.of,
         "a: the matrices A, as Hu et al.; update: B·A, which does not depend on how it is factored (PiSSA, graft "
         "blend)")
      ->check(CLI::IsMember({"a", "update"}))
      ->capture_default_str();
  add_device_option(app);
  app.add_option("--output", a.output, "the page that is written")->capture_default_str();
  app.add_flag("--json", a.json, "also print every number as one JSON object");
}

}  // namespace

namespace cli {
extern const Verb similarity;
const Verb similarity{
    "similarity",
    "compare the subspaces of two LoRA adapters, by rank or seed (Hu et al. 2021)",
    "  graft similarity --model m.gguf --adapter runs/r8/adapter runs/r64/adapter --output similarity.html\n"
    "  graft similarity --model m.gguf --adapter runs/seed0/adapter runs/seed1/adapter --json\n",
    declare,
    run,
    plan};
}  // namespace cli
}  // namespace graft
