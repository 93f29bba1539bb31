// graft data: what is done to texts before a model sees them, or to tell what it has seen.
#include <CLI/CLI.hpp>

#include "cli/core/data_tools.h"
#include "cli/core/verb.h"

namespace graft {
namespace {

const std::vector<const Verb*> kTools = {&data_tools::contamination, &data_tools::dedup, &data_tools::filter,
                                         &data_tools::classifier,    &data_tools::mix,   &data_tools::stats};

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
    "data", "look for evaluation examples in training text; deduplicate, filter and mix text",
    "  graft data contamination --train corpus/*.jsonl --task rte --data superglue/rte/ --output runs/rte-seen\n"
    "  graft data dedup corpus/*.jsonl --output unique.jsonl\n"
    "  graft data filter unique.jsonl --min-words 50 --min-letters-share 0.6 --output kept.jsonl\n"
    "  graft data classifier --good wiki.jsonl --bad crawl.jsonl --output quality.json\n"
    "  graft data mix --source web=kept.jsonl:0.8 --source wiki=wiki.jsonl:0.2 --documents 100000 --output mix.jsonl\n"
    "  graft data stats mix.jsonl\n",
    declare, run};
}  // namespace cli
}  // namespace graft
