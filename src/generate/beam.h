// Beam search, as transformers' generate(num_beams=…) does it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "arch/core/model.h"
#include "generate/decode.h"

namespace graft {

/// The search for one prompt: what is kept of the continuations, without any model. Scores are sums of
/// log-probabilities; that of a finished text is divided by its length (in new tokens, the end token too) to the power
/// of length_penalty.
class Beams {
 public:
  /// At most `longest` new tokens; a text ends at any of `ends`.
  Beams(const BeamOptions& options, std::int64_t longest, std::vector<std::int64_t> ends);

  /// Goes one token on from log-probabilities [beams, V] of what may follow each running text ([1, V] at the first
  /// step, where there is one). Of (1 + number of ends, at least 2) · beams best continuations those that end are
  /// finished, if they are among the best `beams`, and the best others run on. Returns of each new running text the
  /// place of the one it continues.
  std::vector<std::size_t> step(std::span<const float> log_p);

  bool running() const { return running_; }
  /// New tokens of the texts that run on, best first.
  const std::vector<std::vector<std::int64_t>>& texts() const { return texts_; }
  /// The best finished text; while none is, the best that runs.
  const std::vector<std::int64_t>& best() const {
    return finished_.empty() ? texts_.front() : finished_.front().tokens;
  }

 private:
  struct Candidate {
    float score;
    std::size_t beam;
    std::int64_t token;
  };
  struct Finished {
    float score;
    std::vector<std::int64_t> tokens;
  };

  std::vector<Candidate> best_continuations(std::span<const float> log_p) const;
  bool ends(std::int64_t token) const;
  std::vector<std::int64_t> text_of(const Candidate& candidate) const;
  void finish(const Candidate& candidate);
  bool full() const { return finished_.size() == width_; }
  bool can_improve() const;

  BeamOptions options_;
  std::size_t width_;
  std::int64_t longest_;
  std::vector<std::int64_t> ends_;
  std::vector<std::vector<std::int64_t>> texts_ = {{}};
  std::vector<float> scores_ = {0};
  std::vector<Finished> finished_;  // best first
  bool running_ = true;
};

/// The best text of each prompt; all are searched in one batch. `options.sampling` may hold a repetition penalty and
/// no_repeat_ngram, which see the prompt of a decoder too, and no temperature. Throws as generate().
std::vector<Generated> beam_search(const Model& model, const std::vector<Prompt>& prompts,
                                   const GenerateOptions& options);

}  // namespace graft
