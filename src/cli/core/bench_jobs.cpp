#include "cli/core/bench_jobs.h"

#include <c10/core/ScalarType.h>

#include <algorithm>

#include "adapters/core/combination.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/progress.h"
#include "base/rng.h"
#include "cli/core/machine_limits.h"
#include "cli/core/tune_settings.h"
#include "cost/paper_rule.h"
#include "eval/rank.h"
#include "generate/decode.h"
#include "train/flops.h"

namespace graft {
namespace {

using Ids = std::vector<std::int64_t>;

constexpr std::int64_t kPrefill = 512, kBegin = 16, kWritten = 33, kTexts = 16;
constexpr std::int64_t kTextTokens = 128, kBatch = 8, kQuestions = 32, kQuestionTokens = 96, kChoiceTokens = 4;
constexpr std::int64_t kStepsOfTurn = 3;  // of which the first is not counted

// Tokens of a text that is wanted to have so many and has to leave room for `more`.
std::int64_t fitting(const Model& model, std::int64_t wanted, std::int64_t more) {
  const std::int64_t context = model.config().max_positions;
  return context > 0 ? std::max<std::int64_t>(1, std::min(wanted, context - more)) : wanted;
}

Ids random_ids(const Model& model, std::int64_t count, Rng& rng) {
  Ids ids;
  for (std::int64_t i = 0; i < count; ++i)
    ids.push_back(static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(model.config().vocab_size))));
  return ids;
}

// Bytes of the weights that a pass reads: all, but of embeddings beside a head of its own only a few rows.
double weights_read(const Model& model) {
  double bytes = static_cast<double>(model.parameters().bytes());
  if (model.config().tie_embeddings) return bytes;
  const std::vector<std::int64_t> table = {model.config().vocab_size, model.config().hidden_size};
  for (const auto& parameter : model.parameters().all()) {
    if (parameter.store->shape() == table) return bytes - static_cast<double>(parameter.store->bytes());
  }
  return bytes;
}

// Bytes of the keys and values behind `tokens` tokens. An encoder–decoder's, which are few, are not counted.
double cache_read(const Model& model, double tokens) {
  if (model.encoder_decoder()) return 0;
  return paper_rule::cache_bytes(model.config(), tokens, static_cast<double>(c10::elementSize(model.dtype())));
}

class Writer {
 public:
  Writer(const Model& model, bool exact, std::int64_t texts, std::int64_t prompt, std::int64_t written)
      : model_(model), prompt_(prompt), written_(written) {
    Rng rng(7);
    for (std::int64_t t = 0; t < texts; ++t) prompts_.push_back({random_ids(model, prompt, rng)});
    options_.max_new_tokens = written;
    options_.ignore_eos = true;
    if (exact) options_.activations = Activations::Exact;
  }

  // Up to the first token.
  BenchSample read() const {
    const auto start = Clock::now();
    generate(model_, prompts_, options_);
    const double seconds = seconds_since(start);
    stop_benchmark_if_asked();
    const double tokens = static_cast<double>(prompt_);
    return {seconds, {inference_flops(model_, nullptr, {tokens, 1, 1}), weights_read(model_)}, {tokens}};
  }

  // Behind the first token of all texts.
  BenchSample write() const {
    const auto texts = static_cast<std::int64_t>(prompts_.size());
    std::int64_t heard = 0;
    Clock::time_point first, last;
    generate(model_, prompts_, options_, [&](std::size_t, std::int64_t, const std::string&) {
      last = Clock::now();
      if (++heard == texts) first = last;
      return true;
    });
    stop_benchmark_if_asked();
    const double seconds = seconds_between(first, last);
    const double steps = static_cast<double>(written_ - 1), tokens = steps * static_cast<double>(texts);
    const double behind = static_cast<double>(prompt_) + static_cast<double>(written_) / 2;  // tokens, on average
    const ExampleTokens one = {model_.encoder_decoder() ? 0.0 : 1.0, 1, 1};
    return {seconds,
            {tokens * inference_flops(model_, nullptr, one),
             steps * weights_read(model_) + tokens * cache_read(model_, behind)},
            {tokens}};
  }

 private:
  const Model& model_;
  std::int64_t prompt_, written_;
  std::vector<Prompt> prompts_;
  GenerateOptions options_;
};

BenchSample step_sample(const Model& model, const Adapter& adapter, const TuningExamples& examples,
                        const StepReport& step) {
  BenchSample sample;
  sample.seconds = step.seconds;
  for (const auto i : step.examples)
    sample.work.flops += training_flops(model, adapter, tokens_of(examples.train[static_cast<std::size_t>(i)]));
  // The weights forward and backward; of what is trained fp32 values, gradients and AdamW's two moments.
  const double states = examples.settings.optimizer.name == "adamw" ? 2 : 0;
  sample.work.bytes = 2 * weights_read(model) + (2 + states) * 4 * static_cast<double>(trainable_elements(adapter));
  sample.counts = {static_cast<double>(step.tokens)};
  return sample;
}

std::vector<BenchSample> steps(const Model& model, const std::string& method, const nlohmann::json& options,
                               const TuningExamples& examples) {
  Rng rng(0);
  const auto adapter = MethodChoice(method).create(model, options, rng);
  std::vector<BenchSample> samples;
  TrainCallbacks callbacks;
  callbacks.on_step = [&](const StepReport& step) {
    stop_benchmark_if_asked();
    if (step.step > 1) samples.push_back(step_sample(model, *adapter, examples, step));
  };
  train(model, {*adapter, examples.train, examples.settings, {}, callbacks});
  return samples;
}

