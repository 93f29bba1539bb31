// graft convert: any adapter graft reads becomes a PEFT folder, a LoRA also llama.cpp's GGUF file.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>

#include "adapters/core/gguf_lora.h"
#include "adapters/core/peft.h"
#include "base/error.h"
#include "base/file.h"
#include "cli/core/options.h"
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

bool wants_gguf() {
  return std::filesystem::path(arguments.output).extension() == ".gguf";
}

void refuse_output() {
  if (!wants_gguf()) {
    refuse_occupied(arguments.output);
  } else if (std::filesystem::exists(arguments.output)) {
    fail(Category::InvalidArgument, arguments.output, "is there already; choose another name");
  }
}

void write_folder(const LoadedAdapter& loaded, const Model& model) {
  AtomicFolder folder(arguments.output);
  save_adapter(folder.path(), *loaded.adapter, model, manifest_of(loaded));
  folder.commit();
  fmt::print("{}: {} adapter, {} tensors, every one placed; {} values\n", arguments.output, loaded.method,
             loaded.tensors, trainable_elements(*loaded.adapter));
}

void write_gguf_file(const LoadedAdapter& loaded, const Model& model) {
  const GgufLoraReport report = save_gguf_lora(arguments.output, *loaded.adapter, model, manifest_of(loaded));
  fmt::print("{}: lora adapter in llama.cpp's layout, {} tensors, alpha {}\n", arguments.output, report.tensors,
             report.alpha);
  if (report.folded > 0)
    fmt::print("  {} maps have another alpha, which the format cannot say: its ratio went into their lora_b\n",
               report.folded);
}

int run() {
  refuse_output();
  const auto dtype = lossless_dtype(*open_model_files(arguments.model).weights);
  const auto model = load_model(arguments.model, {dtype, compute_device()});
  const LoadedAdapter loaded = load_adapter(arguments.adapter, *model);
  if (wants_gguf()) {
    write_gguf_file(loaded, *model);
  } else {
    write_folder(loaded, *model);
  }
  return 0;
}

void declare(CLI::App& app) {
  app.add_option("--model", arguments.model, "base model: folder or .gguf file")->required();
  app.add_option("adapter,--adapter", arguments.adapter, kAdapterFiles)->required();
  app.add_option("--output", arguments.output,
                 "new folder for the adapter in PEFT's layout, or NAME.gguf for a LoRA in llama.cpp's")
      ->required();
}

}  // namespace

namespace cli {
extern const Verb convert;
const Verb convert{"convert", "write an adapter as a PEFT folder, or a LoRA as llama.cpp's GGUF file",
                   "  graft convert --model t0-3b --adapter t03b_ia3_finish.pt --output t-few\n"
                   "  graft generate --model t0-3b --adapter t-few --prompt \"Review: great. Positive or negative?\"\n"
                   "  graft convert runs/bbc/adapter --model SmolLM2.gguf --output bbc.gguf   (then: llama-cli --lora "
                   "bbc.gguf)\n"
                   "  graft convert bbc.gguf --model SmolLM2.gguf --output bbc-peft\n",
                   declare, run};
}  // namespace cli
}  // namespace graft
