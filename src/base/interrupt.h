// Ctrl-C that loses nothing: the first SIGINT or SIGTERM asks, the second one ends the process.
#pragma once

namespace graft {

/// Installs the handlers. Call once, from main.
void catch_interrupts();

/// True after the first signal. Long loops look at it between steps, save their state and throw Cancelled.
bool interrupted();

/// Throws Cancelled for work ("evaluation") that the same command takes up where it was left.
[[noreturn]] void fail_interrupted(const char* work);

/// fail_interrupted() after the first signal.
void stop_if_interrupted(const char* work);

}  // namespace graft
