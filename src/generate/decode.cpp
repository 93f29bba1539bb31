#include "generate/decode.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/interrupt.h"
#include "generate/beam.h"
#include "generate/cached_step.h"
#include "generate/read_prefix.h"
#include "generate/text_stream.h"
#include "nn/attention.h"
#include "nn/kv_cache.h"
#include "nn/rope.h"

namespace graft {
namespace {

// As many rows take the matrices from memory once (nn/kernels), and cost least for what they may bring.
constexpr std::int64_t kTokensOfOneReading = 8;

static_assert(kFewQueries >= kMostProposed + 1,
              "a pass reads a token and what is proposed behind it: one by one, or a text would depend on how many");

class Sequence {
 public:
  Sequence(const Prompt& prompt, std::int32_t cache, const Model& model, const GenerateOptions& options)
      : prompt_(prompt),
        cache_(cache),
        context_(positions_left(model, Stack::Decoder, options.slots, prompt.slot)),
        rng_(prompt.seed),
        proposal_length_(options.speculation) {
    history_ = first_tokens(model, prompt);
    if (options.tokenizer != nullptr) stream_.emplace(*options.tokenizer, options.stop);
  }

  const Prompt& prompt() const { return prompt_; }
  std::int32_t cache() const { return cache_; }
  /// Tokens the decoder has or will have read.
  const std::vector<std::int64_t>& history() const { return history_; }
  bool running() const { return running_; }
  Generated& result() { return result_; }

  /// What the next pass reads: the last token and at most `most` that are proposed to follow it.
  std::vector<std::int64_t> next_tokens(const Model& model, const GenerateOptions& options, std::int64_t most) {
    std::vector<std::int64_t> tokens = {history_.back()};
    if (most <= 0) return tokens;
    const auto written = static_cast<std::int64_t>(result_.tokens.size()),
               read = static_cast<std::int64_t>(history_.size());
    std::int64_t count = std::min({proposal_length_.next(), most, options.max_new_tokens - written - 1});
    if (context_ > 0) count = std::min(count, context_ - read);
    std::vector<std::int64_t> text = model.encoder_decoder() ? prompt_.tokens : std::vector<std::int64_t>();
    text.insert(text.end(), history_.begin(), history_.end());
    const auto proposal = look_up(text, count, proposal_length_.shortest_match());
    tokens.insert(tokens.end(), proposal.begin(), proposal.end());
    return tokens;
  }

  void passed(std::int64_t proposed, std::int64_t accepted) {
    ++result_.passes;
    result_.proposed += proposed;
    result_.accepted += accepted;
    if (proposed > 0) proposal_length_.verified(proposed, accepted);
  }

  /// Draws the next token; returns the text that became certain.
  std::string step(std::span<float> logits, const Model& model, const GenerateOptions& options) {
    const auto& forced = model.config().forced_bos;
    const std::int64_t token =
        forced && result_.tokens.empty() ? *forced : next_token(logits, history_, options.sampling, rng_);
    history_.push_back(token);
    result_.tokens.push_back(token);
    const auto among = [token](const std::vector<std::int64_t>& ends) {
      return std::find(ends.begin(), ends.end(), token) != ends.end();
    };
    if (!options.ignore_eos && (among(model.config().eos) || among(options.end_tokens))) return end(StopReason::Eos);
    std::string text = take(stream_ ? stream_->push(token) : "");
    if (stream_ && stream_->stopped()) return text + end(StopReason::StopString);
    if (static_cast<std::int64_t>(result_.tokens.size()) >= options.max_new_tokens)
      return text + end(StopReason::Length);
    if (context_ > 0 && static_cast<std::int64_t>(history_.size()) > context_) return text + end(StopReason::Context);
    return text;
  }

  std::string end(StopReason reason) {
    result_.reason = reason;
    running_ = false;
    std::string rest = take(stream_ ? stream_->finish() : "");
    if (stream_ && stream_->stopped()) result_.reason = StopReason::StopString;
    return rest;
  }

 private:
  std::string take(std::string text) {
    result_.text += text;
    return text;
  }

