#include "statistics/metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "base/suggest.h"

namespace graft {
namespace {

double ratio(std::int64_t part, std::int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

void check_lengths(std::size_t first, std::size_t second) {
  if (first != second)
    fail(Category::InvalidArgument, "metrics", "{} labels against {} predictions; give one for each", first, second);
  if (first == 0) fail(Category::InvalidArgument, "metrics", "no examples to score");
}

std::size_t class_index(std::int64_t label, std::size_t classes) {
  if (label < 0 || static_cast<std::uint64_t>(label) >= classes) {
    fail(Category::InvalidArgument, "metrics", "the label {} is outside 0 to {}", label,
         static_cast<std::int64_t>(classes) - 1);
  }
  return static_cast<std::size_t>(label);
}

}  // namespace

std::int64_t ConfusionMatrix::support(std::size_t truth) const {
  const auto row = counts_.begin() + static_cast<std::ptrdiff_t>(truth * classes_);
  return std::accumulate(row, row + static_cast<std::ptrdiff_t>(classes_), std::int64_t{0});
}

std::int64_t ConfusionMatrix::predicted(std::size_t prediction) const {
  std::int64_t sum = 0;
  for (std::size_t truth = 0; truth < classes_; ++truth) sum += at(truth, prediction);
  return sum;
}

std::int64_t ConfusionMatrix::total() const {
  return std::accumulate(counts_.begin(), counts_.end(), std::int64_t{0});
}

ConfusionMatrix confusion_matrix(std::span<const std::int64_t> truth, std::span<const std::int64_t> predicted,
                                 std::size_t classes) {
  check_lengths(truth.size(), predicted.size());
  ConfusionMatrix matrix(classes);
  for (std::size_t i = 0; i < truth.size(); ++i)
    matrix.add(class_index(truth[i], classes), class_index(predicted[i], classes));
  return matrix;
}

std::vector<ClassScores> per_class_scores(const ConfusionMatrix& matrix) {
  std::vector<ClassScores> scores(matrix.classes());
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const std::int64_t right = matrix.at(i, i);
    const std::int64_t support = matrix.support(i);
    const std::int64_t predicted = matrix.predicted(i);
    scores[i] = {ratio(right, predicted), ratio(right, support), ratio(2 * right, support + predicted), support};
  }
  return scores;
}

double accuracy(const ConfusionMatrix& matrix) {
  std::int64_t right = 0;
  for (std::size_t i = 0; i < matrix.classes(); ++i) right += matrix.at(i, i);
  return ratio(right, matrix.total());
}

double balanced_accuracy(const ConfusionMatrix& matrix) {
  double sum = 0;
  std::size_t present = 0;
  for (const auto& scores : per_class_scores(matrix)) {
    if (scores.support == 0) continue;
    sum += scores.recall;
    ++present;
  }
  return present == 0 ? 0.0 : sum / static_cast<double>(present);
}

double macro_f1(const ConfusionMatrix& matrix) {
  const auto scores = per_class_scores(matrix);
  double sum = 0;
  std::size_t present = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i].support == 0 && matrix.predicted(i) == 0) continue;
    sum += scores[i].f1;
    ++present;
  }
  return present == 0 ? 0.0 : sum / static_cast<double>(present);
}

double true_probability(std::span<const double> probabilities, std::span<const std::int64_t> truths) {
  double sum = 0;
  for (const auto truth : truths) sum += probabilities[class_index(truth, probabilities.size())];
  return sum;
}

double choice_entropy(std::span<const double> probabilities) {
  double bits = 0;
  for (const double p : probabilities) {
    if (p > 0) bits -= p * std::log2(p);
  }
  return std::max(bits, 0.0);  // a probability may be a bit above 1
}

double positive_f1(const ConfusionMatrix& matrix) {
  return matrix.classes() < 2 ? 0.0 : per_class_scores(matrix)[1].f1;
}

bool is_share(const std::string& metric) {
  return metric != "choice_entropy";
}

double metric_value(const std::string& metric, const ConfusionMatrix& matrix) {
  if (metric == "accuracy" || metric == "stereotype_share") return accuracy(matrix);
  if (metric == "balanced_accuracy") return balanced_accuracy(matrix);
  if (metric == "macro_f1") return macro_f1(matrix);
  if (metric == "positive_f1") return positive_f1(matrix);
  fail(Category::InvalidArgument, "metrics", "unknown metric '{}'{}", metric,
       did_you_mean(metric, {"accuracy", "balanced_accuracy", "macro_f1", "positive_f1", "stereotype_share"}));
}

}  // namespace graft
