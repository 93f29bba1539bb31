// What a collection of documents is like.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "corpus/tally.h"

namespace graft {

/// Quantiles that are told, from the shortest document to the longest.
inline constexpr std::array kSurveyQuantiles = {0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0};

/// Memory: 24 bytes a document.
class Survey {
 public:
  /// `text` is valid UTF-8.
  void add(std::string_view text);

  struct Lengths {
    std::int64_t sum = 0;
    std::vector<double> quantiles;  ///< at kSurveyQuantiles; none for no documents
  };
  Lengths words() const { return lengths_of(words_); }
  Lengths bytes() const { return lengths_of(bytes_); }
  /// "kept": the first document of each text; "no words"; "repeats an earlier document to the letter" (told by 128 bits
  /// of hash).
  Tally tally() const;

 private:
  static Lengths lengths_of(const std::vector<std::uint32_t>& values);

  std::vector<std::uint32_t> words_, bytes_;  // of each; a longer document counts as the largest number
  std::vector<std::pair<std::uint64_t, std::uint64_t>> hashes_;
};

}  // namespace graft
