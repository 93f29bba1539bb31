#include "cli/core/tune_memory.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "base/memory.h"
#include "base/progress.h"
#include "cli/core/pass_memory.h"
#include "cli/core/tune_probe.h"
#include "cli/core/tune_settings.h"
#include "train/footprint.h"

namespace graft {
namespace {

constexpr std::int64_t kWide = 4;  // bytes of a value in fp32
constexpr std::int64_t kMiB = 1 << 20;

std::string bytes(std::int64_t value) {
  return human_bytes(static_cast<double>(value));
}

// Layers are streamed while this lives.
class Streaming {
 public:
  explicit Streaming(Residency& residency) : residency_(residency) { residency_.stream(true); }
  ~Streaming() {
    residency_.stream(false);
    residency_.release();
  }
  Streaming(const Streaming&) = delete;

 private:
  Residency& residency_;
};

// Of which sizes are counted: without values, but where these are in a file.
std::unique_ptr<Adapter> adapter_to_count(const Job& job, const Model& outline) {
  if (job.config.method.start_from.empty()) return counted_adapter(job.config, outline);
  return new_adapter(job, MethodChoice(job.config.method.name), /*seed=*/0);
}

class Fitting {
 public:
  Fitting(const Job& job, std::int64_t room, bool trains)
      : job_(job),
        model_(*job.model),
        residency_(model_.parameters().residency()),
        room_(room),
        trains_(trains),
        settings_(train_settings(job)),
        outline_(outline_model(model_.config())),
        adapter_(adapter_to_count(job, *outline_)),
        standing_(standing_bytes(model_, model_.dtype(), *adapter_, settings_)) {
    give_back_memory(residency_);
    needs_.resident = resident_memory();
    needs_.mapped = residency_.bytes();
    needs_.streamed = streamed_bytes(model_);
    needs_.standing = standing_;
    if (trains_) bound_step();
    add_evaluation();
  }

  MemoryChoice choose() {
    MemoryChoice plain = choose_memory(needs_, room_);
    if (!trains_) plain.recompute_layers = plain.recompute_logits = false;  // there is no backward pass
    if (plain.keeps_everything() || !trains_) return plain;
    measure();
    return choose_memory(needs_, room_);
  }

  CountedRun counted(const MemoryChoice& choice) const {
    const auto halved =
        static_cast<std::size_t>(std::countr_zero(static_cast<std::uint64_t>(choice.smaller_evaluations)));
    return {standing_, halved == 0 ? needs_.evaluation : needs_.smaller_evaluations.at(halved - 1), largest_, tokens_};
  }

  // What would take less where choose() found nothing. A run whose steps are all made has its settings.
  std::vector<MemoryChange> changes() const {
    std::vector<MemoryChange> changes;
    if (!trains_) return changes;
    const auto add = [&, now = choose_memory(needs_, room_).bytes](const std::string& setting,
                                                                   const MemoryChoice& then) {
      if (then.bytes < now) changes.push_back({setting, then.bytes, then.fits});
    };
    const double longest = static_cast<double>(longest_) / static_cast<double>(largest_);
    if (const auto smaller = smaller_batches(needs_, settings_.batch_size, longest, room_))
      add(fmt::format("--set train.batch_size={} --set train.accumulation={}", smaller->size,
                      settings_.accumulation * smaller->parts),
          smaller->choice);
    if (!model_.parameters().packed() && !adapter_->replaces_parameters())
      add("--set model.weights=q4_0", choose_memory(in_small_blocks(needs_, model_), room_));
    return changes;
  }

 private:
  // Of training examples.
  std::int64_t tokens_of(const std::vector<std::size_t>& examples) const {
    std::int64_t tokens = 0;
    for (const auto i : examples) tokens += tokens_[i];
    return tokens;
  }

  // From the shapes of the model and of what is trained alone, never too little.
  void bound_step() {
    batches_ = batches_of(job_, settings_);
    for (std::size_t i = 0; i < batches_.tokens.size(); ++i)
      tokens_.push_back(batches_.tokens[i] + virtual_tokens_in(model_, adapter_.get(), job_.train_tokens[i]));
    longest_ = *std::max_element(tokens_.begin(), tokens_.end());
    largest_ = tokens_of(batches_.largest);
    needs_.standing = standing_bound(model_, model_.dtype(), *adapter_, settings_);
    add_logits();
    needs_.activations = needs_.recomputed = activation_bound(model_, largest_, longest_);
  }

  void add_logits() {
    std::vector<const ChoiceTokens*> largest;
    for (const auto i : batches_.largest) largest.push_back(&job_.train_tokens[i]);
    const auto rows = static_cast<std::int64_t>(pack(largest, model_.config(), 0).scored.size());
    // Smoothing keeps the logarithms of all probabilities beside the logits.
    const auto size = static_cast<std::int64_t>(c10::elementSize(model_.dtype())),
               smoothed = settings_.lm && settings_.lm->label_smoothing > 0 ? kWide : 0,
               row = model_.config().vocab_size;
    needs_.logit_block = std::min(rows, kLogitRows) * row * (size + kWide);
    needs_.logits = rows * row * size > settings_.kept_logit_bytes ? 0 : rows * row * (size + smoothed);
  }

  void add_evaluation() {
    const PassNeeds needs = answer_needs(job_, adapter_.get());
    needs_.evaluation = needs.largest;
    needs_.smaller_evaluations = needs.smaller;
    // They stay when training goes on, which reads the blocks themselves.
    if (needs.eight_bits) needs_.resident += laid_out_bytes(model_);
  }