BenchSample scoring(const Model& model, const TuningExamples& examples) {
  RankOptions options;
  options.what.clear();
  const auto start = Clock::now();
  rank(model, examples.questions, options);
  BenchSample sample;
  sample.seconds = seconds_since(start);
  double choices = 0;
  for (const auto& question : examples.questions) {
    sample.work.flops += inference_flops(model, nullptr, tokens_of(question));
    choices += static_cast<double>(question.choices.size());
  }
  const auto passes = groups_of(examples.questions, model.config(), options.batch_tokens).size();
  sample.work.bytes = static_cast<double>(passes) * weights_read(model);
  sample.counts = {static_cast<double>(examples.questions.size()), choices};
  return sample;
}

// Why everything cannot be tuned; empty where it can.
std::string no_room_for_full(const Model& model) {
  if (model.parameters().packed()) return "tunes weights that are not kept in blocks; --weights dense";
  // fp32 values, gradients and AdamW's two moments.
  const std::int64_t needed = 16 * model.parameters().elements(), available = available_memory();
  if (needed <= available) return "";
  return fmt::format("needs {} of memory beside the model, {} can be had", human_bytes(static_cast<double>(needed)),
                     human_bytes(static_cast<double>(available)));
}

ChoiceTokens::Choice random_choice(const Model& model, std::int64_t tokens, Rng& rng) {
  return {random_ids(model, tokens, rng), tokens, tokens};
}

void begin_settings(TrainSettings& settings) {
  settings.steps = kStepsOfTurn;
  settings.accumulation = 1;
  settings.eval_every = 0;
  settings.warmup_steps = 0;
  settings.lr = 1e-5;  // whatever the method, nothing grows beyond bounds
}

}  // namespace

std::vector<BenchJob> writing_jobs(const Model& model, const MachineLimits& limits, bool exact) {
  const MachineRate rate = rate_of(limits, model.dtype(), !exact && model.parameters().packed());
  const auto job = [&](const char* name, const std::string& what, const Writer& writer, bool reads) {
    BenchJob made{name, what, {"tokens"}, rate, true, {}, ""};
    made.turn = [writer, reads] { return std::vector<BenchSample>{reads ? writer.read() : writer.write()}; };
    return made;
  };
  const std::int64_t read = fitting(model, kPrefill, 1),
                     written = std::max<std::int64_t>(2, fitting(model, kWritten, kBegin));
  return {
      job("prefill", fmt::format("read {} tokens", read), Writer(model, exact, 1, read, 1), true),
      job("decode_1", "write one text", Writer(model, exact, 1, kBegin, written), false),
      job("decode_16", fmt::format("write {} texts", kTexts), Writer(model, exact, kTexts, kBegin, written), false)};
}

TuningExamples random_examples(const Model& model) {
  Rng rng(11);
  TuningExamples made;
  const bool halves = model.encoder_decoder();
  const std::int64_t tokens = fitting(model, kTextTokens, 1);
  // A decoder's choice follows a prompt of one token; what an encoder reads and what a decoder writes are a half each.
  const std::int64_t prompt = halves ? tokens / 2 : 1, text = halves ? tokens - prompt : tokens;
  for (std::int64_t e = 0; e < 2 * kBatch; ++e)
    made.train.push_back({random_ids(model, prompt, rng), {random_choice(model, text, rng)}, 0});
  for (std::int64_t q = 0; q < kQuestions; ++q) {
    ChoiceTokens question{random_ids(model, fitting(model, kQuestionTokens, kChoiceTokens), rng), {}, 0};
    for (int c = 0; c < 4; ++c) question.choices.push_back(random_choice(model, kChoiceTokens, rng));
    made.questions.push_back(std::move(question));
  }
  made.settings.lm = LmSettings{};
  made.settings.optimizer.name = "adamw";
  made.settings.batch_size = kBatch;
  begin_settings(made.settings);
  made.step = fmt::format("{} × {} tokens", kBatch, tokens);
  made.scoring = "four choices";
  return made;
}

TuningExamples examples_of(const Job& job) {
  TuningExamples made{job.train_tokens, job.templates.front().held_out, train_settings(job), "", ""};
  begin_settings(made.settings);
  made.step = fmt::format("{} examples of {}", made.settings.batch_size, job.task.name);
  made.scoring = fmt::format("choices of {}", job.task.name);
  return made;
}

std::vector<BenchJob> tuning_jobs(const Model& model, const MachineLimits& limits, const TuningExamples& examples) {
  const MachineRate rate = rate_of(limits, model.dtype(), false);
  const auto step = [&](const std::string& method, const char* told, const nlohmann::json& options) {
    BenchJob made{method, fmt::format("{} step, {}", told, examples.step), {"tokens"}, rate, false, {}, ""};
    made.turn = [&model, &examples, method, options] { return steps(model, method, options, examples); };
    return made;
  };
  std::vector<BenchJob> jobs = {step("ia3", "(IA)³", nlohmann::json::object()), step("lora", "LoRA", {{"rank", 8}}),
                                step("full", "full", nlohmann::json::object())};
  jobs.back().not_made = no_room_for_full(model);
  if (!jobs.back().not_made.empty()) jobs.back().turn = nullptr;
  BenchJob score{"score", "score " + examples.scoring, {"questions", "choices"}, rate, true, {}, ""};
  if (examples.questions.empty()) {
    score.not_made = "nothing is held out of these examples";
  } else {
    score.turn = [&model, &examples] { return std::vector<BenchSample>{scoring(model, examples)}; };
  }
  jobs.push_back(std::move(score));
  return jobs;
}

}  // namespace graft
