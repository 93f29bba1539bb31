#include "corpus/filter.h"

#include <fmt/format.h>
#include <unicode/uchar.h>

#include <unordered_set>

#include "base/error.h"
#include "corpus/plain_words.h"
#include "data/text_lines.h"
#include "data/unicode.h"
#include "text/unicode.h"

namespace graft {
namespace {

void check_share(const char* option, double share) {
  if (!(share >= 0 && share <= 1)) fail(Category::InvalidArgument, option, "{} is not a share from 0 to 1", share);
}

template <typename Number>
void check_range(const char* option, Number least, Number most) {
  if (!(least >= 0 && most >= 0)) fail(Category::InvalidArgument, option, "give 0 or more");
  if (most > 0 && least > most)
    fail(Category::InvalidArgument, option, "the least, {}, is above the most, {}", least, most);
}

std::string broken_word_rule(std::string_view text, const FilterSettings& settings) {
  PlainWords words;
  words.append(text);
  const auto count = static_cast<std::int64_t>(words.size());
  if (count < settings.min_words) return fmt::format("fewer than {} words", settings.min_words);
  if (settings.max_words > 0 && count > settings.max_words)
    return fmt::format("more than {} words", settings.max_words);
  if (count == 0) return "";
  // One space stands between neighbours.
  const double mean = static_cast<double>(static_cast<std::int64_t>(text::code_points(words.all())) - (count - 1)) /
                      static_cast<double>(count);
  if (mean < settings.min_word_length)
    return fmt::format("words shorter than {:g} on average", settings.min_word_length);
  if (settings.max_word_length > 0 && mean > settings.max_word_length)
    return fmt::format("words longer than {:g} on average", settings.max_word_length);
  return "";
}

}  // namespace

void check_filter(const FilterSettings& settings) {
  check_share("--min-letters-share", settings.min_letters_share);
  check_share("--max-repeated-lines", settings.max_repeated_lines);
  check_range("--min-words", settings.min_words, settings.max_words);
  check_range("--min-word-length", settings.min_word_length, settings.max_word_length);
}

double letters_share(std::string_view text) {
  std::int64_t letters = 0, all = 0;
  for (std::size_t at = 0; at < text.size();) {
    const char32_t point = text::next_code_point(text, at);
    if (text::is_python_space(point)) continue;
    ++all;
    letters += (U_GET_GC_MASK(static_cast<UChar32>(point)) & (U_GC_L_MASK | U_GC_M_MASK)) != 0;
  }
  return all == 0 ? 0 : static_cast<double>(letters) / static_cast<double>(all);
}

double repeated_lines_share(std::string_view text) {
  std::unordered_set<std::string> seen;
  std::int64_t repeated = 0, all = 0;
  LineCursor lines(text);
  for (std::string_view line; lines.next(line);) {
    std::string plain = without_space_around(line);
    if (plain.empty()) continue;
    ++all;
    repeated += !seen.insert(std::move(plain)).second;
  }
  return all == 0 ? 0 : static_cast<double>(repeated) / static_cast<double>(all);
}

std::string broken_rule(std::string_view text, const FilterSettings& settings) {
  const std::string words = broken_word_rule(text, settings);
  if (!words.empty()) return words;
  if (settings.min_letters_share > 0 && letters_share(text) < settings.min_letters_share)
    return fmt::format("fewer than {:g} of its characters are letters", settings.min_letters_share);
  if (settings.max_repeated_lines < 1 && repeated_lines_share(text) > settings.max_repeated_lines)
    return fmt::format("more than {:g} of its lines repeat", settings.max_repeated_lines);
  return "";
}

}  // namespace graft
