#include "cli/core/options.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>

#include "arch/core/model.h"
#include "base/suggest.h"
#include "checkpoint/source.h"
#include "checkpoint/weight_format.h"
#include "cli/core/job.h"
#include "nn/compute_device.h"
#include "nn/compute_dtype.h"
#include "nn/kernels/block_product.h"

namespace graft {
namespace {

CLI::Validator number_option(const char* range, bool (*inside)(double)) {
  const auto refuse = [range, inside](const std::string& text) -> std::string {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    const bool number = end != text.c_str() && *end == '\0';
    return number && inside(value) ? "" : fmt::format("'{}' is no number {}, at most 1e15", text, range);
  };
  return CLI::Validator(refuse, range, "number");
}

constexpr const char* kAutoDevice = "auto";

std::string device_option = kAutoDevice;  // the one verb that runs was given

}  // namespace

CLI::Range count_from(std::int64_t least) {
  return CLI::Range(least, std::int64_t{1'000'000'000});
}

CLI::Validator positive_number() {
  return number_option("above 0", [](double value) { return value > 0 && value <= 1e15; });
}

CLI::Validator number_from_zero() {
  return number_option("from 0 on", [](double value) { return value >= 0 && value <= 1e15; });
}

CLI::Validator weights_name(const std::vector<std::string>& others) {
  std::vector<std::string> names = others;
  for (const std::string& name : weight_names()) names.push_back(name);
  const auto refuse = [names](const std::string& text) -> std::string {
    const bool known = std::find(names.begin(), names.end(), text) != names.end();
    return known ? "" : fmt::format("'{}' is not known{}", text, did_you_mean(text, names));
  };
  return CLI::Validator(refuse, fmt::format("{{{}}}", fmt::join(names, ",")), "weights");
}

std::string unescaped(const std::string& text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char next = text[i] == '\\' && i + 1 < text.size() ? text[i + 1] : '\0';
    const bool known = next == 'n' || next == 't' || next == '\\';
    result += !known ? text[i] : next == 'n' ? '\n' : next == 't' ? '\t' : '\\';
    i += known;
  }
  return result;
}

void add_column_options(CLI::App& app, std::string& text_column, std::string& label_column) {
  app.add_option("--text-column", text_column,
                 "without --task: the column that holds the text (a folder with a subfolder of .txt files for each "
                 "class needs none)");
  app.add_option("--label-column", label_column, "without --task: the column that holds the label");
}

void add_task_options(CLI::App& app, std::string& task, std::string& text_column, std::string& label_column) {
  app.add_option("--task", task, "a shipped task or a task YAML (graft list shows them)");
  add_column_options(app, text_column, label_column);
}

void add_device_option(CLI::App& app) {
  app.add_option("--device", device_option,
                 "where to compute: cpu; cuda, the first GPU; cuda:N, the one of that number, from 0; auto: the first "
                 "GPU where LibTorch sees one, else the CPU")
      ->capture_default_str();
}

void add_memory_option(CLI::App& app, std::string& memory) {
  app.add_option(
      "--memory", memory,
      "resident memory that it may take, e.g. 8GiB (default: what the machine has free). Where more would be "
      "taken, weights are read from the mapped file layer by layer, then batches of questions get smaller; "
      "the results are the same");
}

void choose_device_option() {
  if (device_option != kAutoDevice) choose_device(device_option);
}

void add_tasks_options(CLI::App& app, JobArguments& a) {
  app.add_option("--model", a.model, "model folder (Hugging Face) or .gguf file")->required();
  app.add_option("--task", a.tasks,
                 "a shipped task or a task YAML, once for each; rte=FILE names its data, else --data does");
  app.add_option("--data", a.data,
                 "file or folder with the examples, or a pattern of files ('rte/*.jsonl'); {task} stands for the task");
  add_column_options(app, a.text_column, a.label_column);
  add_device_option(app);
}

void add_writing_options(CLI::App& app, std::string& dtype, std::string& weights) {
  app.add_option("--dtype", dtype, "float32 or bfloat16 (default: bfloat16 on a GPU and where this CPU has it)")
      ->check(CLI::IsMember({"float32", "bfloat16"}));
  app.add_option(
         "--weights", weights,
         "how matrices are kept: dense; packed, as a GGUF file has them; in blocks of a type, quantised while loading; "
         "auto: packed in bfloat16 where the file has blocks and the CPU AVX-512 VNNI, else dense. Blocks then take "
         "inputs of 8 bits, as llama.cpp's do; in float32 they are exact")
      ->check(weights_name({"auto"}))
      ->capture_default_str();
  add_device_option(app);
}

ModelOptions writing_model(const std::string& model, const std::string& dtype, const std::string& weights) {
  ModelOptions options{compute_dtype(dtype.empty() ? "auto" : dtype), compute_device(), WeightFormat::Dense};
  if (weights != "auto") {
    options.weights = weight_format(weights);
  } else if (dtype != "float32" && options.device.is_cpu() && BlockProduct::fast()) {
    const auto file = open_checkpoint(model);
    const auto& tensors = file->tensors();
    if (std::any_of(tensors.begin(), tensors.end(), [](const auto& tensor) { return is_quantised(tensor.dtype); }))
      options.weights = WeightFormat::Packed;
  }
  return options;
}

void add_tuned_options(CLI::App& app, TunedArguments& tuned) {
  app.add_option("--run", tuned.run, "a run folder of graft tune: what is not said here is as in the run");
  app.add_option("--model", tuned.model, "model folder or .gguf file (default: the run's)");
  app.add_option("--adapter", tuned.adapter, std::string(kAdapterFiles) + " (default: the run's; without --run: none)");
  app.add_option("--weights", tuned.weights,
                 "how matrices are kept: dense; packed, as a GGUF file has them; or in blocks of a type, quantised "
                 "while loading (default: as in the run, or dense)")
      ->check(weights_name());
  add_device_option(app);
}

RunConfig config_of_tuned(const TunedArguments& tuned) {
  RunConfig config = tuned.run.empty() ? RunConfig{} : config_of_run(tuned.run);
  if (!tuned.model.empty()) config.model.path = tuned.model;
  if (!tuned.weights.empty()) config.model.weights = tuned.weights;
  return config;
}

std::string adapter_of_tuned(const TunedArguments& tuned) {
  if (!tuned.adapter.empty() || tuned.run.empty()) return tuned.adapter;
  return adapter_of_run(tuned.run).string();
}

}  // namespace graft