  const Prompt& prompt_;
  std::int32_t cache_;
  std::int64_t context_;
  Rng rng_;
  ProposalLength proposal_length_;
  std::vector<std::int64_t> history_;
  std::optional<TextStream> stream_;
  Generated result_;
  bool running_ = true;
};

void check_beams(const GenerateOptions& options) {
  if (options.beam.beams < 1) fail(Category::InvalidArgument, "beams", "is {}, must be at least 1", options.beam.beams);
  if (options.beam.beams == 1) return;
  if (!options.sampling.greedy())
    fail(Category::InvalidArgument, "temperature", "is {}; a search with beams draws nothing, leave it at 0",
         options.sampling.temperature);
  if (!options.stop.empty())
    fail(Category::Unsupported, "stop",
         "a search with beams ends at the end-of-text token only; leave stop strings out");
}

void check_prefix(const Prompt& prompt, const GenerateOptions& options, const std::string& where) {
  if (options.prefix == nullptr) return;
  const auto& prefix = options.prefix->tokens();
  const bool follows = prompt.tokens.size() > prefix.size() && prompt.slot == options.prefix->slot() &&
                       std::equal(prefix.begin(), prefix.end(), prompt.tokens.begin());
  if (!follows)
    fail(Category::InvalidArgument, where, "does not go on from the {} tokens that were read, with their adapter",
         prefix.size());
}

void check(const Model& model, const std::vector<Prompt>& prompts, const GenerateOptions& options) {
  check(options.sampling);
  if (options.max_new_tokens < 1)
    fail(Category::InvalidArgument, "max-new-tokens", "is {}, must be at least 1", options.max_new_tokens);
  if (!options.stop.empty() && options.tokenizer == nullptr)
    fail(Category::InvalidArgument, "stop", "stop strings need a tokenizer");
  check_beams(options);
  const auto context = model.config().max_positions;
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const auto length = static_cast<std::int64_t>(prompts[i].tokens.size());
    const auto where = fmt::format("prompt {}", i);
    if (length == 0) fail(Category::InvalidArgument, where, "is empty; give at least one token");
    if (prompts[i].slot >= static_cast<std::int32_t>(options.slots.size())) {
      fail(Category::InvalidArgument, where, "names adapter slot {} of {}", prompts[i].slot, options.slots.size());
    }
    const auto left = positions_left(model, model.encoder_decoder() ? Stack::Encoder : Stack::Decoder, options.slots,
                                     prompts[i].slot);
    check_prefix(prompts[i], options, where);
    if (context > 0 && length > left) {
      fail(Category::InvalidArgument, where, "has {} tokens, the model's context is {}{}; shorten it by {}", length,
           context,
           left < context ? fmt::format(", of which the adapter's virtual tokens take {}", context - left) : "",
           length - left);
    }
  }
}

class Decoder {
 public:
  Decoder(const Model& model, const std::vector<Prompt>& prompts, const GenerateOptions& options,
          const OnToken& on_token)
      : model_(model), options_(options), on_token_(on_token), cache_(model.cache_layers(), options.kv_cache) {
    const bool adapted = std::any_of(prompts.begin(), prompts.end(), [](const Prompt& p) { return p.slot >= 0; });
    if (adapted) forward_.slots = options.slots;
    if (speculation_obstacle(model, options).empty()) proposed_tokens_ = options.speculation.tokens;
    forward_.cache = &cache_;
    forward_.activations = options.activations;
    sequences_.reserve(prompts.size());
    for (const auto& prompt : prompts) sequences_.emplace_back(prompt, cache_.add_sequence(), model, options);
  }

  std::vector<Generated> run() {
    const c10::InferenceMode inference;
    prefill();
    for (auto running = still_running(); !running.empty(); running = still_running()) {
      if (interrupted()) {
        cancel(running);
        break;
      }
      decode(running);
    }
    std::vector<Generated> results;
    for (auto& sequence : sequences_) results.push_back(std::move(sequence.result()));
    return results;
  }

 private:
  using Group = std::vector<std::size_t>;

  void prefill() {
    for (std::size_t next = 0; next < sequences_.size();) {
      Group group;
      StepInput input;
      while (next < sequences_.size() && (group.empty() || tokens_of(next) + input.tokens() <= kPrefillTokens)) {
        const Sequence& sequence = sequences_[next];
        const auto read = begin_with_prefix(cache_, sequence.cache(), model_, sequence.prompt(), options_);
        add_prompt(input, model_, sequence.prompt(), sequence.cache(), read);
        group.push_back(next++);
      }
      if (interrupted()) {
        cancel(group);
        continue;
      }
      const at::Tensor logits = last_logits(model_, input, forward_);
      for (std::size_t i = 0; i < group.size(); ++i) {
        push(group[i], logits, static_cast<std::int64_t>(i));
        sequences_[group[i]].passed(0, 0);
      }
    }
  }

  // To be read.
  std::int64_t tokens_of(std::size_t index) const {
    const std::size_t read = options_.prefix == nullptr ? 0 : options_.prefix->tokens().size();
    return static_cast<std::int64_t>(sequences_[index].prompt().tokens.size() - read);
  }

  // A number that adapts also stays with what costs least.
  std::int64_t most_proposed(std::size_t texts) const {
    const std::int64_t share = kTokensOfOneReading / static_cast<std::int64_t>(texts) - 1;
    return options_.speculation.adapts ? std::min(proposed_tokens_, share) : proposed_tokens_;
  }

