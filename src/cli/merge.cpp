// graft merge: an adapter and its base become one plain model.
#include "convert/merge.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <cstdio>

#include "base/progress.h"
#include "cli/core/verb.h"

namespace graft {
namespace {

struct Arguments {
  std::string model, adapter, output;
  MergeOptions options;
};

Arguments arguments;

int run() {
  const MergeReport report = merge(arguments.model, arguments.adapter, arguments.output, arguments.options);
  fmt::print("{}: {} tensors, {} changed by the {} adapter, {}\n", arguments.output, report.tensors, report.changed,
             report.method, human_bytes(static_cast<double>(report.bytes)));
  if (!report.no_tokenizer.empty()) {
    fmt::print("No tokenizer was written: {}. Copy the model's tokenizer.json into {} to make it whole.\n",
               report.no_tokenizer, arguments.output);
  } else {
    fmt::print("Try: graft generate --model {} --prompt \"…\"\n", arguments.output);
  }
  return 0;
}

void declare(CLI::App& app) {
  app.add_option("--model", arguments.model, "base model: folder or .gguf file")->required();
  app.add_option("--adapter", arguments.adapter, "PEFT adapter folder, or a .pt file of T-Few's authors")->required();
  app.add_option("--output", arguments.output, "new folder for the merged model")->required();
  app.add_option("--dtype", arguments.options.dtype,
                 "float32, bfloat16 or float16 (default: as the base, bfloat16 where it is quantised)");
  app.add_option(
         "--weights", arguments.options.weights,
         "q8_0 or q4_0 for an adapter whose run quantised its base (model.weights): it is merged into those values")
      ->check(CLI::IsMember({"dense", "packed", "q8_0", "q4_0"}))
      ->capture_default_str();
}

}  // namespace

namespace cli {
extern const Verb merge;
const Verb merge{"merge", "write an adapter into its base model",
                 "  graft merge --model my-model --adapter runs/latest/adapter --output merged\n"
                 "  graft merge --model SmolLM2.gguf --adapter runs/latest/adapter --output merged --dtype float32\n",
                 declare, run};
}  // namespace cli
}  // namespace graft
