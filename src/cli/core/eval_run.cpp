#include "cli/core/eval_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/interrupt.h"
#include "train/flops.h"

namespace graft {
namespace {

ExampleTokens mean_tokens(const std::vector<Question>& questions, const std::vector<QuestionGroup>& groups,
                          bool behind_prefixes) {
  ExampleTokens mean;
  const auto count = static_cast<double>(questions.size());
  for (const auto& group : groups) {
    for (const auto q : group.members) {
      const ExampleTokens one = tokens_of(questions[q].tokens);
      mean.prompt += (one.prompt - (behind_prefixes ? static_cast<double>(group.prefix.size()) : 0)) / count;
      mean.choices += one.choices / count;
      mean.choice_tokens += one.choice_tokens / count;
    }
  }
  return mean;
}

void count_flops(EvalPass& pass, const EvalScorer& scorer, const std::vector<Question>& questions,
                 const std::vector<QuestionGroup>& groups) {
  const Adapter* adapter = scorer.adapter() == nullptr ? nullptr : scorer.adapter()->loaded.adapter.get();
  const ExampleTokens alone = mean_tokens(questions, groups, false);
  pass.prompt_tokens = alone.prompt;
  pass.flops_alone = inference_flops(scorer.model(), adapter, alone);
  pass.flops_shared = inference_flops(scorer.model(), adapter, mean_tokens(questions, groups, true));
  for (const auto& group : groups) {
    if (group.prefix.empty()) continue;
    const ExampleTokens prefix{static_cast<double>(group.prefix.size()), 0, 0};
    pass.flops_shared += inference_flops(scorer.model(), adapter, prefix) / static_cast<double>(questions.size());
  }
}

class TaskRun {
 public:
  TaskRun(const EvalData& data, const EvalSettings& settings, const RunConfig& config)
      : data_(data), settings_(settings), config_(config) {}

  EvalRow base_row(std::int64_t shots, EvalScorer& scorer) const {
    EvalRow row;
    row.name = fmt::format("{}-shot{}", shots, settings_.balanced && shots > 0 ? " a class" : "");
    row.shots = shots;
    const bool drawn = shots > 0 && settings_.choice == DemonstrationChoice::Random;
    add_passes(row, settings_.layout, drawn ? settings_.seeds : 1, scorer);
    return row;
  }

  EvalRow adapted_row(EvalScorer& scorer) const {
    EvalRow row;
    row.name = scorer.adapter()->name;
    row.adapter = scorer.adapter();
    add_passes(row, {}, 1, scorer);
    return row;
  }

 private:
  void add_passes(EvalRow& row, const PromptLayout& layout, std::int64_t seeds, EvalScorer& scorer) const {
    for (std::size_t t = 0; t < data_.templates.size(); ++t) {
      for (std::int64_t s = 0; s < seeds; ++s) {
        const std::int64_t seed = config_.data.seed + s;
        std::string what = fmt::format("{} {}", data_.task.name, row.name);
        if (data_.templates.size() > 1) what += " in " + template_name(t);
        if (seeds > 1) what += fmt::format(" seed {}", seed);
        row.passes.push_back(pass(t, row.shots, seed, layout, scorer, what));
      }
    }
  }

  const std::string& template_name(std::size_t t) const { return data_.task.templates[data_.templates[t]].name; }

