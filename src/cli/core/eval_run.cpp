#include "cli/core/eval_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <span>
#include <utility>

#include "base/interrupt.h"
#include "cli/core/evaluation.h"
#include "data/text_filter.h"
#include "eval/rolling.h"
#include "statistics/text_metric.h"
#include "train/flops.h"

namespace graft {
namespace {

ExampleTokens mean_tokens(const std::vector<Question>& questions) {
  ExampleTokens mean;
  for (const auto& question : questions)
    mean.add(tokens_of(question.tokens), 1 / static_cast<double>(questions.size()));
  return mean;
}

// Of a group, behind its prefix.
ExampleTokens mean_tokens_behind(const std::vector<Question>& questions, const QuestionGroup& group) {
  ExampleTokens mean;
  for (const auto q : group.members)
    mean.add(tokens_of(questions[q].tokens), 1 / static_cast<double>(group.members.size()));
  mean.prompt -= static_cast<double>(group.prefix.size());
  return mean;
}

const Adapter* adapter_of(const EvalScorer& scorer) {
  return scorer.adapter() == nullptr ? nullptr : scorer.adapter()->loaded.adapter.get();
}

// What prompts are cut for.
ModelConfig texts_of(const EvalScorer& scorer) {
  return config_beside(scorer.model(), adapter_of(scorer));
}

// Of one question, the mean: that reads all of its text itself, and behind prefixes that are read once.
struct QuestionFlops {
  double alone = 0, shared = 0;
};

QuestionFlops flops_of(const EvalScorer& scorer, const std::vector<Question>& questions,
                       const std::vector<QuestionGroup>& groups) {
  const Adapter* adapter = adapter_of(scorer);
  const bool infix = adapter != nullptr && adapter->infix();
  const auto count = static_cast<double>(questions.size());
  QuestionFlops flops{inference_flops(scorer.model(), adapter, mean_tokens(questions)), 0};
  for (const auto& group : groups) {
    const double part = static_cast<double>(group.members.size()) / count;
    // Virtual tokens stand in front of the prefix, where there is one, and not of its questions; an infix in these.
    const Adapter* in_questions = infix || group.prefix.empty() ? adapter : nullptr;
    flops.shared += part * inference_flops(scorer.model(), in_questions, mean_tokens_behind(questions, group));
    if (group.prefix.empty()) continue;
    const ExampleTokens prefix{static_cast<double>(group.prefix.size()), 0, 0, 0};
    flops.shared += inference_flops(scorer.model(), infix ? nullptr : adapter, prefix) / count;
  }
  return flops;
}

class TaskRun {
 public:
  TaskRun(const EvalData& data, const EvalSettings& settings, const RunConfig& config)
      : data_(data), settings_(settings), config_(config) {}

  EvalRow base_row(std::int64_t shots, bool calibrated, EvalScorer& scorer) const {
    EvalRow row;
    row.name = shots_name(shots) + (calibrated ? " calibrated" : "");
    row.shots = shots;
    row.calibrated = calibrated;
    add_passes(row, scorer);
    return row;
  }

  EvalRow adapted_row(std::int64_t shots, EvalScorer& scorer) const {
    EvalRow row;
    row.name = scorer.adapter()->name + (shots > 0 ? ", " + shots_name(shots) : "");
    row.shots = shots;
    row.adapter = scorer.adapter();
    add_passes(row, scorer);
    return row;
  }

 private:
  std::string shots_name(std::int64_t shots) const {
    return fmt::format("{}-shot{}", shots, settings_.balanced && shots > 0 ? " a class" : "");
  }

  void add_passes(EvalRow& row, EvalScorer& scorer) const {
    const PromptLayout layout = layout_of(row, settings_);
    const bool drawn = row.shots > 0 && settings_.choice == DemonstrationChoice::Random;
    const std::int64_t seeds = drawn ? settings_.seeds : 1;
    for (std::size_t t = 0; t < data_.templates.size(); ++t) {
      for (std::int64_t s = 0; s < seeds; ++s) {
        const std::int64_t seed = config_.data.seed + s;
        std::string what = fmt::format("{} {}", data_.task.name, row.name);
        if (data_.templates.size() > 1) what += " in " + template_name(t);
        if (seeds > 1) what += fmt::format(" seed {}", seed);
        add_orders(row, t, seed, layout, scorer, what);
      }
    }
  }

