#include "corpus/quality.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>
#include <string>

#include "base/error.h"
#include "base/file.h"
#include "base/interrupt.h"
#include "base/json_text.h"
#include "corpus/plain_words.h"
#include "text/unicode.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kMostBits = 26;
constexpr const char* kKind = "graft quality classifier";
constexpr const char* kWordFeatures = "words";
constexpr const char* kCharacterFeatures = "characters";
constexpr std::size_t kLongestRun = 4;
constexpr std::size_t kMostRuns = 40'000;  // of about 10,000 characters, which tell a language as well as more do

double logistic(double value) {
  return 1 / (1 + std::exp(-value));
}

// Adagrad's steps, each as long as the gradients that its weight has seen allow.
struct Slopes {
  explicit Slopes(std::size_t count) : squares(count, 0) {}

  float step(std::size_t index, double gradient, double rate) {
    squares[index] += static_cast<float>(gradient * gradient);
    return static_cast<float>(rate * gradient / (std::sqrt(static_cast<double>(squares[index])) + 1e-8));
  }

  std::vector<float> squares;
};

std::uint32_t feature_index(std::string_view part, int bits) {
  return static_cast<std::uint32_t>(hash_of_word(part) >> (64 - bits));
}

bool has_letter(std::string_view word) {
  for (std::size_t at = 0; at < word.size();) {
    if (text::is_letter(text::next_code_point(word, at))) return true;
  }
  return false;
}

void add_runs(std::string_view word, int bits, std::vector<std::uint32_t>& indices) {
  const std::string spaced = " " + std::string(word) + " ";
  std::vector<std::size_t> begins;  // of characters, and the end
  for (std::size_t at = 0; at < spaced.size(); at += text::utf8_length(static_cast<unsigned char>(spaced[at])))
    begins.push_back(at);
  begins.push_back(spaced.size());
  for (std::size_t first = 0; first + 1 < begins.size(); ++first) {
    for (std::size_t last = first + 1; last < begins.size() && last <= first + kLongestRun; ++last) {
      const std::string_view run = std::string_view(spaced).substr(begins[first], begins[last] - begins[first]);
      if (run != " ") indices.push_back(feature_index(run, bits));
    }
  }
}

FeatureKind kind_of(const Json& json, const fs::path& file) {
  const auto name = json.value("features", std::string(kWordFeatures));
  if (name == kCharacterFeatures) return FeatureKind::Characters;
  if (name == kWordFeatures) return FeatureKind::Words;
  fail(Category::Corruption, file.string(), "features: '{}' is neither {} nor {}", name, kWordFeatures,
       kCharacterFeatures);
}

const Json& field_of(const Json& json, const char* name, const fs::path& file) {
  if (!json.contains(name)) fail(Category::Corruption, file.string(), "has no field '{}'; train it anew", name);
  return json.at(name);
}

}  // namespace

TextFeatures text_features(std::string_view text, int bits, FeatureKind kind) {
  PlainWords words;
  words.append(text);
  std::vector<std::uint32_t> indices;
  for (std::size_t i = 0; i < words.size() && (kind == FeatureKind::Words || indices.size() < kMostRuns); ++i) {
    if (kind == FeatureKind::Words) {
      indices.push_back(feature_index(words.word(i), bits));
    } else if (has_letter(words.word(i))) {
      add_runs(words.word(i), bits, indices);
    }
  }
  std::sort(indices.begin(), indices.end());
  TextFeatures features;
  double squares = 0;
  for (std::size_t i = 0; i < indices.size();) {
    std::size_t end = i;
    while (end < indices.size() && indices[end] == indices[i]) ++end;
    const auto count = static_cast<float>(end - i);
    squares += static_cast<double>(count) * count;
    features.emplace_back(indices[i], count);
    i = end;
  }
  const auto scale = static_cast<float>(squares > 0 ? 1 / std::sqrt(squares) : 0);
  for (auto& [index, value] : features) value *= scale;
  return features;
}

double QualityModel::score(const TextFeatures& features) const {
  double sum = bias_;
  for (const auto& [index, value] : features) sum += static_cast<double>(weights_[index]) * value;
  return logistic(sum);
}

void QualityModel::save(const fs::path& file) const {
  std::vector<std::uint32_t> indices;
  std::vector<float> weights;
  for (std::uint32_t i = 0; i < weights_.size(); ++i) {
    if (weights_[i] == 0) continue;
    indices.push_back(i);
    weights.push_back(weights_[i]);
  }
  const char* features = kind_ == FeatureKind::Words ? kWordFeatures : kCharacterFeatures;
  const Json json = {{"kind", kKind}, {"features", features}, {"bits", bits_},
                     {"bias", bias_}, {"indices", indices},   {"weights", weights}};
  write_file(file, json_text(json) + "\n");
}

