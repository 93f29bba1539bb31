// Options that several verbs declare alike.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "config/run_config.h"

namespace graft {

struct JobArguments;
struct ModelOptions;

/// What --adapter takes.
inline constexpr const char* kAdapterFiles =
    "PEFT adapter folder, a LoRA of llama.cpp's (.gguf), or a .pt file of T-Few's authors";

/// A whole number from `least` on.
CLI::Range count_from(std::int64_t least);

/// A number above 0, or from 0 on, and at most 1e15; no NaN, which CLI::Range lets through.
CLI::Validator positive_number();
CLI::Validator number_from_zero();

/// What "\n", "\t" and "\\" stand for in a text that was typed in a shell.
std::string unescaped(const std::string& text);

/// --text-column and --label-column.
void add_column_options(CLI::App& app, std::string& text_column, std::string& label_column);

/// --task, --text-column and --label-column.
void add_task_options(CLI::App& app, std::string& task, std::string& text_column, std::string& label_column);

/// --device, of every verb that computes; those on tasks, on a tuned model and that write have it from below.
void add_device_option(CLI::App& app);

/// Computes on what --device said, where it was given. Throws as choose_device.
void choose_device_option();

/// --memory, of a verb that computes without training.
void add_memory_option(CLI::App& app, std::string& memory);

/// --model, --task, --data, the columns and --device, of a verb on one model and several tasks.
void add_tasks_options(CLI::App& app, JobArguments& arguments);

/// What --weights takes: weight_names(), behind `others`. A slip is told with the nearest.
CLI::Validator weights_name(const std::vector<std::string>& others = {});

/// --dtype, --weights and --device of a model that writes texts.
void add_writing_options(CLI::App& app, std::string& dtype, std::string& weights);

/// How the model at `model` is loaded to write, from what these options say. Blocks that a GGUF file has are computed
/// with as they are where that is fast; the dtype float32 keeps every digit. Throws as open_checkpoint.
ModelOptions writing_model(const std::string& model, const std::string& dtype, const std::string& weights);

/// What a verb on a tuned model is told. Empty: as in the run.
struct TunedArguments {
  std::string run, model, adapter, weights;
};

/// --run, --model, --adapter, --weights and --device.
void add_tuned_options(CLI::App& app, TunedArguments& tuned);

/// The run's configuration, or where none is named the standard one, with the model and the weights of the arguments.
/// Throws as config_of_run.
RunConfig config_of_tuned(const TunedArguments& tuned);

/// The adapter that is named, else the run's; empty where neither is. Throws as adapter_of_run.
std::string adapter_of_tuned(const TunedArguments& tuned);

}  // namespace graft