  void add_orders(EvalRow& row, std::size_t t, std::int64_t seed, const PromptLayout& layout, EvalScorer& scorer,
                  const std::string& what) const {
    const Demonstrator drawn(data_, settings_, scorer.tokenizer(), data_.templates[t], row.shots,
                             static_cast<std::uint64_t>(seed));
    const auto orders = demonstration_orders(drawn.ids().size(), settings_.orders, static_cast<std::uint64_t>(seed));
    for (std::size_t o = 0; o < orders.size(); ++o) {
      const std::string told = orders.size() > 1 ? fmt::format("{} order {}", what, o) : what;
      EvalPass made = o == 0 ? pass(t, drawn, layout, row.calibrated, scorer, told)
                             : pass(t, drawn.reordered(orders[o]), layout, row.calibrated, scorer, told);
      made.seed = seed;
      made.order = static_cast<std::int64_t>(o);
      row.passes.push_back(std::move(made));
    }
  }

  const std::string& template_name(std::size_t t) const { return data_.task.templates[data_.templates[t]].name; }

  EvalPass pass(std::size_t t, const Demonstrator& demonstrator, const PromptLayout& layout, bool calibrate,
                EvalScorer& scorer, const std::string& what) const {
    EvalPass pass;
    pass.place = t;
    pass.template_name = template_name(t);
    pass.demonstrations = demonstrator.ids();
    if (data_.task.rolls()) {
      score_running_text(t, scorer, what, pass);
      return pass;
    }
    const GenerateOptions how = decoding(demonstrator, layout, scorer);
    const auto questions = questions_of(t, demonstrator, layout, scorer, how, pass);
    const auto groups = groups_by_prefix(questions);
    const QuestionFlops flops = flops_of(scorer, questions, groups);
    pass.prompt_tokens = mean_tokens(questions).prompt;
    pass.flops_alone = flops.alone;
    pass.flops_shared = flops.shared;
    const bool writes = data_.task.generates();
    auto scores = scorer.score(questions, groups, what, writes);
    pass.seconds = scores.seconds;
    pass.sums = scores.sums;
    if (writes) {
      for (std::size_t q = 0; q < questions.size(); ++q) pass.ranked.push_back(written(scores, q));
      if (data_.writes) write(demonstrator, layout, questions, scorer, how, what, pass);
      return pass;
    }
    const Normalisation normalisation = normalisation_of(data_.task.normalisation);
    if (normalisation == Normalisation::Pmi) subtract_neutral(t, scorer, what, scores, pass);
    for (std::size_t q = 0; q < questions.size(); ++q)
      pass.ranked.push_back(ranked(questions[q].tokens, scores.sums[q], normalisation));
    if (calibrate) calibrate_in_context(demonstrator, layout, questions, scorer, what, pass);
    return pass;
  }

  // Each document in windows of the context.
  void score_running_text(std::size_t t, EvalScorer& scorer, const std::string& what, EvalPass& pass) const {
    std::vector<Question> windows;
    std::vector<std::size_t> ends;
    const ModelConfig texts = texts_of(scorer);
    const auto documents = static_cast<double>(data_.questions[t].size());
    for (const auto& document : data_.questions[t]) {
      stop_if_interrupted("evaluation");
      std::int64_t tokens = 0;
      for (auto& window : rolling_windows(document, scorer.tokenizer(), texts, config_.data.max_prompt_tokens)) {
        tokens += window.choices.front().scored();
        windows.push_back({std::move(window), 0});
      }
      ends.push_back(windows.size());
      pass.reference_tokens.push_back(tokens);
      pass.dropped.push_back(0);
      pass.cut.push_back(0);
      pass.prompt_tokens += static_cast<double>(tokens) / documents;
    }
    const auto groups = groups_by_prefix(windows);
    const QuestionFlops flops = flops_of(scorer, windows, groups);
    pass.flops_alone = flops.alone * static_cast<double>(windows.size()) / documents;
    pass.flops_shared = flops.shared * static_cast<double>(windows.size()) / documents;
    const auto scores = scorer.score(windows, groups, what, false);
    pass.seconds = scores.seconds;
    for (std::size_t d = 0; d < ends.size(); ++d) {
      double sum = 0;
      for (std::size_t w = d == 0 ? 0 : ends[d - 1]; w < ends[d]; ++w) sum += scores.sums[w].front();
      pass.ranked.push_back({1, 0, {sum}, {}});
      pass.sums.push_back({sum});
    }
  }

  // Behind demonstrations a model goes on with the next one: its text ends at the separator. A task file of
  // lm-evaluation-harness says all of its stop strings.
  GenerateOptions decoding(const Demonstrator& demonstrator, const PromptLayout& layout,
                           const EvalScorer& scorer) const {
    GenerateOptions how = generate_options(config_, data_.task, scorer.model(), scorer.tokenizer());
    set_decoding(settings_.decoding, how);
    const std::string& separator = layout.separator;
    const bool known = std::find(how.stop.begin(), how.stop.end(), separator) != how.stop.end();
    if (demonstrator.shots() > 0 && !separator.empty() && !known && data_.task.documents == nullptr)
      how.stop.push_back(separator);
    return how;
  }

