// graft convert: any adapter graft reads becomes a PEFT folder.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>

#include "adapters/core/peft.h"
#include "base/file.h"
#include "cli/core/verb.h"
#include "nn/compute_dtype.h"

namespace graft {
namespace {

struct Arguments {
  std::string model, adapter, output;
};

Arguments arguments;

// What the adapter told of itself goes along.
Manifest manifest_of(const LoadedAdapter& loaded) {
  Manifest manifest;
  for (const auto& [key, value] : loaded.manifest.items()) {
    if (value.is_string()) manifest.fields[key] = value.get<std::string>();
  }
  return manifest;
}

int run() {
  refuse_occupied(arguments.output);
  const auto dtype = lossless_dtype(*open_model_files(arguments.model).weights);
  const auto model = load_model(arguments.model, {dtype, compute_device()});
  const LoadedAdapter loaded = load_adapter(arguments.adapter, *model);
  AtomicFolder folder(arguments.output);
  save_adapter(folder.path(), *loaded.adapter, *model, manifest_of(loaded));
  folder.commit();
  fmt::print("{}: {} adapter, {} tensors, every one placed; {} values\n", arguments.output, loaded.method,
             loaded.tensors, trainable_elements(*loaded.adapter));
  return 0;
}

void declare(CLI::App& app) {
  app.add_option("--model", arguments.model, "base model: folder or .gguf file")->required();
  app.add_option("--adapter", arguments.adapter, "PEFT adapter folder, or a .pt file of T-Few's authors")->required();
  app.add_option("--output", arguments.output, "new folder for the adapter in PEFT's layout")->required();
}

}  // namespace

namespace cli {
extern const Verb convert;
const Verb convert{"convert", "write an adapter as a PEFT folder",
                   "  graft convert --model t0-3b --adapter t03b_ia3_finish.pt --output t-few\n"
                   "  graft generate --model t0-3b --adapter t-few --prompt \"Review: great. Positive or negative?\"\n",
                   declare, run};
}  // namespace cli
}  // namespace graft
