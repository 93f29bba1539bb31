// graft data: what is done to texts before a model sees them, or to tell what it has seen.
#include <CLI/CLI.hpp>

#include "cli/core/data_tools.h"
#include "cli/core/verb.h"

namespace graft {
namespace {

const std::vector<const Verb*> kTools = {&data_tools::contamination};

std::vector<std::pair<const CLI::App*, const Verb*>> declared;

void declare(CLI::App& app) {
  app.require_subcommand(1);
  for (const Verb* tool : kTools) {
    CLI::App* sub = app.add_subcommand(tool->name, tool->summary);
    sub->footer(std::string("\nExamples:\n") + tool->examples);
    tool->declare(*sub);
    declared.emplace_back(sub, tool);
  }
}

int run() {
  for (const auto& [sub, tool] : declared) {
    if (sub->parsed()) return tool->run();
  }
  return 0;
}

}  // namespace

namespace cli {
extern const Verb data;
const Verb data{
    "data", "look for evaluation examples in training text",
    "  graft data contamination --train corpus/*.jsonl --task rte --data superglue/rte/ --output runs/rte-seen\n"
    "  graft data contamination --help\n",
    declare, run};
}  // namespace cli
}  // namespace graft
