#include <CLI/CLI.hpp>

#include <cstdio>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "cli/core/verb.h"

namespace {

int report(const graft::Error& error) {
  std::fprintf(stderr, "graft: %s\n", error.what());
  return graft::exit_code(error.category());
}

}  // namespace

int main(int argc, char** argv) {
  graft::catch_interrupts();
  CLI::App app("graft adapts language models with very little data, on the machine you have.");
  app.set_version_flag("--version", "graft " GRAFT_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  bool quiet = false;
  app.add_flag("--quiet", quiet, "no progress lines");
  std::vector<std::pair<CLI::App*, const graft::Verb*>> verbs;
  for (const graft::Verb* verb : graft::cli::registry()) {
    CLI::App* sub = app.add_subcommand(verb->name, verb->summary);
    sub->footer(std::string("\nExamples:\n") + verb->examples);
    verb->declare(*sub);
    verbs.emplace_back(sub, verb);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::CallForVersion& version) {
    return app.exit(version);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "graft: %s (see graft --help)\n", error.what());
    return graft::exit_code(graft::Category::InvalidArgument);
  }
  graft::Progress::set_quiet(quiet);
  for (const auto& [sub, verb] : verbs) {
    if (!sub->parsed()) continue;
    try {
      return verb->run();
    } catch (const graft::Error& error) {
      return report(error);
    } catch (const std::bad_alloc&) {
      return report(graft::Error(graft::Category::ResourceExhausted,
                                 "out of memory; use a smaller batch or --checkpoint-layers"));
    } catch (const std::exception& error) {
      return report(graft::Error(graft::Category::Internal, error.what()));
    }
  }
  return 0;
}
