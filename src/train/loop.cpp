#include "train/loop.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/clock.h"
#include "base/error.h"
#include "base/interrupt.h"
#include "base/rng.h"
#include "train/state.h"

namespace graft {
namespace {

// One adapter on its way.
class Trainee {
 public:
  Trainee(const Model& model, const Training& given, std::int32_t slot)
      : model_(model), given_(given), settings_(given.settings), slot_(slot) {
    if (given.examples.empty()) fail(Category::InvalidArgument, "data", "there is no training example");
    alone_.slots = {&given.adapter};
    alone_.checkpoint_layers = settings_.checkpoint_layers;
    alone_.kept_logit_bytes = settings_.kept_logit_bytes;
    stored_ = open_state(given.state_file);
    if (stored_ == nullptr || !take_prepared(*stored_, given.adapter))
      given.adapter.prepare(given.examples.size() / settings_.templates,
                            [this](std::size_t example) { return loss_of(example); });
    std::vector<double> lr_ratios;
    for (const auto& parameter : given.adapter.parameters()) {
      parameters_.push_back(parameter.value);
      lr_ratios.push_back(parameter.lr_ratio);
    }
    optimizer_ = make_optimizer(settings_.optimizer, parameters_, lr_ratios);
  }

  std::int32_t slot() const { return slot_; }
  const TrainSettings& settings() const { return settings_; }
  bool done() const { return state_.step >= settings_.steps; }
  std::int64_t tokens() const { return report_.tokens; }
  double smoothing() const { return settings_.lm ? settings_.lm->label_smoothing : 0; }

  void resume(const BaseHashes& base) {
    state_.base = base;
    if (stored_ != nullptr) {
      load_state(*stored_, given_.adapter, *optimizer_, state_);
      stored_.reset();
      optimizer_->set_steps(state_.step);
      if (given_.callbacks.on_resume) given_.callbacks.on_resume(state_.step);
    }
    given_.adapter.set_training(true);
    if (given_.callbacks.on_begin) given_.callbacks.on_begin();
  }

  void begin_step() {
    report_ = {};
    report_.lr = learning_rate(settings_.schedule, settings_.lr, state_.step, settings_.steps, settings_.warmup_steps);
  }

  /// Examples of part `part` of the step's accumulation.
  std::vector<const ChoiceTokens*> draw(std::int64_t part) {
    const std::int64_t batch = state_.step * settings_.accumulation + part;
    given_.adapter.begin_step(settings_.seed + static_cast<std::uint64_t>(batch));
    const std::size_t count = given_.examples.size() / settings_.templates;  // of examples, whatever their template
    std::vector<const ChoiceTokens*> chosen;
    std::int64_t place = batch * settings_.batch_size;
    for (const auto i : batch_of(settings_.seed, batch, settings_.batch_size, count)) {
      const std::size_t drawn = i + count * template_of(settings_.seed, place++, settings_.templates);
      chosen.push_back(&given_.examples[drawn]);
      report_.examples.push_back(static_cast<std::int64_t>(drawn));
    }
    return chosen;
  }

  /// Loss to go backward from, of a batch whose tokens have these log-probabilities.
  at::Tensor loss(const at::Tensor& log_p, const ChoiceBatch& batch) {
    const double share = 1.0 / static_cast<double>(settings_.accumulation);
    const at::Tensor total = settings_.lm ? lm_loss(log_p, batch) : tfew(log_p, batch, share);
    report_.loss += total.item<double>() * share;
    report_.tokens += batch.input.tokens();
    return total * share;
  }

  /// `seconds`: what the passes of the step have taken so far.
  void end_step(double seconds) {
    const auto start = Clock::now();
    if (!std::isfinite(report_.loss)) fail_not_finite(model_, fmt::format("loss of step {}", state_.step + 1));
    // A finite loss may have a gradient that is not, and one step with it would spoil the adapter for good.
    if (!std::isfinite(clip_gradients(parameters_, settings_.clip_norm)))
      fail_not_finite(model_, fmt::format("gradients of step {}", state_.step + 1));
    optimizer_->step(report_.lr);
    report_.step = ++state_.step;
    report_.seconds = seconds + seconds_since(start);
    if (given_.callbacks.on_step) given_.callbacks.on_step(report_);
    if (settings_.eval_every > 0 && state_.step % settings_.eval_every == 0) evaluate();
  }

  bool keeps_state() const { return !given_.state_file.empty(); }
  bool save_is_due() const { return done() || state_.step % std::max<std::int64_t>(1, settings_.save_every) == 0; }
  void save() const {
    if (keeps_state()) save_state(given_.state_file, given_.adapter, *optimizer_, state_);
  }

  std::string progress() const { return fmt::format("step {} of {}", state_.step, settings_.steps); }

  void end() {
    given_.adapter.set_training(false);
    if (!state_.best.empty()) copy_into_parameters(state_.best);
  }

