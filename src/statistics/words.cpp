#include "statistics/words.h"

#include <fmt/format.h>
#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

#include <algorithm>
#include <utility>

#include "text/unicode.h"

namespace graft {
namespace {

bool is_digit(char32_t point) {
  return point >= '0' && point <= '9';
}

bool is_point_or_comma(char32_t point) {
  return point == '.' || point == ',';
}

// ASCII punctuation and symbols that mteval and Tercom always put apart: all but ' , - .
bool stands_alone(char32_t point) {
  return (point >= ' ' && point <= '&') || (point >= '(' && point <= '+') || point == '/' ||
         (point >= ':' && point <= '@') || (point >= '[' && point <= '`') || (point >= '{' && point <= '~');
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  std::size_t begin = 0;
  for (std::size_t at = 0; (at = text.find(from, begin)) != std::string_view::npos; begin = at + from.size())
    out.append(text.substr(begin, at - begin)).append(to);
  return out.append(text.substr(begin));
}

std::string entities_resolved(std::string text) {
  if (text.find('&') == std::string::npos) return text;
  for (const auto& [entity, sign] : {std::pair{"&quot;", "\""}, {"&amp;", "&"}, {"&lt;", "<"}, {"&gt;", ">"}})
    text = replaced(text, entity, sign);
  return text;
}

// Each unit that `alone` holds for between two spaces. Text is UTF-8, where `alone` holds for ASCII only, or UTF-32.
template <class Text, class Alone>
Text apart(const Text& text, Alone alone) {
  Text out;
  out.reserve(text.size() * 2);
  for (const auto unit : text) {
    if (alone(unit)) out += ' ';
    out += unit;
    if (alone(unit)) out += ' ';
  }
  return out;
}

// Pairs of neighbours of which `first` and `second` hold, from left to right and without overlap, with spaces around
// the second (or, with `around_first`, the first). On UTF-8 one of them must hold for ASCII only; the unit beside it
// then is the end or the beginning of a character, which is what a space is put next to.
template <class Text, class First, class Second>
Text pairs_apart(const Text& text, First first, Second second, bool around_first) {
  Text out;
  out.reserve(text.size() * 2);
  std::size_t at = 0;
  for (; at + 1 < text.size(); ++at) {
    if (!first(text[at]) || !second(text[at + 1])) {
      out += text[at];
    } else {
      out += around_first ? Text{' ', text[at], ' ', text[at + 1]} : Text{text[at], ' ', text[at + 1], ' '};
      ++at;
    }
  }
  if (at < text.size()) out += text[at];
  return out;
}

const auto kNoDigit = [](unsigned char unit) { return !is_digit(unit); };
const auto kPointOrComma = [](unsigned char unit) { return is_point_or_comma(unit); };
const auto kDigit = [](unsigned char unit) { return is_digit(unit); };
const auto kDash = [](unsigned char unit) { return unit == '-'; };

// What mteval and Tercom do to points, commas and dashes beside digits.
std::string numbers_apart(const std::string& text) {
  return pairs_apart(pairs_apart(pairs_apart(text, kNoDigit, kPointOrComma, false), kPointOrComma, kNoDigit, true),
                     kDigit, kDash, false);
}

std::string punctuation_apart(const std::string& text) {
  return apart(text, [](unsigned char unit) { return stands_alone(unit); });
}

// Every word has a space on both sides, so that rules need none for the ends of a line.
std::string padded(const std::string& text) {
  return fmt::format(" {} ", text);
}

std::string mteval_13a(std::string_view text) {
  const std::string line = replaced(replaced(replaced(text, "<skipped>", ""), "-\n", ""), "\n", " ");
  return numbers_apart(punctuation_apart(padded(entities_resolved(line))));
}

char lower_ascii(char unit) {
  return unit >= 'A' && unit <= 'Z' ? static_cast<char>(unit - 'A' + 'a') : unit;
}

std::string lower_case(const std::string& text) {
  std::string lower;
  icu::UnicodeString::fromUTF8(text).toLower(icu::Locale::getRoot()).toUTF8String(lower);
  return lower;
}

bool has_category(char32_t point, std::uint32_t mask) {
  return (U_GET_GC_MASK(static_cast<UChar32>(point)) & mask) != 0;
}

std::string international(std::string_view text) {
  std::u32string points;
  for (std::size_t at = 0; at < text.size();) points += text::next_code_point(text, at);
  const auto punctuation = [](char32_t point) { return has_category(point, U_GC_P_MASK); };
  const auto no_number = [](char32_t point) { return !has_category(point, U_GC_N_MASK); };
  points = pairs_apart(points, no_number, punctuation, false);
  points = pairs_apart(points, punctuation, no_number, true);
  points = apart(points, [](char32_t point) { return has_category(point, U_GC_S_MASK); });
  std::string out;
  for (const char32_t point : points) text::append_utf8(out, point);
  return out;
}

}  // namespace

std::vector<std::string_view> split_words(std::string_view text) {
  std::vector<std::string_view> words;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t here = at;
    if (!text::is_python_space(text::next_code_point(text, at))) continue;
    if (here > begin) words.push_back(text.substr(begin, here - begin));
    begin = at;
  }
  if (begin < text.size()) words.push_back(text.substr(begin));
  return words;
}

std::string_view without_space_at_end(std::string_view text) {
  for (std::size_t at = text.size(); at > 0 && text::is_python_space(text::previous_code_point(text, at));)
    text = text.substr(0, at);
  return text;
}

std::string readable(std::string_view text, LetterCase letters) {
  std::string storage;
  std::string valid(text::valid_utf8(text, storage));
  if (letters == LetterCase::Lower && !text::is_ascii(valid)) return lower_case(valid);
  if (letters != LetterCase::AsWritten) std::transform(valid.begin(), valid.end(), valid.begin(), lower_ascii);
  return valid;
}

std::string tokenise(std::string_view text, Tokens tokens) {
  if (tokens == Tokens::Mteval13a) return mteval_13a(text);
  if (tokens == Tokens::International) return international(text);
  return std::string(text);
}

std::string tokenise_tercom(std::string_view text, const TercomTokens& settings) {
  std::string line(text);
  if (settings.normalised && !line.empty()) {
    line = entities_resolved(replaced(replaced(line, "\n-", ""), "\n", " "));
    line = replaced(punctuation_apart(padded(line)), "'s ", " 's ");
    line = numbers_apart(line);
  }
  if (settings.no_punctuation)
    std::erase_if(line, [](char c) { return std::string_view(".,?:;!\"()").find(c) != std::string_view::npos; });
  return line;
}

}  // namespace graft
