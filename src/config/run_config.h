// The recipe of a run: every setting of `graft tune`, its default, its range and its one-line explanation. One list in
// run_config.cpp serves reading, writing, `--set key=value` and `--help`.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace graft {

struct YamlNode;

struct RunConfig {
  struct Model {
    std::string path;
    std::string dtype = "auto";
    std::string weights = "dense";
  } model;

  struct Method {
    std::string name = "ia3";
    std::map<std::string, std::string> options;  ///< the method's own; a list [q, v] arrives as "q,v"
    std::string start_from;
  } method;

  struct TaskChoice {
    std::string name;
    std::map<std::string, std::string> mixture;  ///< task → its data; instead of name and data.path
  } task;

  struct Data {
    std::string path;
    std::string text_column;
    std::string label_column;
    std::string prompt_column;
    std::string target_column;
    std::string train_split = "train";
    std::string held_out_split;
    double held_out_share = 0.2;
    std::int64_t shots = 0;
    bool balanced = true;
    std::int64_t seed = 0;
    std::int64_t eval_rows = 0;
    std::int64_t max_prompt_tokens = 0;
    std::int64_t mixture_cap = 0;
    std::string prompt_template = "0";
  } data;

  struct Objective {
    std::string name = "auto";
    double label_smoothing = 0;
    bool lm = true;
    double lm_weight = 1;
    bool unlikelihood = true;
    double unlikelihood_weight = 1;
    std::string unlikelihood_variant = "paper";
    bool length_norm = true;
    double length_norm_weight = 1;
  } objective;

  struct Optimizer {
    std::string name = "adafactor";
    double lr = 3e-3;
    double weight_decay = 0;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double eps = 1e-8;
    bool scale_parameter = false;
    double clip_norm = 0;
    std::string schedule = "linear";
    std::int64_t warmup_steps = 60;
  } optimizer;

  struct Train {
    std::int64_t steps = 1000;
    std::int64_t batch_size = 8;
    std::int64_t accumulation = 1;
    std::string precision = "float32";
    std::int64_t eval_every = 0;
    std::int64_t save_every = 0;
    std::string best_metric = "auto";
    std::int64_t seed = 0;
    bool checkpoint_layers = false;
  } train;

  struct Generation {
    std::int64_t max_new_tokens = 0;
    std::int64_t beams = 1;
    double length_penalty = 1;
    std::int64_t no_repeat_ngram = 0;
    std::string early_stopping = "false";
  } generation;

  struct Run {
    std::string output = "runs";
    std::int64_t threads = 0;
  } run;

  bool operator==(const RunConfig& other) const;
};

/// One setting, for --help and the documentation.
struct RunField {
  std::string name;      ///< "optimizer.lr"
  std::string expected;  ///< "a number in (0, 10]", "one of adafactor, adamw"
  std::string standard;  ///< the default as it is written in YAML
  std::string doc;
};

/// Every setting in order; `method.options` stands for whatever the method knows.
std::vector<RunField> run_fields();

/// Reads a recipe over `base`. `file` is for messages. Throws InvalidArgument: unknown key (file, line, nearest key),
/// wrong type, value out of range (what was expected).
RunConfig parse_run_config(std::string_view yaml, const std::string& file, RunConfig base = {});

/// Reads a recipe by path or by the name of a shipped one ("tfew-cpu"). Also throws NotFound with the nearest name.
RunConfig load_recipe(const std::string& path_or_name, RunConfig base = {});

/// What a map of settings in another file says, over `base`; another method than the base's begins without its options.
/// Throws as parse_run_config.
RunConfig with_settings(const YamlNode& settings, RunConfig base);

/// Makes `name` the method; another one than the configuration's begins without its options and from fresh values.
/// Empty: no change.
void choose_method(RunConfig& config, const std::string& name);

/// Sets one value: "optimizer.lr=1e-3", "method.options.roles=[q, v]". Throws InvalidArgument as above.
void set_run_field(RunConfig& config, const std::string& assignment);

/// The resolved config.yaml: every setting, in order. parse_run_config of it gives an equal RunConfig.
std::string write_run_config(const RunConfig& config);

/// A setting that two configurations do not have in common, and what it is in each, as write_run_config has it.
struct SettingDifference {
  std::string name, before, now;
};

/// The first one, in the order of run_fields(). What names a file or a folder is compared as a place, not as text
/// ("./tiny/" is "tiny"); run.output has no say: where a run's files lie does not change it.
std::optional<SettingDifference> first_difference(const RunConfig& before, const RunConfig& now);

}  // namespace graft
