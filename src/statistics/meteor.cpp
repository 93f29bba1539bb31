#include "statistics/meteor.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "statistics/ngrams.h"
#include "statistics/porter.h"

namespace graft {
namespace {

using Words = std::vector<Vocabulary::Word>;

constexpr int kNowhere = -1;

struct Text {
  Words words;
  Words stems;
};

class MeteorReader {
 public:
  explicit MeteorReader(Tokens tokens) : tokens_(tokens) {}

  Text read(const std::string& raw) {
    const std::string line = tokenise(readable(raw, LetterCase::AsWritten), tokens_);
    Text text;
    for (const std::string_view piece : split_words(line)) {
      const std::string word = readable(piece, LetterCase::Lower);
      text.words.push_back(vocabulary_.number(word));
      if (text.words.back() == stem_of_.size()) stem_of_.push_back(stems_.number(porter_stem(word)));
      text.stems.push_back(stem_of_[text.words.back()]);
    }
    return text;
  }

 private:
  Tokens tokens_;
  Vocabulary vocabulary_;
  Vocabulary stems_;
  Words stem_of_;  // of each word of the vocabulary
};

// Gives each word of the hypothesis that has no place yet, from the last to the first, the last place in the reference
// that is free and holds the same.
void match(const Words& hypothesis, const Words& reference, std::vector<int>& place, std::vector<bool>& taken) {
  std::unordered_map<Vocabulary::Word, std::vector<int>> free;
  for (std::size_t j = 0; j < reference.size(); ++j) {
    if (!taken[j]) free[reference[j]].push_back(static_cast<int>(j));
  }
  for (std::size_t i = hypothesis.size(); i-- > 0;) {
    const auto found = free.find(hypothesis[i]);
    if (place[i] != kNowhere || found == free.end() || found->second.empty()) continue;
    place[i] = found->second.back();
    taken[static_cast<std::size_t>(place[i])] = true;
    found->second.pop_back();
  }
}

double score(const Text& hypothesis, const Text& reference, const MeteorSettings& settings) {
  std::vector<int> place(hypothesis.words.size(), kNowhere);
  std::vector<bool> taken(reference.words.size(), false);
  match(hypothesis.words, reference.words, place, taken);
  match(hypothesis.stems, reference.stems, place, taken);
  int matches = 0;
  int chunks = 0;
  for (std::size_t i = 0; i < place.size(); ++i) {
    if (place[i] == kNowhere) continue;
    ++matches;
    const bool goes_on = i > 0 && place[i - 1] != kNowhere && place[i] == place[i - 1] + 1;
    if (!goes_on) ++chunks;
  }
  if (matches == 0) return 0;
  const double precision = static_cast<double>(matches) / static_cast<double>(place.size());
  const double recall = static_cast<double>(matches) / static_cast<double>(taken.size());
  const double mean = precision * recall / (settings.alpha * precision + (1 - settings.alpha) * recall);
  return mean * (1 - settings.gamma * std::pow(static_cast<double>(chunks) / matches, settings.beta));
}

}  // namespace

CaseScores meteor(const TextCases& cases, const MeteorSettings& settings) {
  MeteorReader reader(settings.tokens);
  return mean_over_cases("METEOR", cases, [&](std::size_t index) {
    const Text hypothesis = reader.read(cases.hypotheses[index]);
    double best = 0;
    for (const std::string& reference : cases.references[index])
      best = std::max(best, score(hypothesis, reader.read(reference), settings));
    return best;
  });
}

}  // namespace graft
