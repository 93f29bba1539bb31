// graft convert: a model or an adapter in another format. A model becomes llama.cpp's GGUF file or a Hugging Face
// folder; any adapter graft reads becomes a PEFT folder, a LoRA also llama.cpp's GGUF file.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "adapters/core/gguf_lora.h"
#include "adapters/core/peft.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "checkpoint/weight_format.h"
#include "cli/core/options.h"
#include "cli/core/placed_tensors.h"
#include "cli/core/verb.h"
#include "cli/core/weight_plan.h"
#include "convert/export.h"
#include "convert/lossless_model.h"
#include "convert/merge.h"
#include "nn/compute_dtype.h"

namespace graft {
namespace {

struct Arguments {
  std::string model, adapter, output, dtype;
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
  fmt::print("{}: {} adapter, {} tensors, {} values\n", arguments.output, loaded.method, loaded.tensors,
             trainable_elements(*loaded.adapter));
}

void write_gguf_file(const LoadedAdapter& loaded, const Model& model) {
  const GgufLoraReport report = save_gguf_lora(arguments.output, *loaded.adapter, model, manifest_of(loaded));
  fmt::print("{}: lora adapter in llama.cpp's layout, {} tensors, alpha {}\n", arguments.output, report.tensors,
             report.alpha);
  if (report.folded > 0)
    fmt::print("  {} maps have another alpha, which the format cannot say: its ratio went into their lora_b\n",
               report.folded);
}

struct Opened {
  std::unique_ptr<Model> model;
  LoadedAdapter adapter;
};

Opened open_adapter() {
  if (!arguments.dtype.empty())
    fail(Category::InvalidArgument, "dtype", "is for a whole model; an adapter is written as it is, leave --dtype out");
  refuse_output();
  const auto dtype = lossless_dtype(*open_model_files(arguments.model).weights);
  Opened opened;
  opened.model = load_lossless(arguments.model, {dtype, at::kCPU});  // nothing is computed with it
  opened.adapter = load_adapter(arguments.adapter, *opened.model);
  tell_placed(arguments.adapter, opened.adapter.method, opened.adapter.tensors);
  return opened;
}

void convert_adapter() {
  const Opened opened = open_adapter();
  if (wants_gguf()) {
    write_gguf_file(opened.adapter, *opened.model);
  } else {
    write_folder(opened.adapter, *opened.model);
  }
}

WorkPlan plan_adapter() {
  const auto began = Clock::now();
  const Opened opened = open_adapter();
  if (wants_gguf()) refuse_in_gguf_lora(arguments.output, *opened.adapter.adapter, *opened.model);
  WorkPlan plan = begin_weight_plan(*opened.model, WeightFormat::Dense, seconds_since(began));
  const std::int64_t bytes = adapter_bytes(*opened.adapter.adapter);
  plan.memory += bytes;  // as they are written
  add_files(plan, arguments.output, 0, bytes);
  return plan;
}

// Types that take less, as --dtype names them.
std::vector<std::string> smaller_types() {
  return wants_gguf() ? std::vector<std::string>{"q8_0", "q4_k"} : std::vector<std::string>{"bfloat16"};
}

WorkPlan plan_model() {
  const auto began = Clock::now();
  const ModelExport to(arguments.model, arguments.output, arguments.dtype);
  WorkPlan plan = begin_weight_plan(seconds_since(began));
  add_weights(plan, "rewriting", to.work(), arguments.output);
  if (plan.fits_files()) return plan;
  for (const std::string& type : smaller_types())
    add_smaller_files(plan, "--dtype " + type, ModelExport(arguments.model, arguments.output, type).work().written);
  return plan;
}

void plan(bool json) {
  print_plan(arguments.adapter.empty() ? plan_model() : plan_adapter(), json);
}

void print_tokenizer(const ExportReport& report) {
  if (report.no_tokenizer.empty()) {
    fmt::print("Try: graft generate --model {} --prompt \"…\"\n", arguments.output);
  } else if (wants_gguf()) {
    fmt::print("No tokenizer was written: {}. Put the model's tokenizer.json there and convert again.\n",
               report.no_tokenizer);
  } else {
    fmt::print("{}\n", no_tokenizer_text(report.no_tokenizer, arguments.output));
  }
}

void convert_model() {
  const ExportReport report = export_model(arguments.model, arguments.output, arguments.dtype);
  fmt::print("{}: {} tensors in {}, {}\n", arguments.output, report.tensors, report.types,
             human_bytes(static_cast<double>(report.bytes)));
  if (report.error.tensors > 0)
    fmt::print("  error of the {} rounded tensors against {}: mean {:.3g}%, worst {:.3g}% ({})\n", report.error.tensors,
               arguments.model, 100 * report.error.mean(), 100 * report.error.worst, report.error.worst_tensor);
  for (const std::string& note : report.notes) fmt::print("  {}\n", note);
  print_tokenizer(report);
}

int run() {
  if (arguments.adapter.empty()) {
    convert_model();
  } else {
    convert_adapter();
  }
  return 0;
}

void declare(CLI::App& app) {
  app.add_option("--model", arguments.model, "the model, or an adapter's base: folder or .gguf file")->required();
  app.add_option("adapter,--adapter", arguments.adapter,
                 std::string("converts it and not the model: ") + kAdapterFiles);
  app.add_option("--output", arguments.output,
                 "NAME.gguf for llama.cpp's file, else a new folder: a Hugging Face model, or an adapter in PEFT's "
                 "layout")
      ->required();
  app.add_option("--dtype,--type", arguments.dtype,
                 "of a model's matrices: float32, bfloat16 or float16 (f32, bf16, f16); of a GGUF file also " +
                     block_names("or") + " (default: as they are; in a folder bfloat16 where they are quantised)");
}

}  // namespace

namespace cli {
extern const Verb convert;
const Verb convert{"convert",
                   "write a model as a GGUF file or a folder, an adapter as a PEFT folder or a GGUF file",
                   "  graft convert --model SmolLM2-135M --dtype q8_0 --output SmolLM2.Q8_0.gguf\n"
                   "  graft convert --model gemma-2-2b-it --output gemma-2-2b-it.gguf   (any family but BART's)\n"
                   "  graft convert --model SmolLM2.Q8_0.gguf --dtype float16 --output SmolLM2-float16\n"
                   "  graft convert --model big-00001-of-00003.gguf --output big.gguf   (one file of several)\n"
                   "  graft convert --model t0-3b --adapter t03b_ia3_finish.pt --output t-few\n"
                   "  graft generate --model t0-3b --adapter t-few --prompt \"Review: great. Positive or negative?\"\n"
                   "  graft convert runs/bbc/adapter --model SmolLM2.gguf --output bbc.gguf   (then: llama-cli --lora "
                   "bbc.gguf)\n"
                   "  graft convert bbc.gguf --model SmolLM2.gguf --output bbc-peft\n",
                   declare,
                   run,
                   plan};
}  // namespace cli
}  // namespace graft
