// Any bytes as a task YAML and as a recipe: an Error or a result, nothing else.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "config/run_config.h"
#include "data/task.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    graft::used_fields(graft::parse_task(text, "fuzz.yaml"));
  } catch (const graft::Error&) {
  }
  try {
    const auto config = graft::parse_run_config(text, "fuzz.yaml");
    // What was read can be written and read again.
    if (!(graft::parse_run_config(graft::write_run_config(config), "again.yaml") == config)) __builtin_trap();
  } catch (const graft::Error&) {
  }
  return 0;
}
