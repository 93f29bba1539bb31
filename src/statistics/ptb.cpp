#include "statistics/ptb.h"

#include <utility>

#include "statistics/words.h"
#include "text/regex.h"

namespace graft {
namespace {

// Anything that is no token by these is punctuation that is left out, or white space. The first that fits is taken.
constexpr std::string_view kTokens =
    // Words written together.
    R"((?i:can(?=not(?![\p{L}\d]))|(?:gon|wan)(?=na(?![\p{L}\d]))|got(?=ta(?![\p{L}\d]))|(?:gim|lem)(?=me(?![\p{L}\d]))))"
    // Contractions.
    R"(|(?i:'(?:s|m|d|re|ve|ll)(?![\p{L}\d])|n't(?![\p{L}\d])|'t(?=(?:is|was)(?![\p{L}\d]))|'(?:cause|em)(?![\p{L}\d])))"
    // Initials and abbreviations keep their point, and so does what has a comma behind it.
    R"(|(?:(?<![\p{L}\d])\p{L}\.)(?:\p{L}\.)*(?![\p{L}\d]))"
    R"(|(?i:(?<![\p{L}\d])(?:mr|mrs|ms|dr|st|jr|sr|prof|co|inc|ltd|corp|ave|rd|jan|feb|mar|apr|aug|sept?|oct|nov|dec|mon|tues?|wed|thurs?|fri|sat|vs|est|dept|pp|etc)\.(?![\p{L}\d])|\p{L}+\.(?=,)))"
    // Numbers.
    R"(|(?<![\p{L}\d])[+-]?\d+(?:[.,:]\d+)+(?:-\d+(?:[.,:]\d+)*)*|(?<![\p{L}\d])[+-]\d+)"
    // Words, numbers too; with hyphens, strokes and apostrophes inside.
    R"(|(?:(?!n't(?![\p{L}\d]))[\p{L}\p{M}\d_])+(?:(?:[-\/@]|(?<=\p{L})[.?!](?=\p{L})|(?<=\p{L})'(?!(?i:s|m|d|re|ve|ll|t)(?![\p{L}\d]))(?=\p{L})|(?<=\p{Lu})&(?=\p{Lu}))(?:(?!n't(?![\p{L}\d]))[\p{L}\p{M}\d_])+)*)"
    // Signs that stay.
    R"(|[!?]{2,}|[@#](?=\p{L})[\p{L}\d_]+|[^\p{L}\p{M}\p{N}\s.,:;?!'`"\-\x{2010}-\x{2026}])";

const text::Regex& tokens() {
  static const text::Regex regex(kTokens, "Penn Treebank words");
  return regex;
}

std::string_view as_written_there(std::string_view token) {
  static constexpr std::pair<std::string_view, std::string_view> kSigns[] = {
      {"£", "#"},     {"€", "$"},     {"(", "-lrb-"}, {")", "-rrb-"},
      {"[", "-lsb-"}, {"]", "-rsb-"}, {"{", "-lcb-"}, {"}", "-rcb-"}};
  for (const auto& [sign, name] : kSigns) {
    if (token == sign) return name;
  }
  return token;
}

std::string straight_apostrophes(std::string text) {
  static constexpr std::string_view kCurly = "’";
  for (std::size_t at = 0; (at = text.find(kCurly, at)) != std::string::npos;) text.replace(at, kCurly.size(), 1, '\'');
  return text;
}

}  // namespace

std::string ptb_words(std::string_view text) {
  const std::string line = straight_apostrophes(readable(text, LetterCase::AsWritten));
  std::string words;
  std::size_t begin = 0;
  std::size_t end = 0;
  while (tokens().find(line, end, begin, end)) {
    if (!words.empty()) words += ' ';
    words += as_written_there(std::string_view(line).substr(begin, end - begin));
  }
  return readable(words, LetterCase::Lower);
}

}  // namespace graft
