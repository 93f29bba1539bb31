#include "cli/core/eval_work.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "base/memory.h"
#include "base/progress.h"

namespace graft {
namespace {

constexpr double kAlike = 1.5;  // lengths of which one rate is true

struct BatchLimits {
  std::int64_t tokens = 0, count = 0;
};

// `part` without its options: how much there is, and the longest of it as one batch.
void count_work(EvalWork::Part& part, const Model& model, const std::vector<ChoiceTokens>& asked, std::int64_t prefix,
                const BatchLimits& limits) {
  std::vector<std::int64_t> tokens;
  for (const auto& question : asked) tokens.push_back(computed_tokens(question, model.config()));
  const std::int64_t all = std::accumulate(tokens.begin(), tokens.end(), std::int64_t{0});
  part.count = static_cast<std::int64_t>(asked.size());
  part.tokens = prefix + all;
  part.seen = static_cast<double>(prefix) + static_cast<double>(all) / static_cast<double>(asked.size());
  const auto places = longest_first(tokens);
  part.longest = prefix + tokens[places.front()];
  std::int64_t taken = 0;
  for (const auto place : places) {
    const bool full =
        taken + tokens[place] > limits.tokens || static_cast<std::int64_t>(part.batch.size()) == limits.count;
    if (!part.batch.empty() && full) break;
    taken += tokens[place];
    part.batch.push_back(asked[place]);
  }
  part.batch_tokens = prefix + taken;
}

// Seconds of a token, where questions see so many.
struct TokenPace {
  double seen = 0, seconds = 0;
};

class EvalPlanner {
 public:
  EvalPlanner(const Model& model, const std::vector<EvalWork::Scoring>& scorings,
              const std::vector<EvalWork::Writing>& writings, double load_seconds, const MemoryFit& fit)
      : model_(model), scorings_(scorings), writings_(writings), plan_(begin_plan(model, load_seconds, fit)) {}

  WorkPlan plan() {
    begin_peak();
    if (!scorings_.empty()) add_scorings();
    if (!writings_.empty()) add_writings();
    plan_.memory = std::max(plan_.memory, peak_memory());
    if (!plan_.fits()) add_changes();
    plan_.figures = {{"score_seconds", scored_.seconds},
                     {"questions", scored_.count},
                     {"tokens", scored_.tokens},
                     {"write_seconds", written_.seconds},
                     {"texts", written_.count}};
    return std::move(plan_);
  }

 private:
  struct Sum {
    double seconds = 0;
    std::int64_t count = 0, tokens = 0;
  };

  static double seconds_to_score(const Model& model, const EvalWork::Scoring& scoring,
                                 const std::vector<ChoiceTokens>& batch) {
    const auto began = Clock::now();
    choice_scores(model, batch, scoring.options);
    return seconds_since(began);
  }

  // By its longest batch, or where that is not made by its longest question.
  TokenPace pace_of(const EvalWork::Scoring& scoring) const {
    if (made_)
      return {scoring.seen,
              seconds_to_score(model_, scoring, scoring.batch) / static_cast<double>(scoring.batch_tokens)};
    return {scoring.seen,
            seconds_to_score(model_, scoring, {scoring.batch.front()}) / static_cast<double>(scoring.longest)};
  }

  const EvalWork::Scoring& longest() const {
    return *std::max_element(scorings_.begin(), scorings_.end(), [](const auto& a, const auto& b) {
      return a.batch_tokens * a.longest < b.batch_tokens * b.longest;
    });
  }

  const EvalWork::Scoring& shortest() const {
    return *std::min_element(scorings_.begin(), scorings_.end(),
                             [](const auto& a, const auto& b) { return a.seen < b.seen; });
  }

  void measure_pace() {
    const EvalWork::Scoring& most = longest();
    const std::int64_t estimate = resident_memory() + evaluation_bytes(model_, most.batch_tokens, most.longest);
    made_ = plan_.has_room_for(estimate);
    if (!made_) plan_.memory = estimate;
    // The first pass lays out the weights.
    const TokenPace first = pace_of(most);
    slow_ = pace_of(most);
    laying_out_ =
        std::max(0.0, first.seconds - slow_.seconds) * static_cast<double>(made_ ? most.batch_tokens : most.longest);
    if (!made_) return;
    const EvalWork::Scoring& least = shortest();
    if (most.seen > kAlike * least.seen) fast_ = pace_of(least);
  }

  // Attention's share grows with what is seen, the rest does not.
  double token_seconds(double seen) const {
    if (!fast_) return slow_.seconds;
    const double share = std::clamp((seen - fast_->seen) / (slow_.seen - fast_->seen), 0.0, 1.0);
    return fast_->seconds + share * (slow_.seconds - fast_->seconds);
  }

  void add_scorings() {
    measure_pace();
    scored_.seconds = laying_out_;
    for (const auto& scoring : scorings_) {
      scored_.seconds += static_cast<double>(scoring.tokens) * token_seconds(scoring.seen);
      scored_.count += scoring.count;
      scored_.tokens += scoring.tokens;
    }
    plan_.parts.push_back({"scoring", scored_.seconds,
                           fmt::format("{} questions, {} tokens", grouped(scored_.count), grouped(scored_.tokens))});
  }

