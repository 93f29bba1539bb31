// The quality classifier of Brown et al. 2020 (GPT-3), appendix A: logistic regression over hashed words, which keeps
// what it takes for good text and some of the rest.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include "base/rng.h"

namespace graft {

/// What a classifier sees of a text. Words tell what it is about and how it is written; runs of characters tell its
/// language, in words too that were never seen.
enum class FeatureKind { Words, Characters };

/// A text's parts, as features: (index, value), indices ascending, each once. The value of an index is the number of
/// parts that hash to it, scaled so that the squares of all sum to 1 (which the paper does not say).
using TextFeatures = std::vector<std::pair<std::uint32_t, float>>;

/// `text` is valid UTF-8; 2^bits different indices. The parts are PlainWords, or the runs of 1 to 4 characters in those
/// of them that have a letter, with a space at either end (a space alone is none), up to the word with the 40,000th
/// run. No features where there are none.
TextFeatures text_features(std::string_view text, int bits, FeatureKind kind = FeatureKind::Words);

class QualityModel {
 public:
  /// `bits` from 1 to 26.
  explicit QualityModel(int bits, FeatureKind kind = FeatureKind::Words)
      : bits_(bits), kind_(kind), weights_(std::size_t{1} << bits) {}
  /// Throws NotFound, Io, Corruption (no such model: file and field).
  static QualityModel load(const std::filesystem::path& file);

  int bits() const { return bits_; }
  FeatureKind kind() const { return kind_; }
  /// Probability that the text is of the good kind, where there is as much of both.
  double score(std::string_view text) const { return score(text_features(text, bits_, kind_)); }
  double score(const TextFeatures& features) const;
  /// Throws as write_file.
  void save(const std::filesystem::path& file) const;

 private:
  friend class QualityTrainer;

  int bits_;
  FeatureKind kind_;
  double bias_ = 0;
  std::vector<float> weights_;
};

struct QualitySettings {
  int bits = 18;  ///< as Spark's HashingTF, which the paper used
  FeatureKind kind = FeatureKind::Words;
  std::int64_t epochs = 5;
  double learning_rate = 0.5;
  double held_out = 0.1;  ///< share of either kind that is not trained on
  std::uint64_t seed = 0;
};

/// How a model does on texts that it was not trained on.
struct QualityCheck {
  std::int64_t good = 0, bad = 0;              ///< texts
  std::int64_t good_right = 0, bad_right = 0;  ///< score above one half, and not
};

/// Keeps the features of all texts: 8 bytes for each different part of each.
class QualityTrainer {
 public:
  /// Throws InvalidArgument for settings outside their range.
  explicit QualityTrainer(const QualitySettings& settings = {});

  /// `text` is valid UTF-8.
  void add(std::string_view text, bool good);
  /// Logistic regression by Adagrad (Duchi et al. 2011) over the texts in random order, both kinds with the same
  /// weight. Deterministic in the seed. Throws InvalidArgument where a kind has fewer than two texts, Cancelled.
  QualityModel train(QualityCheck& check) const;

 private:
  struct Text {
    TextFeatures features;
    bool good = false;
  };

  QualitySettings settings_;
  std::vector<Text> texts_;
};

/// The paper's rule: true where a Pareto (Lomax, as numpy.random.pareto) number with the shape `alpha` is above
/// 1 − score. With 9 mostly texts of high scores are kept.
bool keeps(double score, double alpha, Rng& rng);

}  // namespace graft
