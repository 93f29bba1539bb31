// A verb of the command: one file of src/cli that defines one Verb named after itself.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace graft {

struct Verb {
  const char* name;
  const char* summary;   ///< one line for `graft --help`
  const char* examples;  ///< shown under `graft VERB --help`
  /// Declares the options on `app`; returns what to run once they are parsed.
  void (*declare)(CLI::App& app);
  /// Runs with the parsed options; returns the exit code. Throws Error.
  int (*run)();
  /// Says what run() would take, with the same options (`graft plan VERB`), as JSON where asked; null: cannot tell.
  void (*plan)(bool json) = nullptr;
};

namespace cli {
const std::vector<const Verb*>& registry();
}  // namespace cli

}  // namespace graft