QualityModel QualityModel::load(const fs::path& file) {
  const Json json = Json::parse(read_file(file), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("kind") || json.at("kind") != kKind)
    fail(Category::Corruption, file.string(), "is no classifier; graft data classifier writes one");
  try {
    const int bits = field_of(json, "bits", file).get<int>();
    if (bits < 1 || bits > kMostBits) fail(Category::Corruption, file.string(), "bits: {} is not 1 to 26", bits);
    QualityModel model(bits, kind_of(json, file));
    field_of(json, "bias", file).get_to(model.bias_);
    const auto indices = field_of(json, "indices", file).get<std::vector<std::uint64_t>>();
    const auto weights = field_of(json, "weights", file).get<std::vector<float>>();
    if (indices.size() != weights.size())
      fail(Category::Corruption, file.string(), "has {} indices and {} weights", indices.size(), weights.size());
    for (std::size_t i = 0; i < indices.size(); ++i) {
      if (indices[i] >= model.weights_.size() || !std::isfinite(weights[i]))
        fail(Category::Corruption, file.string(), "indices[{}] or its weight is out of range", i);
      model.weights_[indices[i]] = weights[i];
    }
    return model;
  } catch (const nlohmann::json::exception& error) {
    fail(Category::Corruption, file.string(), "is no classifier that graft wrote: {}", error.what());
  }
}

QualityTrainer::QualityTrainer(const QualitySettings& settings) : settings_(settings) {
  if (settings.bits < 1 || settings.bits > kMostBits)
    fail(Category::InvalidArgument, "--bits", "{} is not 1 to {}", settings.bits, kMostBits);
  if (settings.epochs < 1) fail(Category::InvalidArgument, "--epochs", "give 1 or more");
  if (!(settings.held_out >= 0 && settings.held_out < 1))
    fail(Category::InvalidArgument, "--held-out", "{} is not a share from 0 to below 1", settings.held_out);
}

void QualityTrainer::add(std::string_view text, bool good) {
  texts_.push_back({text_features(text, settings_.bits, settings_.kind), good});
}

QualityModel QualityTrainer::train(QualityCheck& check) const {
  Rng rng(settings_.seed);
  std::vector<std::size_t> kinds[2], trains, held_out;
  for (std::size_t i = 0; i < texts_.size(); ++i) kinds[texts_[i].good].push_back(i);
  for (auto& kind : kinds) {
    if (kind.size() < 2)
      fail(Category::InvalidArgument, "classifier", "{} good and {} bad texts; two of each are the least",
           kinds[1].size(), kinds[0].size());
    rng.shuffle(kind);
    const auto aside = static_cast<std::ptrdiff_t>(static_cast<double>(kind.size()) * settings_.held_out);
    held_out.insert(held_out.end(), kind.begin(), kind.begin() + aside);
    trains.insert(trains.end(), kind.begin() + aside, kind.end());
  }
  double weights[2];
  for (std::size_t kind = 0; kind < 2; ++kind)
    weights[kind] = static_cast<double>(texts_.size()) / (2.0 * static_cast<double>(kinds[kind].size()));
  QualityModel model(settings_.bits, settings_.kind);
  Slopes slopes(model.weights_.size() + 1);  // the bias last
  for (std::int64_t epoch = 0; epoch < settings_.epochs; ++epoch) {
    rng.shuffle(trains);
    for (const std::size_t i : trains) {
      if (interrupted()) fail(Category::Cancelled, "", "interrupted; nothing was written");
      const Text& text = texts_[i];
      const double slope = weights[text.good] * (model.score(text.features) - (text.good ? 1 : 0));
      for (const auto& [index, value] : text.features)
        model.weights_[index] -= slopes.step(index, slope * value, settings_.learning_rate);
      model.bias_ -= slopes.step(model.weights_.size(), slope, settings_.learning_rate);
    }
  }
  check = {};
  for (const std::size_t i : held_out) {
    const bool above = model.score(texts_[i].features) > 0.5;
    ++(texts_[i].good ? check.good : check.bad);
    check.good_right += texts_[i].good && above;
    check.bad_right += !texts_[i].good && !above;
  }
  return model;
}

bool keeps(double score, double alpha, Rng& rng) {
  const double pareto = std::pow(1 - rng.uniform(), -1 / alpha) - 1;
  return pareto > 1 - score;
}

}  // namespace graft
