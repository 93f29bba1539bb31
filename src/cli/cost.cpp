// graft cost: what adapting a model costs, beside in-context learning.
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "adapters/core/combination.h"
#include "base/error.h"
#include "base/json_text.h"
#include "base/progress.h"
#include "cli/core/columns.h"
#include "cli/core/job.h"
#include "cli/core/options.h"
#include "cli/core/tune_settings.h"
#include "cli/core/verb.h"
#include "nn/compute_dtype.h"
#include "train/cost_table.h"
#include "train/flops.h"
#include "train/footprint.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Arguments : JobArguments {
  std::string task, icl_model;
  double parameters = 0, icl_parameters = 0, tokens = 0, shot_tokens = 0;
  std::int64_t choices = 2;
  bool encoder_decoder = false, json = false;
};

Arguments arguments;

constexpr const char* kExplanation = R"(
The paper's rule (Liu et al. 2022, section 4.2) is a product: 2N FLOPs a token to infer with a decoder-only model of N
parameters, N with an encoder-decoder model, three times that to train; N as in the file, or --parameters.
graft's count is of the matrix products that graft does: linear maps; the prompt once for all choices; the head only where
logits are needed; a gradient only for what trains; an adapter's virtual tokens too. Neither holds attention's products of
queries, keys and values, nor an adapter's own.
Disk is what a task adds: the tensors of the adapter's file, or the demonstrations as 32-bit token ids. Memory is weights as
model.weights keeps them (of an --icl-model: dense), what is dense in the dtype of train.precision, the adapter, and kept keys
and values; in training also fp32 gradients and the optimiser's state. Activations are left out, and the copies of parameters
that fish and said make in a step.
The demonstrations' tokens are those of --model's tokenizer, for --icl-model too.
)";

void declare(CLI::App& app) {
  Arguments& a = arguments;
  const CLI::Validator positive = positive_number();
  const CLI::Range count = count_from(1);
  app.add_option("--model", a.model, "config.json, model folder or .gguf file; weights are not read");
  app.add_option("--parameters", a.parameters, "parameters by hand for the paper's rule, e.g. 11e9")->check(positive);
  app.add_flag("--encoder-decoder", a.encoder_decoder, "without --model: --parameters are of an encoder-decoder model");
  app.add_option("--icl-model", a.icl_model, "the model that learns in context (default: --model)");
  app.add_option("--icl-parameters", a.icl_parameters,
                 "its parameters by hand; without --icl-model: of a decoder-only model")
      ->check(positive);
  app.add_option("--method", a.method, "one that graft list shows (default: the recipe's)");
  app.add_option("--recipe", a.recipe, "one that graft tune takes: tfew, tfew-cpu, lora …, or a YAML file")
      ->capture_default_str();
  app.add_option("--steps", a.steps, "training steps (default: the recipe's)")->check(count);
  app.add_option("--batch-size", a.batch_size, "examples a step (default: the recipe's)")->check(count);
  app.add_option("--set", a.sets, "any setting of graft tune, e.g. --set method.options.rank=4");
  app.add_option("--tokens", a.tokens, "mean tokens of an example, all choices included")->check(positive);
  app.add_option("--shot-tokens", a.shot_tokens,
                 "mean tokens of a demonstration: prompt and right choice (default: choices of one token)")
      ->check(positive);
  app.add_option("--choices", a.choices, "choices of an example, with --tokens")->capture_default_str()->check(count);
  app.add_option("--data", a.data, "file or folder with examples, to count tokens instead of --tokens");
  add_task_options(app, a.task, a.text_column, a.label_column);
  app.add_option("--seed", a.seed, "of the sample of --data (default: the recipe's)")->check(count_from(0));
  app.add_option("--shots", a.shots,
                 "demonstrations in context: with --tokens in all; with --data examples per class, as graft tune draws "
                 "them")
      ->check(count_from(0));
  app.add_flag("--json", a.json, "as one JSON object, exact figures");
  app.footer(kExplanation + app.get_footer());
}

bool is_json(const fs::path& path) {
  return path.extension() == ".json";
}

