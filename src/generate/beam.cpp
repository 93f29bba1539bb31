#include "generate/beam.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "base/error.h"
#include "base/interrupt.h"
#include "generate/cached_step.h"
#include "generate/read_prefix.h"
#include "generate/text_stream.h"
#include "nn/kv_cache.h"
#include "nn/rope.h"

namespace graft {
namespace {

float divided(float score, std::int64_t length, double penalty) {
  return score / static_cast<float>(std::pow(static_cast<double>(length), penalty));
}

}  // namespace

Beams::Beams(const BeamOptions& options, std::int64_t longest, std::vector<std::int64_t> ends)
    : options_(options), width_(static_cast<std::size_t>(options.beams)), longest_(longest), ends_(std::move(ends)) {}

bool Beams::ends(std::int64_t token) const {
  return std::find(ends_.begin(), ends_.end(), token) != ends_.end();
}

std::vector<std::int64_t> Beams::text_of(const Candidate& candidate) const {
  auto text = texts_[candidate.beam];
  text.push_back(candidate.token);
  return text;
}

// Enough that `width_` of them do not end, whatever the others do.
std::vector<Beams::Candidate> Beams::best_continuations(std::span<const float> log_p) const {
  const std::size_t vocabulary = log_p.size() / texts_.size();
  const std::size_t wanted = std::min(log_p.size(), std::max<std::size_t>(2, 1 + ends_.size()) * width_);
  const auto better = [](const Candidate& a, const Candidate& b) { return a.score > b.score; };
  std::vector<Candidate> heap;  // its front is the worst that is kept
  for (std::size_t beam = 0; beam < texts_.size(); ++beam) {
    for (std::size_t token = 0; token < vocabulary; ++token) {
      const Candidate one{log_p[beam * vocabulary + token] + scores_[beam], beam, static_cast<std::int64_t>(token)};
      if (heap.size() == wanted) {
        if (!better(one, heap.front())) continue;
        std::pop_heap(heap.begin(), heap.end(), better);
        heap.pop_back();
      }
      heap.push_back(one);
      std::push_heap(heap.begin(), heap.end(), better);
    }
  }
  std::sort(heap.begin(), heap.end(), [](const Candidate& a, const Candidate& b) {
    return a.score != b.score ? a.score > b.score : std::pair(a.beam, a.token) < std::pair(b.beam, b.token);
  });
  return heap;
}

void Beams::finish(const Candidate& candidate) {
  auto text = text_of(candidate);
  const float score = divided(candidate.score, static_cast<std::int64_t>(text.size()), options_.length_penalty);
  const auto place =
      std::find_if(finished_.begin(), finished_.end(), [&](const Finished& f) { return f.score < score; });
  finished_.insert(place, {score, std::move(text)});
  if (finished_.size() > width_) finished_.pop_back();
}

// Whether the best running text may still end better than the worst finished one. With the length it has now this is a
// guess where a length penalty lets scores rise.
bool Beams::can_improve() const {
  if (!full()) return true;
  const bool longest = options_.early_stopping == EarlyStopping::Never && options_.length_penalty > 0;
  const auto length = longest ? longest_ : static_cast<std::int64_t>(texts_.front().size());
  return divided(scores_.front(), length, options_.length_penalty) > finished_.back().score;
}

std::vector<std::size_t> Beams::step(std::span<const float> log_p) {
  const auto candidates = best_continuations(log_p);
  const bool last = static_cast<std::int64_t>(texts_.front().size()) + 1 >= longest_;
  std::vector<std::size_t> parents;
  std::vector<std::vector<std::int64_t>> texts;
  std::vector<float> scores;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const Candidate& one = candidates[i];
    if (last || ends(one.token)) {
      if (i < width_) finish(one);
    } else if (texts.size() < width_) {
      parents.push_back(one.beam);
      texts.push_back(text_of(one));
      scores.push_back(one.score);
    }
  }
  running_ = !texts.empty();
  if (!running_) return {};
  texts_ = std::move(texts);
  scores_ = std::move(scores);
  running_ = can_improve() && !(full() && options_.early_stopping == EarlyStopping::WhenFull);
  return parents;
}

