#include "base/interrupt.h"

#include <csignal>

#include "base/error.h"

namespace graft {
namespace {

volatile std::sig_atomic_t signalled = 0;

void on_signal(int signal) {
  signalled = 1;
  std::signal(signal, SIG_DFL);
}

}  // namespace

void catch_interrupts() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  // Both then show as an error of write(), which is reported.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

bool interrupted() {
  return signalled != 0;
}

void fail_interrupted(const char* work) {
  fail(Category::Cancelled, "", "{} interrupted; run the same command again to go on", work);
}

void stop_if_interrupted(const char* work) {
  if (interrupted()) fail_interrupted(work);
}

}  // namespace graft
