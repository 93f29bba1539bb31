// Choosing the next token from logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"

namespace graft {

/// Applied in this order, which is Hugging Face's: repetition penalty, repeated n-grams, temperature, top-k, top-p,
/// min-p.
struct SamplingOptions {
  double temperature = 0.0;  ///< 0: greedy, the filters below do not matter then
  std::int64_t top_k = 0;    ///< keep the k most probable tokens; 0: all
  double top_p = 1.0;        ///< keep the fewest most probable tokens that hold this much (Holtzman et al. 2020)
  double min_p = 0.0;        ///< keep tokens at least this fraction of the most probable one
  double repetition_penalty =
      1.0;  ///< divides positive, multiplies negative logits of seen tokens (Keskar et al. 2019)

  std::int64_t no_repeat_ngram = 0;  ///< no n-gram of so many tokens may occur twice; 0: any may

  bool greedy() const { return temperature == 0.0; }
};

/// Throws InvalidArgument that names the option, its value and its range.
void check(const SamplingOptions& options);

/// Penalises, once each, the tokens that occur in `history` (prompt and output so far). Ids outside are ignored.
void penalise_repetition(std::span<float> logits, std::span<const std::int64_t> history, double penalty);

/// Puts every token at minus infinity that would end an n-gram of `n` tokens which `history` (prompt and output so far)
/// holds already; n = 0 changes nothing (Paulus et al. 2017).
void ban_repeated_ngrams(std::span<float> logits, std::span<const std::int64_t> history, std::int64_t n);

/// The largest logit; the lowest id among equals. Throws Corruption where a logit is NaN or none is finite.
std::int64_t best_token(std::span<const float> logits);

struct Candidate {
  std::int64_t token = 0;
  double probability = 0.0;
};

/// The tokens that may be drawn and their probabilities, which sum to one: after temperature (not 0), top-k, top-p and
/// min-p. Most probable first (lowest id first among equals) where a filter is on, by id otherwise. At least one token
/// always stays. Throws Corruption as best_token does.
std::vector<Candidate> candidates(std::span<const float> logits, const SamplingOptions& options);

/// The next token of one sequence: the whole chain, in place on `logits`. Draws one number from `rng` unless greedy.
std::int64_t next_token(std::span<float> logits, std::span<const std::int64_t> history, const SamplingOptions& options,
                        Rng& rng);

}  // namespace graft
