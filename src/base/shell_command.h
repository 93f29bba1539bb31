// A command of the user's own: lines in, lines out.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace graft {

struct ShellCommand {
  std::string text;       ///< as it was given; nothing but `/bin/sh -c TEXT` runs it
  std::string context;    ///< for messages: the option that named it
  double patience = 600;  ///< seconds in which it neither takes in nor answers anything, after which it is ended
};

/// Runs the command, writes `input` to its standard input, and returns the lines of its standard output, without their
/// ends; what it writes to standard error goes where ours goes. At the first line beyond `at_most` the command is
/// ended, and what it wrote so far returned. `on_lines` is told how many have come. The command is a process group of
/// its own, of which nothing is left when this returns or throws: Io (cannot be started, an exit status that is not 0,
/// a signal, no patience left, a line over 1 MiB), Cancelled on Ctrl-C. Meanwhile SIGPIPE is ignored and SIGCHLD is
/// not, in the whole process: one call at a time.
std::vector<std::string> lines_through(const ShellCommand& command, const std::string& input, std::size_t at_most,
                                       const std::function<void(std::size_t)>& on_lines = {});

}  // namespace graft
