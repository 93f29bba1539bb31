// One model, four ways to its answers: whether training, evaluation, generation and merged weights agree.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "adapters/core/method.h"
#include "eval/rank.h"

namespace graft {

struct VerifyOptions {
  double tolerance = 1e-3;                          ///< largest gap of a logit, and of a log-probability
  std::int64_t batch_size = 8;                      ///< examples of one training step's forest
  bool checkpoint_layers = false;                   ///< as in training
  std::int64_t kept_logit_bytes = kKeptLogitBytes;  ///< the same
  Normalisation normalisation = Normalisation::Tokens;
  std::int64_t batch_tokens = RankOptions{}.batch_tokens;  ///< of evaluation
};

/// One path against evaluation. Tokens are those of the choices, each once; a gap is a largest absolute difference.
struct PathReport {
  std::string path;                ///< "training", "generation", "merged"
  std::int64_t tokens = 0;         ///< compared
  double logit_gap = 0;            ///< over the whole vocabulary, where each token is predicted
  double log_probability_gap = 0;  ///< of the tokens themselves
  std::int64_t other_winners = 0;  ///< examples whose best choice is another one
  bool passed = true;              ///< both gaps are within the tolerance
  std::string skipped = {};        ///< why there is nothing to compare; empty where there is
};

struct VerifyReport {
  std::vector<PathReport> paths;
  std::vector<RankedExample> evaluation;  ///< what all paths were compared with
  bool passed() const;
};

/// Scores the choices of the examples through each path: gradients on and packed as a training step; packed as rank()
/// packs; through the KV cache token by token; and with the adapter merged into the weights. `adapter` may be null:
/// then nothing is merged. Dropout must be off. A method that cannot be merged is told in that path's `skipped`. Throws
/// InvalidArgument without examples, Corruption for NaN, Cancelled on Ctrl-C.
VerifyReport verify(const Model& model, const Adapter* adapter, const std::vector<ChoiceTokens>& examples,
                    const VerifyOptions& options = {});

/// The tolerance that holds for a compute dtype (float32: 1e-3; bfloat16, where a logit of 30 has steps of 1/8: 2).
double verify_tolerance(at::ScalarType dtype);

}  // namespace graft
