#include "cli/core/writing_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "base/clock.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "base/progress.h"
#include "generate/cached_step.h"

namespace graft {
namespace {

constexpr std::int64_t kReadTokens = 1 << 13;
constexpr std::int64_t kNewTokensOfPlan = 17;  // the first of which reading gives

std::int64_t tokens_in(const std::vector<Prompt>& prompts) {
  std::int64_t tokens = 0;
  for (const auto& prompt : prompts) tokens += static_cast<std::int64_t>(prompt.tokens.size());
  return tokens;
}

std::int64_t longest_in(const std::vector<Prompt>& prompts) {
  std::size_t longest = 0;
  for (const auto& prompt : prompts) longest = std::max(longest, prompt.tokens.size());
  return static_cast<std::int64_t>(longest);
}

class WritingPlanner {
 public:
  WritingPlanner(const Model& model, const std::vector<Prompt>& prompts, const GenerateOptions& options,
                 double load_seconds, const MemoryFit& fit)
      : model_(model), prompts_(prompts), options_(options), plan_(begin_plan(model, load_seconds, fit)) {
    for (const auto& prompt : prompts) {
      const auto tokens = static_cast<std::int64_t>(prompt.tokens.size());
      read_ += tokens;
      written_ += new_tokens(tokens);
      most_written_ = std::max(most_written_, new_tokens(tokens));
    }
    options_.speculation = {};
    options_.ignore_eos = true;
    options_.end_tokens.clear();
    options_.stop.clear();
  }

  WorkPlan plan() {
    const std::int64_t estimate = resident_memory() + bytes();
    const bool whole = plan_.has_room_for(estimate);
    const std::vector<Prompt> part = whole ? shortened(prompts_) : shortened({prompts_.front()});
    measure(part);
    if (whole) {
      plan_.memory = measured_ + std::max<std::int64_t>(0, kept(whole_texts()) - kept(made_texts(part))) +
                     std::max<std::int64_t>(0, reading_bytes(prompts_) - reading_bytes(part));
    } else {
      plan_.memory = std::max(estimate, measured_);
    }
    if (!plan_.fits()) add_changes();
    tell();
    return std::move(plan_);
  }

  // Beside the model.
  std::int64_t bytes() const { return reading_bytes(prompts_) + kept(whole_texts()); }

 private:
  // Of the pass that reads the most of these.
  std::int64_t reading_bytes(const std::vector<Prompt>& prompts) const {
    return evaluation_bytes(model_, tokens_of_a_reading(prompts), longest_in(prompts));
  }

  // Behind a prompt of so many tokens.
  std::int64_t new_tokens(std::int64_t prompt) const {
    const std::int64_t context = model_.config().max_positions, most = options_.max_new_tokens;
    if (model_.encoder_decoder() || context <= 0) return most;
    return std::max<std::int64_t>(1, std::min(context - prompt + 1, most));
  }

  std::int64_t kept(const KeptTexts& texts) const { return kept_bytes(model_, texts, options_.kv_cache); }

  // What an adapter puts before a text is read with it.
  std::int64_t virtual_tokens_before(const std::vector<Prompt>& prompts) const {
    std::int64_t tokens = 0;
    const Stack stack = model_.encoder_decoder() ? Stack::Encoder : Stack::Decoder;
    for (const auto& prompt : prompts) {
      const SiteHooks* hooks = prompt.slot < 0 ? nullptr : options_.slots.at(static_cast<std::size_t>(prompt.slot));
      if (hooks != nullptr) tokens += hooks->virtual_tokens(stack);
    }
    return tokens;
  }

  // At the end of the command.
  KeptTexts whole_texts() const {
    return {static_cast<std::int64_t>(prompts_.size()), read_ + virtual_tokens_before(prompts_), written_,
            options_.beam.beams};
  }

  // At the end of measure().
  KeptTexts made_texts(const std::vector<Prompt>& part) const {
    const auto count = static_cast<std::int64_t>(part.size());
    const std::int64_t written = count * std::min(kNewTokensOfPlan, options_.max_new_tokens);
    return {count, tokens_in(part) + virtual_tokens_before(part), written, options_.beam.beams};
  }

  static std::vector<Prompt> shortened(std::vector<Prompt> prompts) {
    if (tokens_in(prompts) <= kReadTokens) return prompts;
    const std::size_t each = std::max<std::size_t>(1, static_cast<std::size_t>(kReadTokens) / prompts.size());
    for (auto& prompt : prompts) prompt.tokens.resize(std::min(prompt.tokens.size(), each));
    return prompts;
  }

