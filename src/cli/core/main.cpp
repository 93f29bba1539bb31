#include <c10/util/Exception.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <system_error>

#include "base/build.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "cli/core/usage.h"
#include "cli/core/verb.h"
#include "nn/tensor_memory.h"

namespace {

using graft::Category;
using graft::Error;

// One line, whatever a file name or another library's message holds.
int report(const Error& error) {
  std::string line = error.what();
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  std::fprintf(stderr, "graft: %s\n", line.c_str());
  return graft::exit_code(error.category());
}

// What another library threw in a verb, in our categories.
Error translated(const graft::Verb& verb) {
  const auto out_of_memory = [&] { return Error(Category::ResourceExhausted, graft::out_of_memory_text(verb.name)); };
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return out_of_memory();
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    if (text.find("can't allocate memory") != std::string::npos) return out_of_memory();
    return Error(Category::Internal, text);
  } catch (const std::system_error& error) {  // file systems and streams
    return Error(Category::Io, error.what());
  } catch (const std::exception& error) {
    return Error(Category::Internal, error.what());
  }
}

int run(const CLI::App& options, const graft::Verb& verb) {
  try {
    graft::refuse_empty_options(options);
    const int code = verb.run();
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0)
      graft::fail(Category::Io, "standard output", "cannot be written to: is the disk full, or the reader gone?");
    return code;
  } catch (...) {
    return report(translated(verb));
  }
}

}  // namespace

int main(int argc, char** argv) {
  graft::use_tensor_memory();
  graft::catch_interrupts();
  CLI::App app("graft adapts language models with very little data, on the machine you have.");
  app.set_version_flag("--version", "graft " + graft::build_version());
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
    return report(Error(Category::InvalidArgument, graft::explain_usage(app, error)));
  }
  graft::Progress::set_quiet(quiet);
  for (const auto& [sub, verb] : verbs) {
    if (sub->parsed()) return run(*sub, *verb);
  }
  return 0;
}
