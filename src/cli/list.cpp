// graft list: what this build has.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "adapters/core/method.h"
#include "arch/core/architecture.h"
#include "base/json_text.h"
#include "cli/core/verb.h"
#include "config/comparison.h"
#include "config/shipped.h"
#include "data/parquet.h"
#include "data/task.h"

namespace graft {
namespace {

using Json = nlohmann::ordered_json;

struct Format {
  const char* name;
  const char* summary;
};

constexpr Format kFormats[] = {
    {"safetensors", "read and written, also in shards with an index"},
    {"gguf",
     "read: F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL; written: all but Q2_K Q3_K IQ4_NL; "
     "models, and llama.cpp's LoRA adapters"},
    {"pytorch", "read: .bin, .pt and .pth zip files, weights only, nothing in them is executed"},
    {"peft", "adapter folders, read and written"},
    {"rows", "read: .jsonl, .csv, .tsv and .txt files and folders of these"},
};

constexpr Format kParquet = {"parquet", "read: rows of .parquet files, several for large data sets"};

bool as_json = false;

std::vector<std::string> lines_of(const char* text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

Json catalogue() {
  Json all = {{"architectures", Json::array()},
              {"methods", Json::array()},
              {"tasks", Json::array()},
              {"comparisons", Json::array()},
              {"formats", Json::array()}};
  for (const Architecture* a : arch::registry())
    all["architectures"].push_back({{"name", a->name}, {"summary", a->summary}});
  for (const Method* m : adapters::registry()) {
    all["methods"].push_back(
        {{"name", m->name}, {"summary", m->summary}, {"options", lines_of(m->options)}, {"peft_type", m->peft_type}});
  }
  for (const auto& name : shipped_tasks())
    all["tasks"].push_back({{"name", name}, {"summary", load_task(name).description}});
  for (const auto& name : shipped_names("comparisons"))
    all["comparisons"].push_back({{"name", name}, {"summary", load_comparison(name).description}});
  for (const auto& format : kFormats) all["formats"].push_back({{"name", format.name}, {"summary", format.summary}});
  if (reads_parquet()) all["formats"].push_back({{"name", kParquet.name}, {"summary", kParquet.summary}});
  return all;
}

int run() {
  const Json all = catalogue();
  if (as_json) {
    fmt::print("{}\n", json_text(all, 2));
    return 0;
  }
  for (const auto& [group, entries] : all.items()) {
    fmt::print("{}\n", group);
    for (const auto& entry : entries) {
      fmt::print("  {:<14} {}\n", entry["name"].get<std::string>(), entry["summary"].get<std::string>());
      for (const auto& option : entry.value("options", Json::array()))
        fmt::print("  {:<14}   {}\n", "", option.get<std::string>());
    }
    fmt::print("\n");
  }
  return 0;
}

void declare(CLI::App& app) {
  app.add_flag("--json", as_json, "as one JSON object");
}

}  // namespace

namespace cli {
extern const Verb list;
const Verb list{"list", "the architectures, methods, tasks, comparisons and formats of this build",
                "  graft list\n"
                "  graft list --json\n",
                declare, run};
}  // namespace cli
}  // namespace graft
