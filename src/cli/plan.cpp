// graft plan: what another command would take, before it runs.
#include <CLI/CLI.hpp>

#include "base/error.h"
#include "cli/core/verb.h"

namespace graft {
namespace {

bool as_json = false;
CLI::App* command = nullptr;

void declare(CLI::App& app) {
  command = &app;
  app.add_flag("--json", as_json, "as one JSON object");
  app.require_subcommand(1);
  for (const Verb* verb : cli::registry()) {
    if (verb->plan == nullptr) continue;
    CLI::App* sub = app.add_subcommand(verb->name, fmt::format("what graft {} would take; its options", verb->name));
    verb->declare(*sub);
  }
}

int run() {
  for (const Verb* verb : cli::registry()) {
    if (verb->plan != nullptr && command->got_subcommand(verb->name)) verb->plan(as_json);
  }
  return 0;
}

}  // namespace

namespace cli {
extern const Verb plan;
const Verb plan{
    "plan", "what a command would take in memory, time and room on the disk, and what would make it fit",
    "  graft plan tune --model SmolLM2.gguf --task bbc_news --data articles/ --shots 8 --eval-rows 200 "
    "--recipe tfew-cpu --output runs/bbc\n"
    "  graft plan eval --model SmolLM2.gguf --task rte --data superglue/rte/ --shots 0,8 --output runs/icl\n"
    "  graft plan generate --model SmolLM2.gguf --prompts prompts.jsonl --max-new-tokens 200\n"
    "  graft plan convert --model ./t0-3b --dtype q8_0 --output t0-3b.gguf\n"
    "  graft plan merge --model SmolLM2.gguf --adapter runs/bbc/adapter --output merged\n"
    "  graft plan --json tune --model ./t0-3b --task rte --data rte/ --output runs/rte\n",
    declare, run};
}  // namespace cli
}  // namespace graft
