#include "cli/core/options.h"

#include "cli/core/job.h"

namespace graft {

CLI::Range count_from(std::int64_t least) {
  return CLI::Range(least, std::int64_t{1'000'000'000});
}

void add_column_options(CLI::App& app, std::string& text_column, std::string& label_column) {
  app.add_option("--text-column", text_column, "without --task: the column that holds the text");
  app.add_option("--label-column", label_column, "without --task: the column that holds the label");
}

void add_task_options(CLI::App& app, std::string& task, std::string& text_column, std::string& label_column) {
  app.add_option("--task", task, "a shipped task or a task YAML (graft list shows them)");
  add_column_options(app, text_column, label_column);
}

void add_tasks_options(CLI::App& app, JobArguments& a) {
  app.add_option("--model", a.model, "model folder (Hugging Face) or .gguf file")->required();
  app.add_option("--task", a.tasks,
                 "a shipped task or a task YAML, once for each; rte=FILE names its data, else --data does");
  app.add_option("--data", a.data,
                 "file or folder with the examples, or a pattern of files ('rte/*.jsonl'); {task} stands for the task");
  add_column_options(app, a.text_column, a.label_column);
}

void add_tuned_options(CLI::App& app, TunedArguments& tuned) {
  app.add_option("--run", tuned.run, "a run folder of graft tune: what is not said here is as in the run");
  app.add_option("--model", tuned.model, "model folder or .gguf file (default: the run's)");
  app.add_option("--adapter", tuned.adapter,
                 "PEFT adapter folder or llama.cpp's LoRA (.gguf) (default: the run's; without --run: none)");
  app.add_option("--weights", tuned.weights,
                 "dense, packed, q8_0 or q4_0: how matrices are kept (default: as in the run, or dense)")
      ->check(CLI::IsMember({"dense", "packed", "q8_0", "q4_0"}));
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