// Weights are not read, but the types of a GGUF file's are.
std::unique_ptr<Model> outline_in(const std::string& path, WeightFormat weights) {
  if (is_json(path) || fs::exists(fs::path(path) / "config.json"))
    return outline_model(read_model_config(path), weights, nullptr);
  ModelFiles files = open_model_files(path);
  return outline_model(files.config, weights, std::move(files.weights));
}

CostModel model_of(const std::string& path, double parameters, bool encoder_decoder, WeightFormat weights) {
  CostModel model{path, {parameters, encoder_decoder}, nullptr};
  if (path.empty()) {
    model.name = "by hand";
    return model;
  }
  model.outline = outline_in(path, weights);
  model.size.encoder_decoder = model.outline->encoder_decoder();
  if (parameters == 0) model.size.parameters = static_cast<double>(model.outline->parameters().elements());
  return model;
}

CostModel main_model(const RunConfig& config) {
  const Arguments& a = arguments;
  if (a.model.empty() && a.parameters == 0)
    fail(Category::InvalidArgument, "--model",
         "name a config.json, a model folder or a .gguf file, or give --parameters");
  if (!a.model.empty() && a.encoder_decoder)
    fail(Category::InvalidArgument, "--encoder-decoder", "goes with --parameters alone: {} says itself what it is",
         a.model);
  return model_of(a.model, a.parameters, a.encoder_decoder, weight_format(config.model.weights));
}

CostModel icl_model(const CostModel& model) {
  const Arguments& a = arguments;
  if (a.icl_model.empty() && a.icl_parameters == 0) return model;
  return model_of(a.icl_model, a.icl_parameters, false, WeightFormat::Dense);
}

// Means over examples.
struct Tokens {
  ExampleTokens tested, trained;
  paper_rule::Demonstrations shots;
};

class Mean {
 public:
  void add(const ChoiceTokens& example) {
    sum_.add(tokens_of(example), 1);
    if (example.label >= 0)
      right_ += static_cast<double>(example.choices[static_cast<std::size_t>(example.label)].tokens.size());
    ++count_;
  }
  bool empty() const { return count_ == 0; }
  ExampleTokens value() const {
    ExampleTokens mean;
    mean.add(sum_, 1 / count_);
    return mean;
  }
  double with_right_choice() const { return (sum_.prompt + right_) / count_; }

 private:
  ExampleTokens sum_;
  double right_ = 0, count_ = 0;
};

Mean mean_of(const std::vector<Row>& rows, const Task& task, const RunConfig& config, const ModelConfig& model,
             const Tokenizer& tokenizer) {
  Mean mean;
  for (const auto index : templates_of(config, task)) {
    for (const auto& row : rows)
      mean.add(tokenize(render(task, row, index, tokenizer), tokenizer, model, config.data.max_prompt_tokens));
  }
  return mean;
}

// Prompts leave room for the virtual tokens of `adapter`, as in a run.
Tokens count_data(const RunConfig& config, const CostModel& model, const Adapter* adapter) {
  if (model.outline == nullptr)
    fail(Category::InvalidArgument, "--data", "its tokens need --model, whose tokenizer counts them; or give --tokens");
  if (arguments.tokens > 0)
    fail(Category::InvalidArgument, "--tokens", "is counted where there is --data; leave one out");
  const Task task = task_of(config);
  const fs::path path = config.model.path;
  const auto tokenizer = open_tokenizer(is_json(path) ? path.parent_path() / "." : path);
  check_base(*model.outline, *tokenizer, config.model.path);
  FewShot data = few_shot_data(task, config.data.path, config.data.shots, static_cast<std::uint64_t>(config.data.seed),
                               {config.data.train_split, config.data.held_out_split, 0, config.data.balanced});
  drop_alike_choices(data, task, templates_of(config, task), *tokenizer);
  for (const auto& notice : data.notices) std::fprintf(stderr, "graft: note: %s\n", notice.c_str());
  const ModelConfig shape = config_beside(*model.outline, adapter);
  const Mean trained = mean_of(data.train, task, config, shape, *tokenizer),
             tested = mean_of(data.held_out, task, config, shape, *tokenizer);
  const double shots = config.data.shots > 0 ? static_cast<double>(data.train.size()) : 0;
  return {tested.empty() ? trained.value() : tested.value(), trained.value(), {shots, trained.with_right_choice()}};
}