namespace {

struct Search {
  const Prompt& prompt;
  std::vector<std::int64_t> first;  // what the decoder read before the new tokens
  Beams beams;
  std::vector<std::int32_t> caches;
  std::int64_t shared = 0;  // cached tokens that all beams have in common
  bool cancelled = false;

  bool running() const { return !cancelled && beams.running(); }
};

class BeamDecoder {
 public:
  BeamDecoder(const Model& model, const std::vector<Prompt>& prompts, const GenerateOptions& options)
      : model_(model), options_(options), cache_(model.cache_layers(), options.kv_cache) {
    if (!options.ignore_eos) {
      std::set<std::int64_t> ends(model.config().eos.begin(), model.config().eos.end());
      ends.insert(options.end_tokens.begin(), options.end_tokens.end());
      ends_.assign(ends.begin(), ends.end());
    }
    const bool adapted = std::any_of(prompts.begin(), prompts.end(), [](const Prompt& p) { return p.slot >= 0; });
    if (adapted) forward_.slots = options.slots;
    forward_.cache = &cache_;
    forward_.activations = options.activations;
    for (const auto& prompt : prompts) {
      auto first = first_tokens(model, prompt);
      const auto longest = longest_text(prompt, static_cast<std::int64_t>(first.size()));
      searches_.push_back({prompt, std::move(first), Beams(options.beam, longest, ends_), {cache_.add_sequence()}});
    }
  }

  std::vector<Generated> run() {
    const c10::InferenceMode inference;
    prefill();
    for (auto running = still_running(); !running.empty(); running = still_running()) {
      if (cancel(running)) break;
      StepInput input;
      for (const Search* search : running) {
        for (std::size_t b = 0; b < search->caches.size(); ++b) add_next(input, *search, b);
      }
      step(input, running);
    }
    std::vector<Generated> results;
    for (const Search& search : searches_) results.push_back(result_of(search));
    return results;
  }

 private:
  using Group = std::vector<Search*>;

  std::int64_t longest_text(const Prompt& prompt, std::int64_t read) const {
    const auto context = positions_left(model_, Stack::Decoder, options_.slots, prompt.slot);
    return context > 0 ? std::min(options_.max_new_tokens, context - read + 1) : options_.max_new_tokens;
  }

  void prefill() {
    for (std::size_t next = 0; next < searches_.size();) {
      Group group;
      StepInput input;
      const auto fits = [&](const Search& search) {
        const std::size_t read = options_.prefix == nullptr ? 0 : options_.prefix->tokens().size();
        const auto tokens = static_cast<std::int64_t>(search.prompt.tokens.size() - read);
        return group.empty() || tokens + input.tokens() <= kPrefillTokens;
      };
      while (next < searches_.size() && fits(searches_[next])) {
        const std::int32_t cache = searches_[next].caches.front();
        const auto read = begin_with_prefix(cache_, cache, model_, searches_[next].prompt, options_);
        add_prompt(input, model_, searches_[next].prompt, cache, read);
        group.push_back(&searches_[next++]);
      }
      if (!cancel(group)) step(input, group);
    }
  }

  void add_next(StepInput& input, const Search& search, std::size_t beam) {
    const auto& text = search.beams.texts()[beam];
    const std::int64_t cached = cache_.length(search.caches[beam]);
    if (!turns_anew(model_.config().rope, cached, cached + 1)) {
      add_token(input, text.back(), search.prompt.slot, search.caches[beam]);
      return;
    }
    auto whole = search.first;
    whole.insert(whole.end(), text.begin(), text.end());
    read_again(input, cache_, whole, search.prompt, search.caches[beam]);
  }

