#include "cli/core/eval_progress.h"

#include <utility>

namespace graft {
namespace {

// Of what is left, where `done` of `all` took so many seconds.
std::optional<double> seconds_of_rest(std::int64_t all, std::int64_t done, double seconds) {
  if (all <= done) return 0;
  if (done == 0) return std::nullopt;
  return static_cast<double>(all - done) * seconds / static_cast<double>(done);
}

}  // namespace

void EvalProgress::Kind::add(EvalAmount amount, double more) {
  done.count += amount.count;
  done.tokens += amount.tokens;
  seconds += more;
}

EvalProgress::EvalProgress(std::function<EvalAmounts()> count) : count_(std::move(count)) {}

void EvalProgress::begin() {
  if (line_) return;
  const EvalAmounts all = count_();
  scores_.all = all.to_score;
  texts_.all = all.to_write;
  line_.emplace("eval", all.to_score.count + all.to_write.count);
}

void EvalProgress::scored(const std::string& what, EvalAmount amount, double seconds) {
  scores_.add(amount, seconds);
  line_->update(done(), what, seconds_left());
}

void EvalProgress::written(const std::string& what, EvalAmount amount, double seconds) {
  texts_.add(amount, seconds);
  line_->update(done(), what, seconds_left());
}

std::optional<double> EvalProgress::seconds_left() const {
  const auto scores = seconds_of_rest(scores_.all.tokens, scores_.done.tokens, scores_.seconds);
  const auto texts = seconds_of_rest(texts_.all.count, texts_.done.count, texts_.seconds);
  return scores && texts ? std::optional(*scores + *texts) : std::nullopt;
}

}  // namespace graft