  EvalPass pass(std::size_t t, std::int64_t shots, std::int64_t seed, const PromptLayout& layout, EvalScorer& scorer,
                const std::string& what) const {
    const Demonstrator demonstrator(data_, settings_, scorer.tokenizer(), data_.templates[t], shots,
                                    static_cast<std::uint64_t>(seed));
    EvalPass pass;
    pass.seed = seed;
    pass.place = t;
    pass.template_name = template_name(t);
    pass.demonstrations = demonstrator.ids();
    const auto questions = questions_of(t, demonstrator, layout, scorer, pass);
    const auto groups = groups_by_kept(questions, scorer.model().config());
    count_flops(pass, scorer, questions, groups);
    const bool writes = data_.task.generates();
    auto scores = scorer.score(questions, groups, what, writes);
    pass.seconds = scores.seconds;
    pass.sums = scores.sums;
    if (writes) {
      for (std::size_t q = 0; q < questions.size(); ++q) pass.ranked.push_back(written(scores, q));
      return pass;
    }
    const Normalisation normalisation = normalisation_of(data_.task.normalisation);
    if (normalisation == Normalisation::Pmi) subtract_neutral(t, scorer, what, scores, pass);
    for (std::size_t q = 0; q < questions.size(); ++q)
      pass.ranked.push_back(ranked(questions[q].tokens, scores.sums[q], normalisation));
    return pass;
  }

  // Says in `pass` what was lost.
  std::vector<Question> questions_of(std::size_t t, const Demonstrator& demonstrator, const PromptLayout& layout,
                                     const EvalScorer& scorer, EvalPass& pass) const {
    std::vector<Question> questions;
    for (const auto& example : data_.questions[t]) {
      if (interrupted()) fail(Category::Cancelled, "", "evaluation interrupted; run the same command again to go on");
      const auto shown = demonstrator.before(example);
      questions.push_back(question_behind(example, layout, shown, scorer.tokenizer(), scorer.model().config(),
                                          config_.data.max_prompt_tokens));
      const ChoiceTokens& tokens = questions.back().tokens;
      pass.dropped.push_back(static_cast<std::int64_t>(shown.size()) - questions.back().kept);
      pass.cut.push_back(tokens.cut);
      pass.reference_tokens.push_back(static_cast<std::int64_t>(tokens.choices.front().tokens.size()));
    }
    return questions;
  }

  static RankedExample written(const EvalScorer::Scores& scores, std::size_t q) {
    const auto& greedy = scores.greedy[q];
    const bool right = std::find(greedy.begin(), greedy.end(), true) != greedy.end();
    return {1, right ? 1 : 0, {scores.sums[q].front()}, {}};
  }

  // The neutral prompt stands alone, whatever is in front of the question (Brown et al. 2020, section 2.4).
  void subtract_neutral(std::size_t t, EvalScorer& scorer, const std::string& what, EvalScorer::Scores& scores,
                        EvalPass& pass) const {
    std::vector<Question> neutral;
    for (Example example : data_.questions[t]) {
      example.prompt = example.neutral;
      neutral.push_back(question_behind(example, {}, {}, scorer.tokenizer(), scorer.model().config()));
    }
    const auto prior =
        scorer.score(neutral, groups_by_kept(neutral, scorer.model().config()), what + ", neutral", false);
    pass.seconds += prior.seconds;
    for (std::size_t q = 0; q < scores.sums.size(); ++q)
      for (std::size_t c = 0; c < scores.sums[q].size(); ++c) scores.sums[q][c] -= prior.sums[q][c];
  }

  const EvalData& data_;
  const EvalSettings& settings_;
  const RunConfig& config_;
};

}  // namespace

EvalPass::Losses EvalPass::losses() const {
  Losses losses;
  for (const auto count : dropped) {
    losses.demonstrations += count;
    losses.questions += count > 0;
  }
  for (const auto tokens : cut) losses.prompts += tokens > 0;
  return losses;
}

std::vector<EvalRow> evaluate_rows(const EvalData& data, const EvalSettings& settings, const RunConfig& config,
                                   const std::vector<std::unique_ptr<EvalScorer>>& scorers) {
  const TaskRun run(data, settings, config);
  std::vector<EvalRow> rows;
  for (const auto shots : settings.shots) rows.push_back(run.base_row(shots, *scorers.front()));
  for (std::size_t s = 1; s < scorers.size(); ++s) rows.push_back(run.adapted_row(*scorers[s]));
  return rows;
}

}  // namespace graft