  // What a text takes behind its prompt, from one batch.
  double text_seconds() const {
    const EvalWork::Writing& most =
        *std::max_element(writings_.begin(), writings_.end(),
                          [](const auto& a, const auto& b) { return a.batch_tokens < b.batch_tokens; });
    const std::vector<ChoiceTokens> one = {most.batch.front()};
    const auto& batch = made_ ? most.batch : one;
    const double read = token_seconds(most.seen) * static_cast<double>(made_ ? most.batch_tokens : most.longest);
    const auto began = Clock::now();
    write_texts(model_, batch, most.options);
    return std::max(0.0, seconds_since(began) - read) / static_cast<double>(batch.size());
  }

  void add_writings() {
    const double each = text_seconds();
    for (const auto& writing : writings_) {
      written_.seconds +=
          static_cast<double>(writing.count) * each + static_cast<double>(writing.tokens) * token_seconds(writing.seen);
      written_.count += writing.count;
    }
    plan_.parts.push_back({"writing", written_.seconds,
                           fmt::format("{} texts as long as those of the longest prompts", grouped(written_.count))});
  }

  void add_changes() {
    if (!scorings_.empty()) {
      const EvalWork::Scoring& most = longest();
      std::int64_t tokens = most.options.batch_tokens, bytes = plan_.memory;
      const std::int64_t beside = plan_.memory - evaluation_bytes(model_, most.batch_tokens, most.longest);
      while (tokens > most.longest && !plan_.has_room_for(bytes)) {
        tokens /= 2;
        bytes = beside + evaluation_bytes(model_, std::max(tokens, most.longest), most.longest);
      }
      if (bytes < plan_.memory)
        plan_.changes.push_back({fmt::format("--batch-tokens {}", tokens), bytes, plan_.has_room_for(bytes)});
    }
    add_blocks(plan_, model_, "--weights q4_0");
  }

  const Model& model_;
  const std::vector<EvalWork::Scoring>& scorings_;
  const std::vector<EvalWork::Writing>& writings_;
  WorkPlan plan_;
  bool made_ = true;
  double laying_out_ = 0;
  TokenPace slow_;                 // of the questions that see the most
  std::optional<TokenPace> fast_;  // of those that see the least, where that is another
  Sum scored_, written_;
};

template <typename Part>
EvalAmount sum_of(const std::vector<Part>& parts) {
  EvalAmount all;
  for (const Part& part : parts) {
    all.count += part.count;
    all.tokens += part.tokens;
  }
  return all;
}

}  // namespace

void EvalWork::add_scoring(const Model& model, const std::vector<ChoiceTokens>& asked, const RankOptions& options) {
  Scoring scoring;
  scoring.options = options;
  scoring.options.what = "plan";
  scoring.options.on_scores = {};
  count_work(scoring, model, asked, static_cast<std::int64_t>(options.prefix.size()),
             {options.batch_tokens, static_cast<std::int64_t>(asked.size())});
  scorings_.push_back(std::move(scoring));
}

void EvalWork::add_writing(const Model& model, const std::vector<ChoiceTokens>& asked, const WriteOptions& options) {
  Writing writing;
  writing.options = options;
  writing.options.what = "plan";
  writing.options.on_written = {};
  // A text's prompt begins with the prefix, which is read once.
  const auto prefix = static_cast<std::int64_t>(options.prefix.size());
  count_work(writing, model, asked, 0, {options.batch_tokens, options.batch});
  const auto batch = static_cast<std::int64_t>(writing.batch.size());
  writing.tokens -= prefix * (writing.count - 1);
  writing.batch_tokens -= prefix * (batch - 1);
  writings_.push_back(std::move(writing));
}

EvalAmounts EvalWork::amounts() const {
  return {sum_of(scorings_), sum_of(writings_)};
}

PassNeeds EvalWork::needs(const Model& model) const {
  PassNeeds needs;
  const auto most_of_scoring = [&](std::int64_t smaller) {
    std::int64_t most = 0;
    for (const Scoring& scoring : scorings_) {
      const std::int64_t tokens = std::max(scoring.longest, scoring.batch_tokens / smaller);
      most = std::max(most, evaluation_bytes(model, tokens, scoring.longest));
    }
    return most;
  };
  std::int64_t written = 0;
  for (const Writing& writing : writings_) {
    const GenerateOptions& how = writing.options.generate;
    const auto texts = static_cast<std::int64_t>(writing.batch.size());
    written = std::max(written, writing_bytes(model, writing.batch_tokens, writing.longest, texts, how));
    needs.eight_bits = needs.eight_bits || how.activations == Activations::EightBit;
  }
  needs.largest = std::max(written, most_of_scoring(1));
  for (const std::int64_t smaller : {2, 4, 8}) needs.smaller.push_back(std::max(written, most_of_scoring(smaller)));
  return needs;
}

WorkPlan EvalWork::plan(const Model& model, double load_seconds, const MemoryFit& fit) const {
  return EvalPlanner(model, scorings_, writings_, load_seconds, fit).plan();
}

}  // namespace graft
