// What `graft tune` and `graft verify` share: a model, its tokenizer and a task's examples. evaluation.h scores them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "adapters/core/method.h"
#include "arch/core/model.h"
#include "cli/core/decoding_options.h"
#include "config/run_config.h"
#include "data/sampler.h"
#include "data/task.h"
#include "eval/choices.h"
#include "report/run_folder.h"
#include "text/tokenizer.h"
#include "train/memory_choice.h"

namespace graft {

/// What the options of a verb say of a job. Empty, or -1: not said, the recipe's holds.
struct JobArguments {
  std::vector<std::string> tasks;  ///< several are a mixture; "rte=FILE" names its data, else `data` does
  std::string model, data, text_column, label_column, prompt_column, target_column, method, start_from, output;
  std::string recipe = "tfew";
  std::vector<std::string> sets;  ///< "optimizer.lr=1e-3"; they have the last word
  std::int64_t shots = -1, eval_rows = -1, seed = -1, steps = -1, batch_size = -1;
};

/// The recipe with what the arguments say. Throws as load_recipe and set_run_field.
RunConfig run_config_of(const JobArguments& arguments);
/// The same over `config` instead of the recipe.
RunConfig run_config_of(const JobArguments& arguments, RunConfig config);

/// What jobs on one model share.
struct Base {
  std::shared_ptr<Model> model;
  std::shared_ptr<const Tokenizer> tokenizer;
  double load_seconds = 0;
};

/// A note on standard error of matrices that are in other blocks than was asked for (ParameterTable::fallen_back).
void tell_fallen_back(const Model& model);

/// refuse_other_tokenizer() (text/own_tokenizer.h), with a note on standard error where it returns something, and
/// tell_fallen_back().
void check_base(const Model& model, const Tokenizer& tokenizer, const std::string& path);

/// The model and the tokenizer that a configuration names, in its dtype and weight format; `memory` is of ModelOptions.
/// Throws InvalidArgument for none, and as load_model and open_tokenizer.
Base open_base(const RunConfig& config, std::int64_t memory = 0);

struct Job {
  RunConfig config;
  std::shared_ptr<Model> model;
  std::shared_ptr<const Tokenizer> tokenizer;
  ModelConfig texts;  ///< the model's, with the positions that virtual tokens leave
  Task task;
  /// In one template of the task.
  struct Templated {
    std::string name;
    std::vector<ChoiceTokens> held_out;  ///< of a generation task prompts, each with its first reference
    std::vector<ChoiceTokens> neutral;   ///< for pmi: the same choices after the neutral prompt; else empty
  };
  std::vector<Templated> templates;        ///< one, or all of the task's where data.template is all
  std::vector<Example> held_out;           ///< in templates[0]
  std::vector<Example> train;              ///< all examples in templates[0], then all in templates[1], …
  std::vector<ChoiceTokens> train_tokens;  ///< of `train`
  std::vector<std::string> labels;         ///< names for the report
  /// Of a mixture: whose the held-out examples are.
  struct Part {
    std::string task;
    std::size_t first = 0, count = 0;
  };
  std::vector<Part> parts;
  std::string task_texts;  ///< of a mixture: the YAML of all of its tasks, a document each
  std::string data_hash;
  double load_seconds = 0;
  MemoryChoice memory;         ///< how it is to fit; tune_memory.h settles it
  DecodingArguments decoding;  ///< of the texts that are written; no setting of a run
};

/// The dtype a run of this configuration computes in. Throws InvalidArgument.
at::ScalarType compute_dtype(const RunConfig& config);

/// The task that a configuration names, or the one of its columns, or of a folder of texts by class. Throws
/// InvalidArgument for none of them, for columns beside a task, columns of both kinds, and one of a pair.
Task task_of(const RunConfig& config);

/// Indices of the task's templates that a run uses. Throws InvalidArgument for a template the task has not.
std::vector<std::size_t> templates_of(const RunConfig& config, const Task& task);

/// The method's options: numbers, flags and lists where the text is one, else text; "lora.rank" as {"lora": {"rank"}}.
/// Throws InvalidArgument where a name is a value and a group.
nlohmann::json method_options(const RunConfig& config);

/// What an adapter is begun from: the own copy of method.start_from of a run that has begun, so that it goes on when
/// that is gone, or method.start_from itself. Empty where the configuration names none.
std::filesystem::path start_of(const RunConfig& config);
/// Where a run keeps that copy.
std::filesystem::path kept_start(const RunConfig& config);

/// Opens everything a configuration names, a mixture of tasks too, and says what it found. Prompts leave room for the
/// virtual tokens of its method. `memory` is of ModelOptions. Throws as the parts do.
Job open_job(const RunConfig& config, std::int64_t memory = 0);
/// The same on a base that is there already; `adapter`, where it is given, is what the prompts leave room for.
Job open_job(const RunConfig& config, const Base& base, const Adapter* adapter = nullptr);

/// Rows that only wait for an answer, as the held-out examples of a job on `task`, to be read with `adapter` (null: the
/// base model). Throws as render and tokenize, and InvalidArgument for rows with the same choice twice.
Job open_unlabelled(const RunConfig& config, const Base& base, Task task, const std::vector<Row>& rows,
                    const Adapter* adapter);

/// What a run folder of graft tune was made with. Throws NotFound for a folder without config.yaml.
RunConfig config_of_run(const std::filesystem::path& run);

/// The adapter folder of a run folder. Throws NotFound where the run did not end, or its method writes none.
std::filesystem::path adapter_of_run(const std::filesystem::path& run);

/// Throws InvalidArgument for what only the first evaluation would find out: evaluations during training with nothing
/// held out, held-out examples without any label; an objective or a measure that the task does not have.
void refuse_unscorable(const Job& job);

/// The objective and the measure of the best checkpoint that a run uses, where its configuration leaves them open.
std::string objective_of(const RunConfig& config, const Task& task);
std::string best_metric_of(const RunConfig& config, const Task& task);

std::vector<TrainingExample> training_examples(const Job& job);

}  // namespace graft