 private:
  at::Tensor tfew(const at::Tensor& log_p, const ChoiceBatch& batch, double share) {
    const TfewLoss loss = tfew_loss(log_p, batch, settings_.loss);
    report_.parts["lm"] += loss.lm * share;
    report_.parts["unlikelihood"] += loss.unlikelihood * share;
    report_.parts["length_norm"] += loss.length_norm * share;
    return loss.total;
  }

  at::Tensor loss_of(std::size_t example) const {
    const ChoiceBatch batch = pack({&given_.examples[example]}, model_.config(), 0, smoothing());
    const at::Tensor log_p = token_log_probabilities(model_, batch, alone_);
    return settings_.lm ? lm_loss(log_p, batch) : tfew_loss(log_p, batch, settings_.loss).total;
  }

  void evaluate() {
    given_.adapter.set_training(false);
    const double score = given_.callbacks.evaluate(state_.step);
    given_.adapter.set_training(true);
    if (!settings_.keep_best || (!state_.best.empty() && score <= state_.best_score)) return;
    state_.best_score = score;
    state_.best.clear();
    for (const auto& parameter : parameters_) state_.best.push_back(parameter.detach().clone());
  }

  void copy_into_parameters(const std::vector<at::Tensor>& values) {
    const at::NoGradGuard no_grad;
    for (std::size_t i = 0; i < parameters_.size(); ++i) parameters_[i].copy_(values[i]);
  }

  const Model& model_;
  Training given_;
  const TrainSettings& settings_;
  std::int32_t slot_;
  ForwardOptions alone_;
  std::vector<at::Tensor> parameters_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<TensorSource> stored_;  // of the run that this one goes on with, until it has been taken over
  TrainState state_;
  StepReport report_;
};

class Trainer {
 public:
  Trainer(const Model& model, const std::vector<Training>& trainings) : model_(model) {
    for (const auto& training : trainings) {
      forward_.checkpoint_layers = forward_.checkpoint_layers || training.settings.checkpoint_layers;
      forward_.kept_logit_bytes = std::min(forward_.kept_logit_bytes, training.settings.kept_logit_bytes);
      forward_.slots.push_back(&training.adapter);
      trainees_.push_back(
          std::make_unique<Trainee>(model, training, static_cast<std::int32_t>(forward_.slots.size()) - 1));
    }
  }

  void run() {
    // Every weight is read for it: not where nothing is kept.
    const bool kept = std::any_of(trainees_.begin(), trainees_.end(), [](const auto& t) { return t->keeps_state(); });
    const BaseHashes base = kept ? base_hashes(model_) : BaseHashes{};
    for (const auto& trainee : trainees_) trainee->resume(base);
    for (auto active = unfinished(); !active.empty(); active = unfinished()) {
      step(active);
      const bool stop = interrupted();
      for (Trainee* trainee : active) {
        if (stop || trainee->save_is_due()) trainee->save();
      }
      if (stop)
        fail(Category::Cancelled, "", "stopped at {}; run the same command again to go on", active.front()->progress());
    }
    for (const auto& trainee : trainees_) trainee->end();
  }

 private:
  using Active = std::vector<Trainee*>;

  Active unfinished() const {
    Active active;
    for (const auto& trainee : trainees_) {
      if (!trainee->done()) active.push_back(trainee.get());
    }
    return active;
  }

  void step(const Active& active) {
    const auto start = Clock::now();
    std::int64_t parts = 0, tokens = 0;
    for (Trainee* trainee : active) {
      trainee->begin_step();
      parts = std::max(parts, trainee->settings().accumulation);
    }
    for (std::int64_t part = 0; part < parts; ++part) backward(active, part);
    for (const Trainee* trainee : active) tokens += trainee->tokens();
    const double seconds = seconds_since(start);
    for (Trainee* trainee : active)
      trainee->end_step(seconds * static_cast<double>(trainee->tokens()) / static_cast<double>(tokens));
  }

  void backward(const Active& active, std::int64_t part) {
    ChoiceBatch all;
    std::vector<std::pair<Trainee*, ChoiceBatch>> own;
    for (Trainee* trainee : active) {
      if (part >= trainee->settings().accumulation) continue;
      const auto examples = trainee->draw(part);
      append(all, examples, model_.config(), trainee->slot(), trainee->smoothing());
      own.emplace_back(trainee, pack(examples, model_.config(), trainee->slot()));
    }
    const at::Tensor log_p = token_log_probabilities(model_, all, forward_);
    at::Tensor total = at::zeros({}, log_p.options());
    std::int64_t first = 0;
    for (auto& [trainee, batch] : own) {
      const auto count = static_cast<std::int64_t>(batch.scored.size());
      total = total + trainee->loss(log_p.narrow(0, first, count), batch);
      first += count;
    }
    total.backward();
  }

  const Model& model_;
  std::vector<std::unique_ptr<Trainee>> trainees_;
  ForwardOptions forward_;
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

void train(const Model& model, const Training& training) {
  train_together(model, {training});
}

void train_together(const Model& model, const std::vector<Training>& trainings) {
  Trainer(model, trainings).run();
}

}  // namespace graft
