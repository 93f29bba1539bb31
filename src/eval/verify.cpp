#include "eval/verify.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "convert/merged_weights.h"
#include "generate/forced.h"

namespace graft {
namespace {

using Group = std::vector<const ChoiceTokens*>;

// What one path computed, in the order of examples, choices and tokens, which no packing changes.
struct Replay {
  at::Tensor hidden;       // [T, C] of the row that predicts each scored token
  at::Tensor log_p;        // [T] fp32
  ForwardOptions forward;  // for the head
};

std::vector<Group> groups_of_size(const std::vector<ChoiceTokens>& examples, std::int64_t size) {
  std::vector<Group> groups;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    if (i % static_cast<std::size_t>(size) == 0) groups.emplace_back();
    groups.back().push_back(&examples[i]);
  }
  return groups;
}

ForwardOptions with_hooks(const SiteHooks* hooks) {
  ForwardOptions forward;
  if (hooks != nullptr) forward.slots = {hooks};
  return forward;
}

void stop_if_interrupted() {
  if (interrupted()) fail(Category::Cancelled, "", "verification interrupted");
}

class Verifier {
 public:
  Verifier(const Model& model, const std::vector<ChoiceTokens>& examples, const VerifyOptions& options)
      : model_(model),
        examples_(examples),
        options_(options),
        all_(pack(groups_of_size(examples, static_cast<std::int64_t>(examples.size())).front(), model.config(), -1)) {}

  Replay training(const SiteHooks* adapter) const {
    ForwardOptions forward = with_hooks(adapter);
    forward.checkpoint_layers = options_.checkpoint_layers;
    forward.kept_logit_bytes = options_.kept_logit_bytes;
    const at::AutoGradMode gradients(true);
    return packed(groups_of_size(examples_, options_.batch_size), forward, "training");
  }

  Replay evaluation(const SiteHooks* hooks, const char* what) const {
    const c10::InferenceMode inference;
    return packed(groups_of(examples_, model_.config(), options_.batch_tokens), with_hooks(hooks), what);
  }

  Replay generation(const SiteHooks* adapter) const {
    const c10::InferenceMode inference;
    Replay replay{{}, {}, with_hooks(adapter)};
    std::vector<at::Tensor> hidden;
    Progress progress("generation", static_cast<std::int64_t>(examples_.size()));
    for (std::size_t e = 0; e < examples_.size(); ++e) {
      stop_if_interrupted();
      hidden.push_back(cached_rows(examples_[e], replay.forward.slots));
      progress.update(static_cast<std::int64_t>(e) + 1);
    }
    replay.hidden = at::cat(hidden);
    std::vector<ScoredToken> scored = all_.scored;
    for (std::size_t t = 0; t < scored.size(); ++t) scored[t].row = static_cast<std::int64_t>(t);
    replay.log_p = score_tokens(model_, scored, replay.hidden, replay.forward);
    return replay;
  }

  std::vector<RankedExample> winners(const Replay& replay) const {
    const at::Tensor sums = sum_by_choice(replay.log_p, all_).to(at::kCPU, at::kDouble).contiguous();
    const double* data = sums.const_data_ptr<double>();
    std::vector<RankedExample> result;
    for (std::size_t e = 0; e < examples_.size(); ++e) {
      const std::vector<double> of_example(data + all_.first_choice[e], data + all_.first_choice[e + 1]);
      result.push_back(ranked(examples_[e], of_example, options_.normalisation));
    }
    return result;
  }

  PathReport compare(const char* path, const Replay& replay, const Replay& reference) const {
    const c10::InferenceMode inference;
    PathReport report{path, replay.log_p.size(0), logit_gap(replay, reference),
                      (replay.log_p - reference.log_p).abs().max().item<double>()};
    const auto mine = winners(replay), theirs = winners(reference);
    for (std::size_t e = 0; e < mine.size(); ++e) report.other_winners += mine[e].prediction != theirs[e].prediction;
    report.passed = report.logit_gap <= options_.tolerance && report.log_probability_gap <= options_.tolerance;
    return report;
  }