  void measure() {
    const Streaming streaming(residency_);
    needs_.standing = standing_;
    needs_.recomputed = activations(true);
    // Where the weights alone leave no room, no step is made that keeps everything.
    const bool hopeless =
        needs_.resident + needs_.standing + needs_.mapped + needs_.recomputed + needs_.logit_block > room_;
    if (settings_.checkpoint_layers) {
      needs_.activations = needs_.recomputed;
    } else {
      needs_.activations = std::max(needs_.recomputed, hopeless ? needs_.activations : activations(false));
    }
  }

  // Of the largest batch, by a step on its longest example alone. Where weights are mapped, by one on two examples too.
  std::int64_t activations(bool recompute_layers) const {
    std::vector<std::size_t> examples = batches_.largest;
    std::sort(examples.begin(), examples.end(),
              [this](std::size_t a, std::size_t b) { return tokens_[a] > tokens_[b]; });
    give_back_memory(residency_);
    TrainSettings probed = settings_;
    probed.eval_every = 0;
    const std::int64_t beside =
        resident_memory() + standing_bytes(model_, model_.dtype(), *adapter_, probed) + needs_.streamed;
    const MadeStep one = step_on({examples[0]}, recompute_layers);
    std::optional<MadeStep> two;
    const bool room_for_two = 2 * one.peak - beside <= room_;  // else there is none for the batch, and one tells that
    if (needs_.streamed > 0 && examples.size() > 1 && room_for_two)
      two = step_on({examples[0], examples[1]}, recompute_layers);
    const ModelConfig& config = model_.config();
    // The stream between layers is kept whatever is computed again.
    const std::int64_t least = (config.layers + config.decoder_layers) * config.hidden_size * kWide;
    return activations_from(largest_, least, beside, one, two);
  }

  // With no more logits at a time than there must be.
  MadeStep step_on(const std::vector<std::size_t>& examples, bool recompute_layers) const {
    TrainSettings settings = settings_;
    settings.checkpoint_layers = recompute_layers;
    settings.kept_logit_bytes = 0;
    give_back_memory(residency_);
    return {tokens_of(examples), probe(job_, settings, examples, 1).peak};
  }

  const Job& job_;
  const Model& model_;
  Residency& residency_;
  std::int64_t room_;
  bool trains_;
  TrainSettings settings_;
  const std::unique_ptr<const Model> outline_;  // without values
  const std::unique_ptr<const Adapter> adapter_;
  const std::int64_t standing_;
  RunBatches batches_;
  std::vector<std::int64_t> tokens_;        // of each training example, the adapter's own among them
  std::int64_t longest_ = 0, largest_ = 0;  // tokens of the longest example, of the largest batch
  MemoryNeeds needs_;
};

// What would fit where the choice does not, as options of the command.
std::string remedy(const MemoryFit& fit) {
  const double least = std::ceil(static_cast<double>(fit.choice.bytes) / kRoomOfBudget / static_cast<double>(kMiB));
  std::vector<std::string> options = {fmt::format("--memory {:.0f}MiB", least)};
  for (const auto& change : fit.changes) {
    if (change.fits) options.push_back(change.setting);
  }
  const std::string separator = ", or ";
  if (fit.stage == RunStage::Fresh || options.size() == 1) return fmt::format("{}", fmt::join(options, separator));
  return fmt::format("{}; this run has begun and keeps its settings, a new one (another --output) also fits with {}",
                     options.front(), fmt::join(options.begin() + 1, options.end(), separator));
}

}  // namespace

MemoryBudget memory_budget(const std::string& text) {
  constexpr std::int64_t kMost = std::int64_t{1} << 60;  // where the system does not tell
  if (text.empty()) return {std::min(available_memory(), kMost) + private_memory(), false};
  return {memory_amount(text, "--memory"), true};
}

void give_back_memory(Residency& residency) {
  residency.release();
  trim_memory();
}

MemoryFit fit_memory(Job& job, const MemoryBudget& budget, RunStage stage) {
  MemoryFit fit{budget, stage, {}, {}};
  if (!job.model->device().is_cpu()) {
    refuse_budget_on_gpu(budget);
    return fit;
  }
  Fitting fitting(job, budget.room(), stage != RunStage::Trained);
  fit.choice = fitting.choose();
  fit.counted = fitting.counted(fit.choice);
  if (!fit.choice.fits) fit.changes = fitting.changes();
  trim_memory();
  job.memory = fit.choice;
  job.model->parameters().residency().stream(fit.choice.stream_weights);
  return fit;
}

void refuse_budget_on_gpu(const MemoryBudget& budget) {
  if (!budget.asked) return;
  fail(Category::InvalidArgument, "--memory",
       "is of runs on the CPU, and this one is on a GPU; leave it out, or choose --device cpu");
}

void refuse_unfitting(const MemoryFit& fit) {
  if (fit.choice.fits || !fit.budget.asked) return;
  fail(Category::ResourceExhausted, "--memory",
       "{} are too little: where {} the run still takes about {}; what fits: {}", bytes(fit.budget.bytes),
       fit.choice.text(), bytes(fit.choice.bytes), remedy(fit));
}

std::string told(const MemoryFit& fit) {
  const std::string budget = bytes(fit.budget.bytes), peak = bytes(fit.choice.bytes), what = fit.choice.text();
  if (!fit.choice.fits) {
    return fmt::format(
        "graft: note: {} are free, and where {} the run still takes about {}: it may be killed; what fits: {}", budget,
        what, peak, remedy(fit));
  }
  if (fit.choice.keeps_everything())
    return fit.budget.asked ? fmt::format("memory: {}, at most {} of {}", what, peak, budget) : "";
  if (fit.budget.asked) return fmt::format("memory: {}: about {} of {}; the results are the same", what, peak, budget);
  return fmt::format("graft: note: {} of memory are free, so {}: about {}; the results are the same", budget, what,
                     peak);
}

}  // namespace graft
