#include "statistics/ter.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <tuple>

#include "statistics/ngrams.h"

namespace graft {
namespace {

using Words = std::vector<Vocabulary::Word>;

constexpr int kMaxShiftSize = 10;
constexpr int kMaxShiftDistance = 50;
constexpr int kMaxShiftsTried = 1000;
constexpr int kBeam = 25;
constexpr int kFar = 1 << 29;  // outside the beam

int length_of(const Words& words) {
  return static_cast<int>(words.size());
}

enum class Edit : std::uint8_t { None, Keep, Substitute, Delete, Insert };

struct Cell {
  int cost = kFar;
  Edit edit = Edit::None;
};

// Edit distance to one reference, of texts of one length: the beam follows the diagonal from corner to corner.
class EditDistance {
 public:
  EditDistance(const Words& reference, int words)
      : reference_(reference), words_(words), width_(reference.size() + 1), rows_((words + 1) * width_) {
    ratio_ = words > 0 ? static_cast<double>(reference.size()) / words : 1;
    beam_ = kBeam < ratio_ / 2 ? static_cast<int>(std::ceil(ratio_ / 2 + kBeam)) : kBeam;
    for (std::size_t j = 0; j < width_; ++j) rows_[j] = {static_cast<int>(j), Edit::Insert};
  }

  // Distance of `text`, whose table is kept.
  int measure(const Words& text) {
    for (int i = 1; i <= words_; ++i) fill(row(i - 1), row(i), text[i - 1], i);
    return row(words_)[width_ - 1].cost;
  }

  // Distance of a text that has its first `same` words in common with the one measured.
  int measure_after(const Words& text, int same) {
    const Cell* above = row(same);
    for (int i = same + 1; i <= words_; ++i) {
      std::vector<Cell>& next = spare_[i % 2];
      next.resize(width_);
      fill(above, next.data(), text[i - 1], i);
      above = next.data();
    }
    return above[width_ - 1].cost;
  }

  // Edits of the text measured, from its beginning.
  std::vector<Edit> edits() {
    std::vector<Edit> trace;
    int i = words_;
    auto j = static_cast<int>(width_) - 1;
    while (i > 0 || j > 0) {
      const Edit edit = row(i)[j].edit;
      trace.push_back(edit);
      if (edit != Edit::Insert) --i;
      if (edit != Edit::Delete) --j;
    }
    std::reverse(trace.begin(), trace.end());
    return trace;
  }

 private:
  Cell* row(int i) { return rows_.data() + static_cast<std::size_t>(i) * width_; }

  void fill(const Cell* above, Cell* row, Vocabulary::Word word, int i) {
    std::fill(row, row + width_, Cell{});
    const auto end = static_cast<int>(width_);
    const int diagonal = static_cast<int>(std::floor(i * ratio_));
    const int first = std::max(0, diagonal - beam_);
    const int last = i == words_ ? end : std::min(end, diagonal + beam_);
    for (int j = first; j < last; ++j) row[j] = best(above, row, word, j);
  }

  // Among equals Tercom prefers to keep or substitute, then to delete, then to insert.
  Cell best(const Cell* above, const Cell* row, Vocabulary::Word word, int j) const {
    if (j == 0) return {above[0].cost + 1, Edit::Delete};
    Cell cell;
    const bool same = word == reference_[static_cast<std::size_t>(j) - 1];
    const auto offer = [&](int cost, Edit edit) {
      if (cost < cell.cost) cell = {cost, edit};
    };
    offer(above[j - 1].cost + (same ? 0 : 1), same ? Edit::Keep : Edit::Substitute);
    offer(above[j].cost + 1, Edit::Delete);
    offer(row[j - 1].cost + 1, Edit::Insert);
    return cell;
  }

  const Words& reference_;
  int words_;
  std::size_t width_;
  std::vector<Cell> rows_;
  std::vector<Cell> spare_[2];
  double ratio_;
  int beam_;
};

// Where the words of the reference are in the text, and which words of either are wrong.
struct Alignment {
  std::vector<int> place;  // of each reference word; of one that is missing, that of the word before it (-1: none)
  std::vector<bool> reference_wrong;
  std::vector<bool> text_wrong;
};

Alignment align(const std::vector<Edit>& edits) {
  Alignment found;
  int place = -1;
  for (const Edit edit : edits) {
    const bool wrong = edit != Edit::Keep;
    if (edit != Edit::Insert) {
      ++place;
      found.text_wrong.push_back(wrong);
    }
    if (edit != Edit::Delete) {
      found.place.push_back(place);
      found.reference_wrong.push_back(wrong);
    }
  }
  return found;
}

bool any(const std::vector<bool>& wrong, int from, int length) {
  return std::any_of(wrong.begin() + from, wrong.begin() + from + length, [](bool w) { return w; });
}

// `text` with the words [start, start + length) moved before the word `target`, or, where that is one of them, `target`
// - `start` places further on.
Words shifted(const Words& text, int start, int length, int target) {
  Words words = text;
  const auto at = [&](int place) { return words.begin() + std::min(place, length_of(words)); };
  if (target < start) {
    std::rotate(at(target), at(start), at(start + length));
  } else if (target > start + length) {
    std::rotate(at(start), at(start + length), at(target));
  } else {
    std::rotate(at(start), at(start + length), at(target + length));
  }
  return words;
}

struct Shift {
  std::tuple<int, int, int, int> rank;  // gain, length, -start, -target: the largest is taken
  Words words;
};

class ShiftSearch {
 public:
  ShiftSearch(const Words& text, const Words& reference)
      : words_(text), reference_(reference), distance_(reference, length_of(text)) {}