  // A text to write has room behind its prompt, up to half of the context. 0: no limit but the context.
  std::int64_t longest_prompt(const ModelConfig& texts, const GenerateOptions& how) const {
    const std::int64_t given = config_.data.max_prompt_tokens;
    if (!data_.writes || texts.max_positions <= 0 || texts.encoder_decoder()) return given;
    const std::int64_t room = std::max(texts.max_positions - how.max_new_tokens, texts.max_positions / 2);
    return given > 0 ? std::min(given, room) : room;
  }

  // Says in `pass` what was lost.
  std::vector<Question> questions_of(std::size_t t, const Demonstrator& demonstrator, const PromptLayout& layout,
                                     const EvalScorer& scorer, const GenerateOptions& how, EvalPass& pass) const {
    std::vector<Question> questions;
    const ModelConfig texts = texts_of(scorer);
    const std::int64_t longest = longest_prompt(texts, how);
    for (const auto& example : data_.questions[t]) {
      stop_if_interrupted("evaluation");
      const auto shown = demonstrator.before(example);
      questions.push_back(question_behind(example, layout, shown, scorer.tokenizer(), texts, longest));
      const ChoiceTokens& tokens = questions.back().tokens;
      pass.dropped.push_back(static_cast<std::int64_t>(shown.size()) - questions.back().kept);
      pass.cut.push_back(tokens.cut);
      pass.reference_tokens.push_back(static_cast<std::int64_t>(tokens.choices.front().tokens.size()));
    }
    set_prefixes(questions, layout, demonstrator.common(), scorer.tokenizer(), scorer.model().config());
    return questions;
  }

  static RankedExample written(const EvalScorer::Scores& scores, std::size_t q) {
    const auto& greedy = scores.greedy[q];
    const bool right = std::find(greedy.begin(), greedy.end(), true) != greedy.end();
    return {1, right ? 1 : 0, {scores.sums[q].front()}, {}};
  }

  // The text behind each question, which keeps the demonstrations that it is scored with.
  void write(const Demonstrator& demonstrator, const PromptLayout& layout, const std::vector<Question>& questions,
             EvalScorer& scorer, const GenerateOptions& how, const std::string& what, EvalPass& pass) const {
    const ModelConfig texts = texts_of(scorer);
    std::vector<Question> prompts;
    for (std::size_t q = 0; q < questions.size(); ++q) {
      Example example = data_.questions[pass.place][q];
      const auto shown = demonstrator.before(example);
      const auto kept = std::span<const std::string>(shown).last(static_cast<std::size_t>(questions[q].kept));
      example.prompt = prompt_behind(layout, kept, example.prompt);
      prompts.push_back(
          {tokenize_prompt(example, scorer.tokenizer(), texts, longest_prompt(texts, how)), questions[q].kept});
    }
    set_prefixes(prompts, layout, demonstrator.common(), scorer.tokenizer(), scorer.model().config());
    const auto groups = groups_by_prefix(prompts);
    auto written = scorer.write(prompts, groups, how, what + ", texts");
    pass.texts = std::move(written.texts);
    pass.seconds += written.seconds;
    pass.stop = how.stop;
    pass.max_new_tokens = how.max_new_tokens;
    score_texts(data_, pass);
    // A token that is written costs what one of a choice does.
    for (std::size_t q = 0; q < prompts.size(); ++q) {
      ChoiceTokens::Choice text;
      text.tokens.resize(static_cast<std::size_t>(written.tokens[q]));
      prompts[q].tokens.choices.assign(1, text);
    }
    const QuestionFlops flops = flops_of(scorer, prompts, groups);
    pass.flops_alone += flops.alone;
    pass.flops_shared += flops.shared;
  }

  // What choices have without a question. What reads the same behind the same prefix is scored once, and its cost
  // counted in `pass`, which has `asked` questions.
  static std::vector<std::vector<double>> prior_sums(const std::vector<Question>& questions, std::size_t asked,
                                                     EvalScorer& scorer, const std::string& what, EvalPass& pass) {
    std::map<std::pair<std::int64_t, std::vector<std::vector<std::int64_t>>>, std::size_t> places;
    std::vector<Question> distinct;
    std::vector<std::size_t> place;
    for (const auto& question : questions) {
      const auto [found, fresh] =
          places.emplace(std::pair(question.prefix, question.tokens.reading()), distinct.size());
      if (fresh) distinct.push_back(question);
      place.push_back(found->second);
    }
    const auto groups = groups_by_prefix(distinct);
    const auto scores = scorer.score(distinct, groups, what, false);
    const double each = static_cast<double>(distinct.size()) / static_cast<double>(asked);
    const QuestionFlops flops = flops_of(scorer, distinct, groups);
    pass.flops_alone += flops.alone * each;
    pass.flops_shared += flops.shared * each;
    pass.seconds += scores.seconds;
    std::vector<std::vector<double>> sums;
    for (const auto at : place) sums.push_back(scores.sums[at]);
    return sums;
  }