 private:
  Replay packed(const std::vector<Group>& groups, const ForwardOptions& forward, const char* what) const {
    const std::int32_t slot = forward.slots.empty() ? -1 : 0;
    std::vector<at::Tensor> rows, log_p;
    std::int64_t done = 0;
    Progress progress(what, static_cast<std::int64_t>(examples_.size()));
    for (const Group& group : groups) {
      stop_if_interrupted();
      const ChoiceBatch batch = pack(group, model_.config(), slot);
      const at::Tensor hidden = model_.forward(batch.input, forward);
      log_p.push_back(score_tokens(model_, batch.scored, hidden, forward).detach());
      std::vector<std::int64_t> scored;
      for (const auto& token : batch.scored) scored.push_back(token.row);
      rows.push_back(hidden.detach().index_select(0, at::tensor(scored, at::kLong).to(hidden.device())));
      progress.update(done += batch.examples());
    }
    return {at::cat(rows), at::cat(log_p), forward};
  }

  // Of the tokens that are scored.
  at::Tensor cached_rows(const ChoiceTokens& example, const std::vector<const SiteHooks*>& slots) const {
    std::vector<std::vector<std::int64_t>> continuations;
    for (const auto& choice : example.choices) continuations.push_back(choice.tokens);
    const at::Tensor rows = forced_hidden(model_, example.prompt, continuations, slots);
    std::vector<std::int64_t> scored;
    std::int64_t first = 0;
    for (const auto& choice : example.choices) {
      const auto length = static_cast<std::int64_t>(choice.tokens.size());
      for (std::int64_t t = choice.context; t < length; ++t) scored.push_back(first + t);
      first += length;
    }
    if (first == static_cast<std::int64_t>(scored.size())) return rows;
    return rows.index_select(0, at::tensor(scored, at::kLong).to(rows.device()));
  }

  double logit_gap(const Replay& a, const Replay& b) const {
    double gap = 0;
    for (std::int64_t begin = 0; begin < a.hidden.size(0); begin += kLogitRows) {
      const auto rows = std::min(kLogitRows, a.hidden.size(0) - begin);
      const auto logits = [&](const Replay& replay) {
        return model_.logits(replay.hidden.narrow(0, begin, rows), replay.forward).to(at::kFloat);
      };
      gap = std::max(gap, (logits(a) - logits(b)).abs().max().item<double>());
    }
    return gap;
  }

  const Model& model_;
  const std::vector<ChoiceTokens>& examples_;
  const VerifyOptions& options_;
  const ChoiceBatch all_;  // for the order of tokens and choices only
};

// Empty where the adapter cannot be merged; `why` says so then.
std::optional<MergedWeights> merge_in_memory(const Model& model, const Adapter* adapter, std::string& why) {
  if (adapter == nullptr) {
    why = "there is no adapter";
    return std::nullopt;
  }
  try {
    return std::optional<MergedWeights>(std::in_place, model, *adapter);
  } catch (const Error& error) {
    if (error.category() != Category::Unsupported) throw;
    why = error.what();
    return std::nullopt;
  }
}

}  // namespace

bool VerifyReport::passed() const {
  return std::all_of(paths.begin(), paths.end(), [](const PathReport& path) { return path.passed; });
}

VerifyReport verify(const Model& model, const Adapter* adapter, const std::vector<ChoiceTokens>& examples,
                    const VerifyOptions& options) {
  if (examples.empty()) fail(Category::InvalidArgument, "data", "holds no example to replay");
  const Verifier verifier(model, examples, options);
  const Replay reference = verifier.evaluation(adapter, "evaluation");
  VerifyReport report;
  report.evaluation = verifier.winners(reference);
  report.paths.push_back(verifier.compare("training", verifier.training(adapter), reference));
  report.paths.push_back(verifier.compare("generation", verifier.generation(adapter), reference));
  PathReport without;
  without.path = "merged";
  const auto merged = merge_in_memory(model, adapter, without.skipped);
  report.paths.push_back(merged ? verifier.compare("merged", verifier.evaluation(&*merged, "merged weights"), reference)
                                : without);
  return report;
}

double verify_tolerance(at::ScalarType dtype) {
  return dtype == at::kFloat ? 1e-3 : 2.0;
}

}  // namespace graft
