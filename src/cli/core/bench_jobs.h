// The kinds of work that `graft bench` times, each done by the code of the verb whose work it is: generate(), train()
// and rank().
#pragma once

#include <string>
#include <vector>

#include "cli/core/bench_turns.h"
#include "cli/core/job.h"
#include "train/loop.h"

namespace graft {

/// Reading a prompt of 512 tokens, or as many as fit the model, and writing one text and 16. `exact`: inputs are not
/// rounded to 8 bits. `model` has to outlive the jobs, here and below.
std::vector<BenchJob> writing_jobs(const Model& model, const MachineLimits& limits, bool exact);

/// What is tuned on and scored.
struct TuningExamples {
  std::vector<ChoiceTokens> train, questions;
  TrainSettings settings;
  std::string step, scoring;  ///< what a step and the scoring are of, to be read: "8 × 128 tokens"
};

/// Random tokens: texts of 128, or as many as fit, each token a target, and questions with four choices.
TuningExamples random_examples(const Model& model);

/// The training and held-out examples of a job, in its first template, and its settings.
TuningExamples examples_of(const Job& job);

/// A step of (IA)³, of LoRA of rank 8 and of everything, and scoring of every question once. `examples` has to outlive
/// the jobs.
std::vector<BenchJob> tuning_jobs(const Model& model, const MachineLimits& limits, const TuningExamples& examples);

}  // namespace graft
