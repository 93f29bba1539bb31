// Rules that a document must keep to.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace graft {

/// Each is off as it stands here.
struct FilterSettings {
  std::int64_t min_words = 0;     ///< PlainWords
  std::int64_t max_words = 0;     ///< 0: any number
  double min_letters_share = 0;   ///< letters and marks of all characters but white space
  double max_repeated_lines = 1;  ///< share of its lines, blank ones left out, that repeat an earlier line
  double min_word_length = 0;     ///< mean, in characters
  double max_word_length = 0;     ///< 0: any
};

/// Throws InvalidArgument for shares outside 0 to 1, negative numbers, a least that is above a most.
void check_filter(const FilterSettings& settings);

/// The first rule that `text` (valid UTF-8) breaks, in words: "fewer than 50 words"; empty where it breaks none. Word
/// counts, mean word lengths and repeated lines are rules of Rae et al. 2021 (Gopher), appendix A.1.
std::string broken_rule(std::string_view text, const FilterSettings& settings);

/// Share of letters (Unicode's L) and marks (M) among the characters that are no white space; 0 where there are none.
double letters_share(std::string_view text);

/// Share of lines that repeat an earlier line, white space at their ends aside; blank lines do not count; 0 for none.
double repeated_lines_share(std::string_view text);

}  // namespace graft
