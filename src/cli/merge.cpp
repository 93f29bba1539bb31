// graft merge: an adapter and its base become one plain model.
#include "convert/merge.h"
#include "cli/core/placed_tensors.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>

#include "base/clock.h"
#include "base/progress.h"
#include "checkpoint/weight_format.h"
#include "cli/core/options.h"
#include "cli/core/verb.h"
#include "cli/core/weight_plan.h"
#include "convert/merged_weights.h"

namespace graft {
namespace {

struct Arguments {
  std::string model, adapter, output;
  MergeOptions options;
};

Arguments arguments;

// Of the adapter's change: less of it left, or the rounding that much larger, and the file is not the adapter's model.
constexpr double kMostIsLost = 0.5, kDrowned = 2;

// Empty where nothing is.
std::string complaint(const WrittenChange& written) {
  if (written.survived < kMostIsLost)
    return fmt::format("most of the adapter's change is smaller than a step of {} and was rounded away", written.types);
  if (written.rounding > kDrowned * written.change)
    return fmt::format("rounding to {} moves the weights {:.1f} times as far as the adapter does", written.types,
                       written.rounding / written.change);
  return "";
}

void print_written(const WrittenChange& written) {
  fmt::print("  error of the changed weights against fp32: mean {:.3g}%, worst {:.3g}% ({})\n",
             100 * written.mean_error, 100 * written.worst_error, written.worst);
  fmt::print("  norm of the adapter's change: {:.4g} in fp32, {:.4g} as written; {:.3g}% of it survives the rounding\n",
             written.change, written.written, 100 * written.survived);
  const std::string what = complaint(written);
  if (what.empty()) return;
  const bool bytes = written.types.find("Q8_0") != std::string::npos;
  fmt::print(stderr, "graft: note: {}; merge again with {}\n", what,
             bytes ? "--dtype float16" : "--dtype q8_0 or float16");
}

int run() {
  const MergeReport report = merge(arguments.model, arguments.adapter, arguments.output, arguments.options);
  tell_placed(arguments.adapter, report.method, report.placed);
  fmt::print("{}: {} tensors, {} changed by the {} adapter{}, {}\n", arguments.output, report.tensors, report.changed,
             report.method, report.written ? " and written as " + report.written->types : "",
             human_bytes(static_cast<double>(report.bytes)));
  if (report.written) print_written(*report.written);
  if (!report.no_tokenizer.empty()) {
    fmt::print("{}\n", no_tokenizer_text(report.no_tokenizer, arguments.output));
  } else {
    fmt::print("Try: graft generate --model {} --prompt \"…\"\n", arguments.output);
  }
  return 0;
}

// In which a folder takes 2 bytes a value; of a GGUF file the dtype is that of what is changed, and of no other tensor.
void add_half_precision(WorkPlan& plan, const Model& model) {
  if (std::filesystem::path(arguments.output).extension() == ".gguf") return;
  add_smaller_files(plan, "--dtype bfloat16", 2 * model.parameters().elements());
}

void plan(bool json) {
  const auto began = Clock::now();
  const OpenedMerge opened = open_merge(arguments.model, arguments.adapter, arguments.output, arguments.options);
  tell_placed(arguments.adapter, opened.adapter.method, opened.adapter.tensors);
  const Model& model = *opened.model;
  WorkPlan plan = begin_weight_plan(model, opened.asked, seconds_since(began));
  add_weights(plan, "merging", opened.writer->work(merged_parameters(model, *opened.adapter.adapter)),
              arguments.output);
  add_half_precision(plan, model);
  print_plan(plan, json);
}

void declare(CLI::App& app) {
  app.add_option("--model", arguments.model, "base model: folder or .gguf file")->required();
  app.add_option("--adapter", arguments.adapter, kAdapterFiles)->required();
  app.add_option("--output", arguments.output,
                 "new folder for the merged model, in safetensors files (of a PyTorch .bin or a GGUF base too), or "
                 "NAME.gguf: the base's GGUF file with the changed tensors rounded to their own types")
      ->required();
  app.add_option(
      "--dtype", arguments.options.dtype,
      "float32, bfloat16 or float16 (default: as the base; in a folder bfloat16 where it is quantised); of a "
      "GGUF file's changed matrices also " +
          block_names("or"));
  app.add_option(
         "--weights", arguments.options.weights,
         "the block type to which the adapter's run quantised its base (model.weights): it is merged into those values")
      ->check(weights_name())
      ->capture_default_str();
  add_device_option(app);
}

}  // namespace

namespace cli {
extern const Verb merge;
const Verb merge{"merge",
                 "write an adapter into its base model",
                 "  graft merge --model my-model --adapter runs/latest/adapter --output merged\n"
                 "  graft merge --model SmolLM2.gguf --adapter runs/latest/adapter --output merged --dtype float32\n"
                 "  graft merge --model SmolLM2.Q4_1.gguf --adapter runs/latest/adapter --output merged.gguf\n"
                 "  graft merge --model SmolLM2.Q4_1.gguf --adapter lora.gguf --output merged.gguf --dtype q8_0\n",
                 declare,
                 run,
                 plan};
}  // namespace cli
}  // namespace graft