Tokens given_tokens() {
  const Arguments& a = arguments;
  if (a.tokens == 0)
    fail(Category::InvalidArgument, "--tokens", "give the mean tokens of an example, or --task and --data");
  const auto choices = static_cast<double>(a.choices);
  const auto shots = static_cast<double>(std::max<std::int64_t>(0, a.shots));
  const double shot_tokens = a.shot_tokens > 0 ? a.shot_tokens : a.tokens - (choices - 1);
  const ExampleTokens example = example_tokens(a.tokens, shot_tokens, choices);
  return {example, example, {shots, shot_tokens}};
}

// Without a file of its own the method leaves a whole model, in the dtype of the one it began with.
std::int64_t stored_bytes(const RunConfig& config, const Model& model, const Adapter& adapter) {
  if (MethodChoice(config.method.name).has_adapter_file()) return adapter_file_bytes(adapter);
  const bool half = model.config().dtype == "bfloat16" || model.config().dtype == "float16";
  return model.parameters().elements() * (half ? 2 : 4);
}

// What the figures do not say themselves.
std::vector<std::string> notes_of(const CostQuestion& q, const std::vector<CostRow>& rows) {
  std::vector<std::string> notes;
  if (q.shots.count > 0) {
    const double reading = rows[2].inference.paper;
    notes.push_back(fmt::format("training costs as much as {:.1f} examples of in-context learning (paper's rule)",
                                rows[0].training.paper / reading));
    if (rows.size() > 3) {
      notes.push_back(fmt::format("kept keys and values make an example {:.1f} times cheaper (paper's rule)",
                                  reading / rows[3].inference.paper));
    } else {
      notes.push_back(
          "an encoder reads demonstrations and example together: no keys and values of the demonstrations can be kept");
    }
  }
  const std::int64_t context = q.icl_model.outline == nullptr ? 0 : q.icl_model.outline->config().max_positions;
  const double longest = q.shots.all() + q.tested.all();
  if (q.shots.count > 0 && context > 0 && longest > static_cast<double>(context)) {
    notes.push_back(fmt::format("{:.0f} tokens of demonstrations and example do not fit {}'s context of {}", longest,
                                q.icl_model.name, context));
  }
  return notes;
}

Json flops_json(const CostFlops& flops) {
  Json json = {{"paper", flops.paper}, {"graft", nullptr}};
  if (flops.graft) json["graft"] = *flops.graft;
  return json;
}

Json bytes_json(const std::optional<double>& bytes) {
  return bytes ? Json(*bytes) : Json();
}

Json model_json(const CostModel& model) {
  return {{"name", model.name}, {"parameters", model.size.parameters}, {"encoder_decoder", model.size.encoder_decoder}};
}

Json example_json(const ExampleTokens& tokens) {
  return {{"all", tokens.all()}, {"prompt", tokens.prompt}, {"choices", tokens.choices}, {"alike", tokens.alike}};
}

// How the weights of --model count.
std::string weights_of(const CostQuestion& q) {
  return q.model.outline == nullptr ? "dense" : name(q.model.outline->parameters().format());
}

Json answer(const CostQuestion& q, const std::vector<CostRow>& rows, const RunConfig& config) {
  Json all = {{"model", model_json(q.model)},
              {"icl_model", model_json(q.icl_model)},
              {"method", q.method},
              {"trained_parameters", q.adapter == nullptr ? Json() : Json(trainable_elements(*q.adapter))},
              {"dtype", dtype_name(q.dtype)},
              {"weights", weights_of(q)},
              {"steps", config.train.steps},
              {"training_examples", q.training_examples},
              {"tokens", {{"example", example_json(q.tested)}, {"training_example", example_json(q.trained)}}},
              {"demonstrations", {{"count", q.shots.count}, {"tokens", q.shots.tokens}}},
              {"rows", Json::array()},
              {"notes", notes_of(q, rows)}};
  for (const auto& row : rows) {
    all["rows"].push_back({{"what", row.what},
                           {"inference_flops", flops_json(row.inference)},
                           {"training_flops", flops_json(row.training)},
                           {"disk_bytes", bytes_json(row.disk)},
                           {"memory_bytes", bytes_json(row.memory)},
                           {"training_memory_bytes", bytes_json(row.training_memory)}});
  }
  return all;
}

