// Scores of a classifier, as scikit-learn defines them. Labels are class indices from 0.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace graft {

/// counts[truth][prediction]
class ConfusionMatrix {
 public:
  explicit ConfusionMatrix(std::size_t classes) : classes_(classes), counts_(classes * classes, 0) {}

  void add(std::size_t truth, std::size_t predicted) { ++counts_[truth * classes_ + predicted]; }
  std::int64_t at(std::size_t truth, std::size_t predicted) const { return counts_[truth * classes_ + predicted]; }
  std::size_t classes() const { return classes_; }
  /// Examples whose true class it is.
  std::int64_t support(std::size_t truth) const;
  /// Examples that were put into the class.
  std::int64_t predicted(std::size_t prediction) const;
  std::int64_t total() const;

 private:
  std::size_t classes_;
  std::vector<std::int64_t> counts_;
};

/// Throws InvalidArgument: lists of different lengths, no examples, a label outside [0, classes).
ConfusionMatrix confusion_matrix(std::span<const std::int64_t> truth, std::span<const std::int64_t> predicted,
                                 std::size_t classes);

struct ClassScores {
  double precision = 0;  ///< 0 where the class was never predicted
  double recall = 0;     ///< 0 where the class never occurs
  double f1 = 0;         ///< 0 where precision and recall are 0
  std::int64_t support = 0;
};

std::vector<ClassScores> per_class_scores(const ConfusionMatrix& matrix);

/// Part of the examples that are right.
double accuracy(const ConfusionMatrix& matrix);

/// Mean recall of the classes that occur among the true labels; a class that is only predicted does not count
/// (balanced_accuracy_score).
double balanced_accuracy(const ConfusionMatrix& matrix);

/// Mean F1 of the classes that occur among the true labels or the predictions; a class in neither does not count
/// (f1_score(average="macro", zero_division=0)).
double macro_f1(const ConfusionMatrix& matrix);

/// Probability of all right choices of one example together: MC2 of TruthfulQA (Lin et al. 2022, section 3.1), whose
/// probabilities are those of the whole texts. Throws InvalidArgument for a choice that there is not.
double true_probability(std::span<const double> probabilities, std::span<const std::int64_t> truths);

/// Entropy in bits of the probabilities of the choices of one example: 0 where one of them has all, the logarithm of
/// their number to base 2 where all have the same. Of the two sentences of a pair it is the measure of bias of Ouyang
/// et al. 2022 (section 4.2): 1 is no preference.
double choice_entropy(std::span<const double> probabilities);

/// F1 of the class 1, the second of two: F1a of MultiRC (Khashabi et al. 2018, section 5) where that class is what is
/// right. 0 where the class neither occurs nor is predicted.
double positive_f1(const ConfusionMatrix& matrix);

/// Whether a metric of choices is a share, from 0 to 1; else it is in bits.
bool is_share(const std::string& metric);

/// One of "accuracy", "balanced_accuracy", "macro_f1", "positive_f1", "stereotype_share": the same as accuracy, of
/// examples whose label is the stereotypical choice (Nangia et al. 2020, section 4; 0.5 is no preference). Throws
/// InvalidArgument with the nearest name.
double metric_value(const std::string& metric, const ConfusionMatrix& matrix);

}  // namespace graft