  // Shifts and edits together.
  int edits() {
    int shifts = 0;
    while (true) {
      before_ = distance_.measure(words_);
      const std::optional<Shift> shift = best_shift();
      if (tried_ >= kMaxShiftsTried || !shift || std::get<0>(shift->rank) <= 0) return shifts + before_;
      words_ = shift->words;
      ++shifts;
    }
  }

 private:
  std::optional<Shift> best_shift() {
    alignment_ = align(distance_.edits());
    std::optional<Shift> best;
    for (int start = 0; start < length_of(words_); ++start) {
      const int first = std::max(0, start - kMaxShiftDistance);
      const int last = std::min(length_of(reference_) - 1, start + kMaxShiftDistance);
      for (int to = first; to <= last; ++to) {
        for (int length = 1; length <= common(start, to); ++length) {
          if (!worth(start, to, length)) continue;
          try_places(start, to, length, best);
          if (tried_ >= kMaxShiftsTried) return best;
        }
      }
    }
    return best;
  }

  // Words from `start` that are those of the reference from `to`.
  int common(int start, int to) const {
    int length = 0;
    while (length < kMaxShiftSize && start + length < length_of(words_) && to + length < length_of(reference_) &&
           words_[static_cast<std::size_t>(start) + static_cast<std::size_t>(length)] ==
               reference_[static_cast<std::size_t>(to) + static_cast<std::size_t>(length)])
      ++length;
    return length;
  }

  bool worth(int start, int to, int length) const {
    const int place = alignment_.place[static_cast<std::size_t>(to)];
    return any(alignment_.text_wrong, start, length) && any(alignment_.reference_wrong, to, length) &&
           (place < start || place >= start + length);
  }

  void try_places(int start, int to, int length, std::optional<Shift>& best) {
    int previous = -1;
    for (int word = to - 1; word < to + length; ++word) {
      const int target = word < 0 ? 0 : alignment_.place[static_cast<std::size_t>(word)] + 1;
      if (target == previous) continue;
      previous = target;
      Words words = shifted(words_, start, length, target);
      const int gain = before_ - distance_.measure_after(words, std::min(start, target));
      ++tried_;
      const std::tuple rank(gain, length, -start, -target);
      if (!best || rank > best->rank) best = Shift{rank, std::move(words)};
    }
  }

  Words words_;
  const Words& reference_;
  EditDistance distance_;
  Alignment alignment_;
  int before_ = 0;
  int tried_ = 0;
};

}  // namespace

CaseSums ter_sums(const TextCases& cases, const TerSettings& settings) {
  check_cases("TER", cases);
  CaseSums sums;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    Vocabulary vocabulary;
    const auto words = [&](const std::string& text) {
      const std::string line = readable(text, settings.case_sensitive ? LetterCase::AsWritten : LetterCase::Lower);
      return vocabulary.numbers(split_words(tokenise_tercom(without_space_at_end(line), settings.tokens)));
    };
    const Words hypothesis = words(cases.hypotheses[i]);
    int fewest = kFar;
    double reference_words = 0;
    for (const std::string& text : cases.references[i]) {
      const Words reference = words(text);
      const int edits = reference.empty() ? length_of(hypothesis) : ShiftSearch(hypothesis, reference).edits();
      fewest = std::min(fewest, edits);
      reference_words += static_cast<double>(reference.size()) / static_cast<double>(cases.references[i].size());
    }
    sums.push_back({static_cast<double>(fewest), reference_words});
  }
  return sums;
}

Ter ter_of(std::span<const double> sums) {
  Ter ter;
  ter.edits = sums[0];
  ter.reference_words = sums[1];
  ter.score = ter.reference_words > 0 ? 100 * ter.edits / ter.reference_words : ter.edits > 0 ? 100 : 0;
  return ter;
}

Ter corpus_ter(const TextCases& cases, const TerSettings& settings) {
  return ter_of(total_of(ter_sums(cases, settings)));
}

}  // namespace graft