  // Of a text whose keys a further token turns anew, none that would do so.
  std::int64_t most_proposed(std::int64_t cached, std::size_t texts) const {
    const std::int64_t most = most_proposed(texts), last = model_.config().rope.original_max_position;
    return turns_anew(model_.config().rope, cached + 1, cached + 1 + most) ? last - cached - 1 : most;
  }

  void decode(const Group& group) {
    StepInput input;
    std::vector<std::vector<std::int64_t>> fresh;
    std::vector<std::int64_t> counts;
    for (const auto index : group) {
      Sequence& sequence = sequences_[index];
      const std::int64_t cached = cache_.length(sequence.cache());
      fresh.push_back(sequence.next_tokens(model_, options_, most_proposed(cached, group.size())));
      counts.push_back(static_cast<std::int64_t>(fresh.back().size()));
      if (turns_anew(model_.config().rope, cached, cached + counts.back())) {
        auto text = sequence.history();
        text.insert(text.end(), fresh.back().begin() + 1, fresh.back().end());
        read_again(input, cache_, text, sequence.prompt(), sequence.cache());
      } else {
        add_tokens(input, fresh.back(), sequence.prompt().slot, sequence.cache());
      }
    }
    const at::Tensor logits = last_logits(model_, input, forward_, counts);
    std::int64_t row = 0;
    for (std::size_t i = 0; i < group.size(); row += counts[i], ++i) verify(group[i], fresh[i], logits, row);
  }

  // Draws from the logits behind each fresh token that was read, as long as that token is the one that was drawn
  // before. What was read in vain leaves the cache.
  void verify(std::size_t index, const std::vector<std::int64_t>& fresh, const at::Tensor& logits, std::int64_t first) {
    Sequence& sequence = sequences_[index];
    const auto length = static_cast<std::int64_t>(fresh.size());
    std::int64_t accepted = 0;
    for (bool follows = true; follows && sequence.running();) {
      push(index, logits, first + accepted);
      follows = accepted + 1 < length && sequence.history().back() == fresh[static_cast<std::size_t>(accepted + 1)];
      if (follows) ++accepted;
    }
    cache_.truncate(sequence.cache(), cache_.length(sequence.cache()) - length + 1 + accepted);
    sequence.passed(length - 1, accepted);
  }

  // The next token of a sequence, from one row of logits.
  void push(std::size_t index, const at::Tensor& logits, std::int64_t row) {
    const std::int64_t vocabulary = logits.size(1);
    const std::string text = sequences_[index].step(
        {logits.data_ptr<float>() + row * vocabulary, static_cast<std::size_t>(vocabulary)}, model_, options_);
    report(index, text);
  }

  void report(std::size_t index, const std::string& text) {
    Sequence& sequence = sequences_[index];
    if (!on_token_ || on_token_(index, sequence.history().back(), text) || !sequence.running()) return;
    sequence.end(StopReason::Cancelled);
  }

  void cancel(const Group& group) {
    for (const auto index : group) sequences_[index].end(StopReason::Cancelled);
  }

  Group still_running() const {
    Group running;
    for (std::size_t i = 0; i < sequences_.size(); ++i) {
      if (sequences_[i].running()) running.push_back(i);
    }
    return running;
  }

  const Model& model_;
  const GenerateOptions& options_;
  const OnToken& on_token_;
  KvCache cache_;
  ForwardOptions forward_;
  std::int64_t proposed_tokens_ = 0;
  std::vector<Sequence> sequences_;
};

}  // namespace

const char* name(StopReason reason) {
  switch (reason) {
    case StopReason::Eos:
      return "eos";
    case StopReason::StopString:
      return "stop string";
    case StopReason::Length:
      return "length";
    case StopReason::Context:
      return "context";
    case StopReason::Cancelled:
      return "cancelled";
  }
  return "length";
}

EarlyStopping early_stopping_of(const std::string& name) {
  if (name == "true") return EarlyStopping::WhenFull;
  if (name == "false") return EarlyStopping::WhenUnlikely;
  if (name == "never") return EarlyStopping::Never;
  fail(Category::InvalidArgument, "early-stopping", "is '{}', must be true, false or never", name);
}

std::vector<Generated> generate(const Model& model, const std::vector<Prompt>& prompts, const GenerateOptions& options,
                                const OnToken& on_token) {
  check(model, prompts, options);
  if (options.beam.beams > 1) return beam_search(model, prompts, options);
  return Decoder(model, prompts, options, on_token).run();
}

std::string speculation_obstacle(const Model& model, const GenerateOptions& options) {
  if (options.beam.beams > 1) return "a search with beams follows several texts at once";
  if (model.config().rope.scaling == RopeScaling::Dynamic)
    return "the model turns its keys by the length of the text (dynamic RoPE), which tokens read together change";
  return "";
}

}  // namespace graft
