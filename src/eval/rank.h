// Rank classification: the choice with the highest normalised log-probability is the answer (Brown et al. 2020,
// section 2.4; Liu et al. 2022, section 3.2).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "eval/choices.h"

namespace graft {

/// How a choice's log-probability is normalised: none; tokens (T-Few: mean over its tokens, those after the prefix that
/// the choices share); chars; bytes; pmi (minus its log-probability after a neutral prompt, Holtzman et al. 2021).
enum class Normalisation { None, Tokens, Chars, Bytes, Pmi };

/// Throws InvalidArgument with the nearest name.
Normalisation normalisation_of(const std::string& name);

struct RankedExample {
  std::int64_t label = -1;  ///< where several choices are right, the answer if it is one of them, else the first
  std::int64_t prediction = 0;
  std::vector<double> scores;             ///< normalised log-probability of every choice
  std::vector<double> probabilities;      ///< softmax of the scores
  std::vector<std::int64_t> truths = {};  ///< every right choice, where there are several
};

/// Sets the label where several choices are right: see RankedExample::label.
void settle_label(RankedExample& example);

/// The answer to one example from the log-probability of every choice, summed over its tokens (for pmi: already without
/// the neutral one). Throws Corruption for NaN.
RankedExample ranked(const ChoiceTokens& example, const std::vector<double>& sums, Normalisation normalisation);

/// The answer once what the choices have from their context alone is taken off (contextual calibration, Zhao et al.
/// 2021, section 5): `content_free` (one or more) are of the same choices behind the same context and a content-free
/// input each. With p the probabilities of the example and p_cf the mean of theirs, those of the result are W p,
/// normalised, with W = diag(p_cf)⁻¹; its scores are the example's less log p_cf. (The paper writes a softmax around
/// W p, which changes no answer.)
RankedExample calibrated(const RankedExample& example, const std::vector<RankedExample>& content_free);

/// Of every choice of one example.
struct ChoiceScores {
  std::vector<double> sums;  ///< log-probability, summed over its tokens
  std::vector<bool> greedy;  ///< whether greedy decoding writes it: each token is the likeliest; else empty
};

/// The scores of one batch, from example `first` on, and the seconds that they took.
using OnScores = std::function<void(std::size_t first, const std::vector<ChoiceScores>& scores, double seconds)>;

struct RankOptions {
  Normalisation normalisation = Normalisation::Tokens;
  std::int64_t batch_tokens = 2048;  ///< packed tokens of one forward pass
  ForwardOptions forward;            ///< slot 0 is the adapter, if any
  std::string what = "evaluate";     ///< what errors and the progress line say it is; empty: no line
  /// Tokenised neutral prompts with the same choices, one per example; needed for pmi.
  const std::vector<ChoiceTokens>* neutral = nullptr;
  /// Tokens before every prompt, the same for all. Their keys and values are computed once. Decoder-only models.
  std::vector<std::int64_t> prefix;
  bool greedy = false;  ///< fill ChoiceScores::greedy
  OnScores on_scores;   ///< called after every batch
  bool shows = true;    ///< a progress line of its own
};

/// The scores of every example, in packed batches: the same bits in whatever batch (Activations::BatchInvariant).
/// Throws Cancelled on Ctrl-C, Corruption for NaN, InvalidArgument for a prefix before an encoder–decoder model's
/// prompts.
std::vector<ChoiceScores> choice_scores(const Model& model, const std::vector<ChoiceTokens>& examples,
                                        const RankOptions& options);

/// choice_scores(), and the answers by them.
std::vector<RankedExample> rank(const Model& model, const std::vector<ChoiceTokens>& examples,
                                const RankOptions& options);

}  // namespace graft