  // The neutral prompt stands alone, whatever is in front of the question (Brown et al. 2020, section 2.4).
  void subtract_neutral(std::size_t t, EvalScorer& scorer, const std::string& what, EvalScorer::Scores& scores,
                        EvalPass& pass) const {
    std::vector<Question> neutral;
    const ModelConfig texts = texts_of(scorer);
    for (Example example : data_.questions[t]) {
      example.prompt = example.neutral;
      neutral.push_back(question_behind(example, {}, {}, scorer.tokenizer(), texts));
    }
    const auto prior = prior_sums(neutral, neutral.size(), scorer, what + ", neutral", pass);
    for (std::size_t q = 0; q < scores.sums.size(); ++q)
      for (std::size_t c = 0; c < scores.sums[q].size(); ++c) scores.sums[q][c] -= prior[q][c];
  }

  // Content-free prompts stand behind the demonstrations that the question kept.
  void calibrate_in_context(const Demonstrator& demonstrator, const PromptLayout& layout,
                            const std::vector<Question>& questions, EvalScorer& scorer, const std::string& what,
                            EvalPass& pass) const {
    std::vector<Question> empty;
    const ModelConfig texts = texts_of(scorer);
    for (std::size_t q = 0; q < questions.size(); ++q) {
      Example example = data_.questions[pass.place][q];
      const auto shown = demonstrator.before(example);
      const auto kept = std::span<const std::string>(shown).last(static_cast<std::size_t>(questions[q].kept));
      for (const auto& prompt : data_.content_free[pass.place][q]) {
        example.prompt = prompt;
        empty.push_back(
            question_behind(example, layout, kept, scorer.tokenizer(), texts, config_.data.max_prompt_tokens));
      }
    }
    set_prefixes(empty, layout, demonstrator.common(), scorer.tokenizer(), scorer.model().config());
    const auto prior = prior_sums(empty, questions.size(), scorer, what + ", content-free", pass);
    const Normalisation normalisation = normalisation_of(data_.task.normalisation);
    const std::size_t inputs = empty.size() / questions.size();
    for (std::size_t q = 0; q < questions.size(); ++q) {
      std::vector<RankedExample> content_free;
      for (std::size_t e = q * inputs; e < (q + 1) * inputs; ++e)
        content_free.push_back(ranked(empty[e].tokens, prior[e], normalisation));
      pass.ranked[q] = calibrated(pass.ranked[q], content_free);
    }
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

void score_texts(const EvalData& data, EvalPass& pass) {
  std::vector<std::vector<std::string>> references, wrong;
  pass.outputs.clear();
  for (std::size_t q = 0; q < pass.texts.size(); ++q) {
    pass.outputs.push_back(scored_text(data.task, pass.texts[q]));
    references.push_back(data.references(pass.place, q));
    wrong.push_back(data.questions[pass.place][q].false_references);
  }
  for (const auto& metric : data.metrics) {
    if (is_text_metric(metric)) pass.text_sums[metric] = text_metric(metric).sums({pass.outputs, references, wrong});
  }
}

PromptLayout layout_of(const EvalRow& row, const EvalSettings& settings) {
  return row.adapter == nullptr || row.shots > 0 ? settings.layout : PromptLayout{};
}

std::vector<EvalRow> evaluate_rows(const EvalData& data, const EvalSettings& settings, const RunConfig& config,
                                   const std::vector<EvalScorer*>& scorers) {
  const TaskRun run(data, settings, config);
  std::vector<EvalRow> rows;
  for (const auto shots : settings.shots) {
    rows.push_back(run.base_row(shots, false, *scorers.front()));
    if (settings.contextual) rows.push_back(run.base_row(shots, true, *scorers.front()));
  }
  for (std::size_t s = 1; s < scorers.size(); ++s) {
    for (const auto shots : settings.shots) {
      if (shots == 0 || settings.shots_for_adapters) rows.push_back(run.adapted_row(shots, *scorers[s]));
    }
  }
  return rows;
}

}  // namespace graft