  struct Timed {
    double seconds = 0;
    std::int64_t steps = 0;  // of the longest text
  };

  Timed timed(const std::vector<Prompt>& part, std::int64_t tokens) const {
    GenerateOptions options = options_;
    options.max_new_tokens = tokens;
    Timed made;
    const auto began = Clock::now();
    for (const auto& text : generate(model_, part, options))
      made.steps = std::max(made.steps, static_cast<std::int64_t>(text.tokens.size()));
    made.seconds = seconds_since(began);
    stop_if_interrupted("plan");
    return made;
  }

  void measure(const std::vector<Prompt>& part) {
    begin_peak();
    const Timed first = timed(part, 1);  // lays out the weights, too
    const Timed read = timed(part, 1);
    const double scale = static_cast<double>(read_) / static_cast<double>(tokens_in(part));
    read_seconds_ = read.seconds * scale;
    laying_out_ = std::max(0.0, first.seconds - read.seconds);
    const Timed more = timed(part, std::min(kNewTokensOfPlan, options_.max_new_tokens));
    if (more.steps > 1)
      step_seconds_ = std::max(0.0, more.seconds - read.seconds) / static_cast<double>(more.steps - 1);
    measured_ = peak_memory();
  }

  void tell() {
    const auto texts = static_cast<std::int64_t>(prompts_.size());
    const double write_seconds = step_seconds_ * static_cast<double>(std::max<std::int64_t>(0, most_written_ - 1));
    const auto rate = [](std::int64_t tokens, double seconds) {
      return seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0;
    };
    plan_.parts.push_back({"reading", laying_out_ + read_seconds_,
                           fmt::format("{} tokens, {:.0f} a second", grouped(read_), rate(read_, read_seconds_))});
    plan_.parts.push_back(
        {"writing", write_seconds,
         fmt::format("{} texts of at most {} tokens, {:.1f} tokens a second in all; sooner where they end sooner",
                     grouped(texts), grouped(most_written_), rate(texts, step_seconds_))});
    plan_.figures = {{"read_seconds", laying_out_ + read_seconds_},
                     {"write_seconds", write_seconds},
                     {"texts", texts},
                     {"read_tokens", read_},
                     {"written_tokens", written_},
                     {"read_tokens_per_second", rate(read_, read_seconds_)},
                     {"written_tokens_per_second", rate(texts, step_seconds_)}};
  }

  void add_changes() {
    const auto add = [this](const std::string& setting, std::int64_t less) {
      const std::int64_t bytes = plan_.memory - less;
      if (less > 0) plan_.changes.push_back({setting, bytes, plan_.has_room_for(bytes)});
    };
    const KeptTexts all = whole_texts();
    if (options_.kv_cache == KvFormat::Dense)
      add("--kv-cache q8", kept(all) - kept_bytes(model_, all, KvFormat::EightBit));
    if (most_written_ > 1) {
      KeptTexts shorter = all;
      shorter.written /= 2;
      add(fmt::format("--max-new-tokens {}", most_written_ / 2), kept(all) - kept(shorter));
    }
    const bool replaced = std::any_of(options_.slots.begin(), options_.slots.end(), [](const SiteHooks* slot) {
      return slot != nullptr && slot->replaces_parameters();
    });
    if (!replaced) add_blocks(plan_, model_, "--weights q4_0");
  }

  const Model& model_;
  const std::vector<Prompt>& prompts_;
  GenerateOptions options_;
  WorkPlan plan_;
  std::int64_t read_ = 0, written_ = 0, most_written_ = 0;  // tokens
  double laying_out_ = 0, read_seconds_ = 0, step_seconds_ = 0;
  std::int64_t measured_ = 0;  // bytes at the peak
};

}  // namespace

std::int64_t tokens_of_a_reading(const std::vector<Prompt>& prompts) {
  return std::min(tokens_in(prompts), std::max(longest_in(prompts), kPrefillTokens));
}

PassNeeds writing_needs(const Model& model, const std::vector<Prompt>& prompts, const GenerateOptions& options) {
  PassNeeds needs;
  needs.largest = WritingPlanner(model, prompts, options, 0, {}).bytes();
  needs.eight_bits = options.activations == Activations::EightBit;
  return needs;
}

WorkPlan plan_writing(const Model& model, const std::vector<Prompt>& prompts, const GenerateOptions& options,
                      double load_seconds, const MemoryFit& fit) {
  return WritingPlanner(model, prompts, options, load_seconds, fit).plan();
}

}  // namespace graft
