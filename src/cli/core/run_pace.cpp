#include "cli/core/run_pace.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/cpu.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json_text.h"
#include "base/progress.h"
#include "base/user_cache.h"
#include "nn/compute_dtype.h"
#include "train/flops.h"

namespace graft {
namespace {

constexpr std::int64_t kStepsToTell = 3;         // the first of which lays out weights
constexpr std::size_t kExamplesForAMean = 1000;  // of any number: the mean hardly moves

std::filesystem::path rates_file() {
  const std::filesystem::path cache = user_cache_folder();
  return cache.is_absolute() ? cache / "graft" / "rates.json" : std::filesystem::path();
}

// An object; empty where there is none.
nlohmann::json all_rates() {
  try {
    const auto json = nlohmann::json::parse(read_file(rates_file()), nullptr, /*allow_exceptions=*/false);
    if (json.is_object()) return json;
  } catch (const Error&) {
    // Not there, or not ours to read.
  }
  return nlohmann::json::object();
}

nlohmann::json json_of(const MemoryRates& rates) {
  nlohmann::json json = {{"beside", rates.beside}, {"token", rates.token}};
  if (rates.answers) json["answers"] = *rates.answers;
  return json;
}

// Nothing of an earlier version, which kept none.
std::optional<MemoryRates> memory_rates(const nlohmann::json& kept) {
  const nlohmann::json memory = kept.value("memory", nlohmann::json::object());
  const auto number = [&](const char* name) {
    const auto value = memory.find(name);
    return value != memory.end() && value->is_number() ? std::optional(value->get<double>()) : std::nullopt;
  };
  const auto beside = number("beside"), token = number("token");
  if (!beside || !token) return std::nullopt;
  return MemoryRates{*beside, *token, number("answers")};
}

// Every cost is linear in the tokens but for what each example has once, so that the cost of the mean is the mean.
ExampleTokens mean_of(const std::vector<ChoiceTokens>& examples) {
  const std::size_t stride = std::max<std::size_t>(1, examples.size() / kExamplesForAMean);
  const std::size_t count = (examples.size() + stride - 1) / stride;
  ExampleTokens mean;
  for (std::size_t i = 0; i < examples.size(); i += stride)
    mean.add(tokens_of(examples[i]), 1 / static_cast<double>(count));
  return mean;
}

// All that a rate follows from, but for the lengths of texts.
std::string key_of_pace(const Job& job, const TrainSettings& settings, const std::string& method) {
  const CpuFeatures& cpu = cpu_features();
  return fmt::format(
      "{} {} {}{}{}{} | {} threads | {} {} {} | {} parameters in {} | {}{}{} | batches of {} | {} | {}", GRAFT_VERSION,
      cpu_name(), cpu.avx2 ? "+avx2" : "", cpu.avx512_vnni ? "+vnni" : "", cpu.avx512_bf16 ? "+bf16" : "",
      cpu.amx ? "+amx" : "", at::get_num_threads(), job.model->device().str(), dtype_name(job.model->dtype()),
      job.model->config().model_type, job.model->parameters().elements(), job.model->parameters().storage(), method,
      settings.checkpoint_layers ? ", layers again" : "", settings.kept_logit_bytes == 0 ? ", logits again" : "",
      settings.batch_size, job.memory.stream_weights ? "weights streamed" : "weights stay",
      job.task.generates() ? "texts" : "choices");
}

}  // namespace

std::optional<RunRates> kept_rates(const std::string& key) {
  const nlohmann::json all = all_rates();
  const auto found = all.find(key);
  if (found == all.end() || !found->is_object()) return std::nullopt;
  const auto rate = [&](const char* name) {
    const auto value = found->find(name);
    return value != found->end() && value->is_number() ? std::max(0.0, value->get<double>()) : 0.0;
  };
  return RunRates{rate("training"), rate("scoring"), memory_rates(*found)};
}

void keep_rates(const std::string& key, const RunRates& rates) {
  const std::filesystem::path file = rates_file();
  if (file.empty()) return;
  nlohmann::json all = all_rates();
  all[key] = {{"training", rates.training}, {"scoring", rates.scoring}};
  if (rates.memory) all[key]["memory"] = json_of(*rates.memory);
  try {
    write_file(file, json_text(all, 1) + "\n");
  } catch (const Error&) {
    // A run does not fail because nothing can be kept there.
  }
}

RunPace::RunPace(const Job& job, const TrainSettings& settings, const Adapter& adapter, const std::string& method,
                 std::int64_t steps, const MemoryFit& fit)
    : job_(job),
      adapter_(adapter),
      key_(key_of_pace(job, settings, method)),
      steps_(steps),
      memory_(fit, settings.batch_size, settings.eval_every > 0),
      first_evaluation_(settings.keep_best ? settings.eval_every : 0) {
  if (!job.train_tokens.empty())
    step_flops_ = training_flops(*job.model, adapter, mean_of(job.train_tokens)) *
                  static_cast<double>(settings.batch_size * settings.accumulation);
  if (job.held_out.empty()) return;
  const auto held_out = static_cast<double>(job.held_out.size());
  evaluations_ = 2;
  if (job.task.generates()) {
    scoring_ = held_out;
    return;
  }
  for (const auto& made : job.templates)
    scoring_ += held_out * inference_flops(*job.model, nullptr, mean_of(made.held_out));
  // Those in between are in one template.
  if (settings.eval_every > 0)
    evaluations_ += static_cast<double>(steps / settings.eval_every) / static_cast<double>(job.templates.size());
}

std::string RunPace::line(const char* begin, const RunRates& rates, double evaluations, std::int64_t steps,
                          const char* end) const {
  const double training = static_cast<double>(steps) * step_flops_ / rates.training;
  const bool scores = evaluations > 0 && rates.scoring > 0;
  const double scoring = scores ? evaluations * scoring_ / rates.scoring : 0;
  std::string parts = " of training";
  if (scores) parts = fmt::format(" ({} of training, {} of scoring)", human_seconds(training), human_seconds(scoring));
  if (const std::string told = memory_.told(rates.memory); !told.empty())
    parts += fmt::format(" and {} of memory", told);
  return fmt::format("estimate: {} {}{}, if it {}", begin, human_seconds(training + scoring), parts, end);
}

std::string RunPace::told_before(bool base_answered) const {
  const auto rates = kept_rates(key_);
  if (!rates || rates->training <= 0 || steps_ == 0) return "";
  return line("about", *rates, std::max(0.0, evaluations_ - (base_answered ? 1 : 0)), steps_,
              "is as fast as the last such run on this machine");
}

// The best values of the adapter, which stand from the first evaluation on.
std::int64_t RunPace::to_come(std::int64_t step) const {
  const bool will_be = first_evaluation_ >= step && first_evaluation_ <= step + steps_ - heard_;
  return will_be ? trainable_elements(adapter_) * static_cast<std::int64_t>(sizeof(float)) : 0;
}

std::string RunPace::hear(const StepReport& step, double scoring_seconds) {
  memory_.hear(step.examples);
  if (++heard_ == 1) return "";
  std::vector<ChoiceTokens> examples;
  for (const auto i : step.examples) examples.push_back(job_.train_tokens.at(static_cast<std::size_t>(i)));
  measured_flops_ += training_flops(*job_.model, adapter_, mean_of(examples)) * static_cast<double>(examples.size());
  measured_seconds_ += step.seconds;
  if (heard_ != kStepsToTell) return "";
  memory_.rest(to_come(step.step));
  const std::int64_t left = steps_ - heard_;
  if (left <= 0 || kept_rates(key_)) return "";
  const RunRates rates{measured_rate(), scoring_seconds > 0 ? scoring_ / scoring_seconds : 0, memory_.rates()};
  if (rates.training <= 0) return "";
  return line("another", rates, std::max(0.0, evaluations_ - 1), left, "goes on as it began");
}

void RunPace::keep(double scoring_seconds) const {
  if (heard_ < kStepsToTell || measured_rate() <= 0) return;
  keep_rates(key_, {measured_rate(), scoring_seconds > 0 ? scoring_ / scoring_seconds : 0, memory_.rates()});
}

}  // namespace graft