  // One forward pass over every running beam of the group, in order.
  void step(const StepInput& input, const Group& group) {
    const at::Tensor log_p = at::log_softmax(last_logits(model_, input, forward_), -1);
    const auto vocabulary = static_cast<std::size_t>(log_p.size(1));
    float* row = log_p.data_ptr<float>();
    for (Search* search : group) {
      const std::size_t beams = search->caches.size();
      for (std::size_t b = 0; b < beams; ++b) constrain({row + b * vocabulary, vocabulary}, *search, b);
      if (search->shared == 0) search->shared = cache_.length(search->caches.front());
      const auto parents = search->beams.step({row, beams * vocabulary});
      if (search->beams.running()) follow(*search, parents);
      row += beams * vocabulary;
    }
  }

  void constrain(std::span<float> log_p, const Search& search, std::size_t beam) const {
    const auto& text = search.beams.texts()[beam];
    auto history = search.first;
    history.insert(history.end(), text.begin(), text.end());
    penalise_repetition(log_p, history, options_.sampling.repetition_penalty);
    ban_repeated_ngrams(log_p, history, options_.sampling.no_repeat_ngram);
    if (!model_.config().forced_bos || !text.empty()) return;
    std::fill(log_p.begin(), log_p.end(), -std::numeric_limits<float>::infinity());
    log_p[static_cast<std::size_t>(*model_.config().forced_bos)] = 0;
  }

  // The first text that continues another takes over its cache, the others get a copy in one that is no longer needed.
  void follow(Search& search, const std::vector<std::size_t>& parents) {
    const std::vector<std::int32_t> old = search.caches;
    std::vector<bool> taken(old.size(), false);
    std::vector<std::int32_t> now(parents.size(), -1);
    for (std::size_t i = 0; i < parents.size(); ++i) {
      if (taken[parents[i]]) continue;
      taken[parents[i]] = true;
      now[i] = old[parents[i]];
    }
    std::vector<std::int32_t> spare;
    for (std::size_t b = 0; b < old.size(); ++b) {
      if (!taken[b]) spare.push_back(old[b]);
    }
    for (std::size_t i = 0; i < parents.size(); ++i) {
      if (now[i] >= 0) continue;
      const bool fresh = spare.empty();
      now[i] = fresh ? cache_.add_sequence() : spare.back();
      if (!fresh) spare.pop_back();
      cache_.copy(old[parents[i]], now[i], fresh ? 0 : search.shared);
    }
    search.caches = std::move(now);
  }

  bool cancel(const Group& group) const {
    if (!interrupted()) return false;
    for (Search* search : group) search->cancelled = true;
    return true;
  }

  Group still_running() {
    Group running;
    for (Search& search : searches_) {
      if (search.running()) running.push_back(&search);
    }
    return running;
  }

  Generated result_of(const Search& search) const {
    Generated result;
    result.tokens = search.beams.best();
    const bool ended =
        !result.tokens.empty() && std::find(ends_.begin(), ends_.end(), result.tokens.back()) != ends_.end();
    result.reason = search.cancelled ? StopReason::Cancelled : ended ? StopReason::Eos : StopReason::Length;
    if (options_.tokenizer == nullptr) return result;
    TextStream stream(*options_.tokenizer, {});
    for (std::size_t t = 0; t + (ended ? 1 : 0) < result.tokens.size(); ++t)
      result.text += stream.push(result.tokens[t]);
    result.text += stream.finish();
    return result;
  }

  const Model& model_;
  const GenerateOptions& options_;
  std::vector<std::int64_t> ends_;
  KvCache cache_;
  ForwardOptions forward_;
  std::vector<Search> searches_;
};

}  // namespace

std::vector<Generated> beam_search(const Model& model, const std::vector<Prompt>& prompts,
                                   const GenerateOptions& options) {
  return BeamDecoder(model, prompts, options).run();
}

}  // namespace graft
