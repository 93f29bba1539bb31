// What `graft eval` is told on the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "cli/core/eval_data.h"
#include "cli/core/job.h"
#include "eval/rank.h"

namespace graft {

struct EvalArguments : JobArguments {
  std::vector<std::string> adapters, metrics, slices;
  std::vector<std::int64_t> in_context;
  std::string demonstrations = "random", demonstrations_file, instruction, separator = "\\n\\n", normalisation,
              prompt_template, dtype, weights, memory, output_format, calibrate, scorer, scores;
  DecodingArguments decoding;
  double scorer_seconds = EvalSettings{}.scorer_patience;
  std::int64_t seeds = 1, candidates = 0, orders = 1, batch_tokens = RankOptions{}.batch_tokens;
  bool balanced = false, shots_for_adapters = false;
};

/// Declares its options, whose values `arguments` gets; it outlives `app`.
void declare_eval(CLI::App& app, EvalArguments& arguments);

/// What they say of shots, demonstrations, metrics and scorer, where no task says otherwise. Throws InvalidArgument for
/// options that contradict one another.
EvalSettings eval_settings(const EvalArguments& arguments);

}  // namespace graft