// "1.13e12"
std::string flops_text(const std::optional<double>& flops) {
  if (!flops) return "-";
  if (*flops == 0) return "0";
  std::string text = fmt::format("{:.2e}", *flops);
  text.erase(std::remove(text.begin(), text.end(), '+'), text.end());
  return text;
}

std::string bytes_text(const std::optional<double>& bytes) {
  return bytes ? human_bytes(*bytes) : "-";
}

std::string described(const CostModel& model) {
  return fmt::format("{}: {} parameters, {}", model.name, flops_text(model.size.parameters),
                     model.size.encoder_decoder ? "encoder-decoder" : "decoder-only");
}

void print_table(const std::vector<CostRow>& rows) {
  std::vector<std::vector<std::string>> lines = {
      {"", "inference FLOPs", "", "training FLOPs", "", "disk", "memory", "memory in"},
      {"", "paper's rule", "graft's count", "paper's rule", "graft's count", "a task", "to infer", "training"}};
  for (const auto& row : rows) {
    lines.push_back({row.what, flops_text(row.inference.paper), flops_text(row.inference.graft),
                     flops_text(row.training.paper), flops_text(row.training.graft), bytes_text(row.disk),
                     bytes_text(row.memory), bytes_text(row.training_memory)});
  }
  print_columns(lines);
}

void print_answer(const CostQuestion& q, const std::vector<CostRow>& rows, const RunConfig& config) {
  fmt::print("model     {}\n", described(q.model));
  if (q.shots.count > 0) fmt::print("ICL model {}\n", described(q.icl_model));
  if (q.adapter != nullptr)
    fmt::print("method    {}: {} trained parameters\n", q.method, grouped(trainable_elements(*q.adapter)));
  fmt::print("tokens    {:.1f} an example with its {:.1f} choices, {:.1f} in training\n", q.tested.all(),
             q.tested.choices, q.trained.all());
  if (q.shots.count > 0) fmt::print("          {:g} demonstrations of {:.1f}\n", q.shots.count, q.shots.tokens);
  fmt::print("training  {} steps, {:g} examples; {}, weights {}\n\n", config.train.steps, q.training_examples,
             dtype_name(q.dtype), weights_of(q));
  print_table(rows);
  const auto notes = notes_of(q, rows);
  if (!notes.empty()) fmt::print("\n{}\n", fmt::join(notes, "\n"));
}

int run() {
  if (!arguments.task.empty()) arguments.tasks = {arguments.task};
  const RunConfig config = run_config_of(arguments);
  CostQuestion question;
  question.model = main_model(config);
  question.icl_model = icl_model(question.model);
  question.method = config.method.name;
  std::unique_ptr<Adapter> adapter;
  if (question.model.outline != nullptr) {
    adapter = counted_adapter(config, *question.model.outline);
    question.adapter = adapter.get();
    question.file = stored_bytes(config, *question.model.outline, *adapter);
  }
  const Tokens tokens =
      config.data.path.empty() ? given_tokens() : count_data(config, question.model, question.adapter);
  question.tested = tokens.tested;
  question.trained = tokens.trained;
  question.shots = tokens.shots;
  question.training_examples = static_cast<double>(config.train.steps) *
                               static_cast<double>(config.train.batch_size * config.train.accumulation);
  question.dtype = compute_dtype(config);
  question.optimizer.name = config.optimizer.name;
  const auto rows = cost_table(question);
  if (arguments.json) {
    fmt::print("{}\n", json_text(answer(question, rows, config), 2));
  } else {
    print_answer(question, rows, config);
  }
  return 0;
}

}  // namespace

namespace cli {
extern const Verb cost;
const Verb cost{
    "cost", "what adapting costs, beside in-context learning: FLOPs, disk, memory; from a model's configuration alone",
    "  graft cost --model t0-11b/config.json --method ia3 --tokens 103 --shot-tokens 98 --shots 41 --icl-model "
    "gpt3.json\n"
    "  graft cost --parameters 11e9 --encoder-decoder --tokens 103 --shot-tokens 98 --shots 41 --icl-parameters 175e9\n"
    "  graft cost --model SmolLM2.gguf --task bbc_news --data articles/ --shots 8 --method lora --json\n",
    declare, run};
}  // namespace cli
}  // namespace graft
