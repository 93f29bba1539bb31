#include <c10/util/Exception.h>
#include <poll.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <system_error>

#include "base/build.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "cli/core/options.h"
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
  const auto out_of_memory = [&](bool gpu) {
    return Error(Category::ResourceExhausted, graft::out_of_memory_text(verb.name, gpu));
  };
  try {
    throw;
  } catch (const Error& error) {
    return error;
  } catch (const std::bad_alloc&) {
    return out_of_memory(false);
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    if (text.find("can't allocate memory") != std::string::npos) return out_of_memory(false);
    if (text.find("CUDA out of memory") != std::string::npos) return out_of_memory(true);
    return Error(Category::Internal, text);
  } catch (const std::system_error& error) {  // file systems and streams
    return Error(Category::Io, error.what());
  } catch (const std::exception& error) {
    return Error(Category::Internal, error.what());
  }
}

// Of a pipe or a socket.
bool reader_is_gone() {
  pollfd out{STDOUT_FILENO, POLLOUT, 0};
  return ::poll(&out, 1, 0) > 0 && (out.revents & (POLLERR | POLLHUP)) != 0;
}

// A reader that has seen enough (`| head`) is no mistake: quiet, with the status of a program that SIGPIPE ends.
int output_failed() {
  if (reader_is_gone()) return 128 + SIGPIPE;
  return report(Error(Category::Io, "cannot be written to; free some space, or send it elsewhere", "standard output"));
}

// `code`, once all of the output is where it goes.
int flushed(int code) {
  std::cout.flush();
  return std::fflush(stdout) == 0 && std::ferror(stdout) == 0 && std::cout.good() ? code : output_failed();
}

int run(const CLI::App& options, const graft::Verb& verb) {
  try {
    graft::refuse_empty_options(options);
    graft::choose_device_option();
    graft::cpu_features();  // a slip in what masks them is told before anything is loaded
    return flushed(verb.run());
  } catch (const std::system_error&) {
    // fmt throws it where it cannot print, and does not say where.
    return std::ferror(stdout) != 0 ? output_failed() : report(translated(verb));
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
  app.add_flag("--quiet", quiet, "no progress lines, and no word of adapters that were loaded");
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
    return flushed(app.exit(help));
  } catch (const CLI::CallForVersion& version) {
    return flushed(app.exit(version));
  } catch (const CLI::ParseError& error) {
    return report(Error(Category::InvalidArgument, graft::explain_usage(app, error)));
  }
  graft::Progress::set_quiet(quiet);
  for (const auto& [sub, verb] : verbs) {
    if (sub->parsed()) return run(*sub, *verb);
  }
  return 0;
}
