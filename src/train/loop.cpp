#include "train/loop.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <chrono>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/rng.h"
#include "train/state.h"

namespace graft {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

class Trainer {
 public:
  Trainer(const Model& model, Adapter& adapter, const std::vector<ChoiceTokens>& examples,
          const TrainSettings& settings, const std::filesystem::path& state_file, const TrainCallbacks& callbacks)
      : model_(model),
        adapter_(adapter),
        examples_(examples),
        settings_(settings),
        state_file_(state_file),
        callbacks_(callbacks) {
    if (examples.empty()) fail(Category::InvalidArgument, "data", "there is no training example");
    forward_.slots = {&adapter};
    forward_.checkpoint_layers = settings.checkpoint_layers;
    adapter.prepare(examples.size() / settings.templates, [this](std::size_t example) { return loss_of(example); });
    for (const auto& parameter : adapter.parameters()) parameters_.push_back(parameter.value);
    optimizer_ = make_optimizer(settings.optimizer, parameters_);
    state_.base = base_hash(model);
  }

  void run() {
    resume();
    adapter_.set_training(true);
    while (state_.step < settings_.steps) {
      step();
      if (settings_.eval_every > 0 && state_.step % settings_.eval_every == 0) evaluate();
      const bool stop = interrupted();
      if (stop || state_.step == settings_.steps || state_.step % std::max<std::int64_t>(1, settings_.save_every) == 0)
        save();
      if (stop)
        fail(Category::Cancelled, "", "stopped at step {} of {}; run the same command again to go on", state_.step,
             settings_.steps);
    }
    adapter_.set_training(false);
    if (!state_.best.empty()) copy_into_parameters(state_.best);
  }

 private:
  void step() {
    const auto start = Clock::now();
    StepReport report;
    report.lr = learning_rate(settings_.schedule, settings_.lr, state_.step, settings_.steps, settings_.warmup_steps);
    for (std::int64_t part = 0; part < settings_.accumulation; ++part)
      backward(state_.step * settings_.accumulation + part, report);
    if (!std::isfinite(report.loss)) fail_not_finite(model_, fmt::format("loss of step {}", state_.step + 1));
    // A finite loss may have a gradient that is not, and one step with it would spoil the adapter for good.
    if (!std::isfinite(clip_gradients(parameters_, settings_.clip_norm)))
      fail_not_finite(model_, fmt::format("gradients of step {}", state_.step + 1));
    optimizer_->step(report.lr);
    report.step = ++state_.step;
    report.seconds = seconds_since(start);
    if (callbacks_.on_step) callbacks_.on_step(report);
  }

  TfewLoss loss_of(const ChoiceBatch& batch) const {
    return tfew_loss(token_log_probabilities(model_, batch, forward_), batch, settings_.loss);
  }

  at::Tensor loss_of(std::size_t example) const {
    return loss_of(pack({&examples_[example]}, model_.config(), 0)).total;
  }

  void backward(std::int64_t batch_index, StepReport& report) {
    std::vector<const ChoiceTokens*> chosen;
    const std::size_t count = examples_.size() / settings_.templates;  // of examples, whatever their template
    std::int64_t place = batch_index * settings_.batch_size;
    for (const auto i : batch_of(settings_.seed, batch_index, settings_.batch_size, count)) {
      const std::size_t drawn = i + count * template_of(settings_.seed, place++, settings_.templates);
      chosen.push_back(&examples_[drawn]);
      report.examples.push_back(static_cast<std::int64_t>(drawn));
    }
    const ChoiceBatch batch = pack(chosen, model_.config(), 0);
    adapter_.begin_step(settings_.seed + static_cast<std::uint64_t>(batch_index));
    const TfewLoss loss = loss_of(batch);
    const double share = 1.0 / static_cast<double>(settings_.accumulation);
    (loss.total * share).backward();
    report.loss += loss.total.item<double>() * share;
    report.parts["lm"] += loss.lm * share;
    report.parts["unlikelihood"] += loss.unlikelihood * share;
    report.parts["length_norm"] += loss.length_norm * share;
    report.tokens += batch.input.decoder.size() + batch.input.encoder.size();
  }

  void evaluate() {
    adapter_.set_training(false);
    const double score = callbacks_.evaluate(state_.step);
    adapter_.set_training(true);
    if (!settings_.keep_best || (!state_.best.empty() && score <= state_.best_score)) return;
    state_.best_score = score;
    state_.best.clear();
    for (const auto& parameter : parameters_) state_.best.push_back(parameter.detach().clone());
  }

  void copy_into_parameters(const std::vector<at::Tensor>& values) {
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < parameters_.size(); ++i) parameters_[i].copy_(values[i]);
  }

  void save() { save_state(state_file_, adapter_, *optimizer_, state_); }

  void resume() {
    if (!std::filesystem::exists(state_file_)) return;
    load_state(state_file_, adapter_, *optimizer_, state_);
    optimizer_->set_steps(state_.step);
    if (callbacks_.on_resume) callbacks_.on_resume(state_.step);
  }

  const Model& model_;
  Adapter& adapter_;
  const std::vector<ChoiceTokens>& examples_;
  const TrainSettings& settings_;
  const std::filesystem::path& state_file_;
  const TrainCallbacks& callbacks_;
  std::vector<at::Tensor> parameters_;
  std::unique_ptr<Optimizer> optimizer_;
  ForwardOptions forward_;
  TrainState state_;
};

}  // namespace

std::vector<std::size_t> batch_of(std::uint64_t seed, std::int64_t step, std::int64_t batch_size,
                                  std::size_t examples) {
  std::vector<std::size_t> batch, order(examples);
  std::int64_t shuffled = -1;
  for (std::int64_t i = step * batch_size; i < (step + 1) * batch_size; ++i) {
    const std::int64_t epoch = i / static_cast<std::int64_t>(examples);
    if (epoch != shuffled) {
      std::iota(order.begin(), order.end(), std::size_t{0});
      Rng rng(seed, static_cast<std::uint64_t>(epoch));
      rng.shuffle(order);
      shuffled = epoch;
    }
    batch.push_back(order[static_cast<std::size_t>(i) % examples]);
  }
  return batch;
}

std::size_t template_of(std::uint64_t seed, std::int64_t place, std::size_t templates) {
  // ~seed: the streams of the seed itself shuffle the epochs.
  return templates == 1 ? 0 : Rng(~seed, static_cast<std::uint64_t>(place)).below(templates);
}

void train(const Model& model, Adapter& adapter, const std::vector<ChoiceTokens>& examples,
           const TrainSettings& settings, const std::filesystem::path& state_file, const TrainCallbacks& callbacks) {
  Trainer(model, adapter, examples, settings, state_file, callbacks).run();
}

}  // namespace graft
