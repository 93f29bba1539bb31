#include "statistics/porter.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "text/unicode.h"

namespace graft {
namespace {

// Code points, so that lengths and doubled letters are those of characters.
using Letters = std::u32string;
using View = std::u32string_view;

bool is_vowel(char32_t letter) {
  return View(U"aeiou").find(letter) != View::npos;
}

// A y is a consonant at the beginning of a word and after a vowel.
std::vector<bool> consonants(View word) {
  std::vector<bool> found;
  for (const char32_t letter : word) {
    const bool consonant = letter == 'y' ? found.empty() || !found.back() : !is_vowel(letter);
    found.push_back(consonant);
  }
  return found;
}

// How often a consonant follows a vowel: m of the paper.
int measure(View stem) {
  const std::vector<bool> consonant = consonants(stem);
  int count = 0;
  for (std::size_t i = 1; i < consonant.size(); ++i) count += consonant[i] && !consonant[i - 1];
  return count;
}

bool contains_vowel(View stem) {
  const std::vector<bool> consonant = consonants(stem);
  return std::find(consonant.begin(), consonant.end(), false) != consonant.end();
}

bool ends_in_consonant(View stem) {
  return !stem.empty() && consonants(stem).back();
}

bool ends_in_double_consonant(View stem) {
  return stem.size() >= 2 && stem[stem.size() - 1] == stem[stem.size() - 2] && ends_in_consonant(stem);
}

// *o of the paper; nltk adds words of a vowel and a consonant.
bool ends_in_short_syllable(View stem) {
  const std::vector<bool> c = consonants(stem);
  const std::size_t n = stem.size();
  if (n == 2) return !c[0] && c[1];
  return n >= 3 && c[n - 3] && !c[n - 2] && c[n - 1] && View(U"wxy").find(stem.back()) == View::npos;
}

struct Rule {
  View suffix;
  View replacement;
};

// The first rule whose suffix fits is applied where the stem before it has more than `least` measures; no other is
// tried.
Letters apply(View word, std::span<const Rule> rules, int least) {
  for (const Rule& rule : rules) {
    if (!word.ends_with(rule.suffix)) continue;
    const View stem = word.substr(0, word.size() - rule.suffix.size());
    return Letters(measure(stem) > least ? Letters(stem).append(rule.replacement) : Letters(word));
  }
  return Letters(word);
}

View without(View word, std::size_t letters) {
  return word.substr(0, word.size() - letters);
}

Letters plural(View word) {
  if (word.ends_with(U"ies")) return Letters(without(word, word.size() == 4 ? 1 : 2));
  if (word.ends_with(U"sses")) return Letters(without(word, 2));
  if (word.ends_with(U"s") && !word.ends_with(U"ss")) return Letters(without(word, 1));
  return Letters(word);
}

// What is left of a verb without -ed or -ing gets back an e, or loses a doubled letter.
Letters repaired(View stem) {
  for (const View ending : {U"at", U"bl", U"iz"}) {
    if (stem.ends_with(ending)) return Letters(stem) + U'e';
  }
  if (ends_in_double_consonant(stem)) {
    const bool kept = View(U"lsz").find(stem.back()) != View::npos;
    return Letters(kept ? stem : without(stem, 1));
  }
  return measure(stem) == 1 && ends_in_short_syllable(stem) ? Letters(stem) + U'e' : Letters(stem);
}

Letters past_or_progressive(View word) {
  if (word.ends_with(U"ied")) return Letters(without(word, word.size() == 4 ? 1 : 2));
  if (word.ends_with(U"eed")) return Letters(measure(without(word, 3)) > 0 ? without(word, 1) : word);
  for (const View ending : {View(U"ed"), View(U"ing")}) {
    if (word.ends_with(ending) && contains_vowel(without(word, ending.size())))
      return repaired(without(word, ending.size()));
  }
  return Letters(word);
}

Letters final_y(View word) {
  if (!word.ends_with(U"y")) return Letters(word);
  const View stem = without(word, 1);
  return stem.size() > 1 && ends_in_consonant(stem) ? Letters(stem) + U'i' : Letters(word);
}

Letters double_suffix(View word) {
  static constexpr Rule kRules[] = {
      {U"ational", U"ate"}, {U"tional", U"tion"}, {U"enci", U"ence"}, {U"anci", U"ance"}, {U"izer", U"ize"},
      {U"bli", U"ble"},     {U"alli", U"al"},     {U"entli", U"ent"}, {U"eli", U"e"},     {U"ousli", U"ous"},
      {U"ization", U"ize"}, {U"ation", U"ate"},   {U"ator", U"ate"},  {U"alism", U"al"},  {U"iveness", U"ive"},
      {U"fulness", U"ful"}, {U"ousness", U"ous"}, {U"aliti", U"al"},  {U"iviti", U"ive"}, {U"biliti", U"ble"},
      {U"fulli", U"ful"}};
  if (word.ends_with(U"alli") && measure(without(word, 4)) > 0) return double_suffix(without(word, 2));
  // The l counts as the stem's, so that "geologi" has one.
  if (word.ends_with(U"logi")) return Letters(measure(without(word, 3)) > 0 ? without(word, 1) : word);
  return apply(word, kRules, 0);
}

Letters single_suffix(View word) {
  static constexpr Rule kRules[] = {{U"icate", U"ic"}, {U"ative", U""}, {U"alize", U"al"}, {U"iciti", U"ic"},
                                    {U"ical", U"ic"},  {U"ful", U""},   {U"ness", U""}};
  return apply(word, kRules, 0);
}

Letters last_suffix(View word) {
  static constexpr Rule kRules[] = {{U"al", U""},   {U"ance", U""}, {U"ence", U""}, {U"er", U""},    {U"ic", U""},
                                    {U"able", U""}, {U"ible", U""}, {U"ant", U""},  {U"ement", U""}, {U"ment", U""},
                                    {U"ent", U""},  {U"ou", U""},   {U"ism", U""},  {U"ate", U""},   {U"iti", U""},
                                    {U"ous", U""},  {U"ive", U""},  {U"ize", U""}};
  if (word.ends_with(U"ion")) {
    const View stem = without(word, 3);
    const bool falls = measure(stem) > 1 && (stem.back() == 's' || stem.back() == 't');
    return Letters(falls ? stem : word);
  }
  return apply(word, kRules, 1);
}

Letters final_e(View word) {
  if (!word.ends_with(U"e")) return Letters(word);
  const View stem = without(word, 1);
  const int m = measure(stem);
  return Letters(m > 1 || (m == 1 && !ends_in_short_syllable(stem)) ? stem : word);
}

Letters double_l(View word) {
  return Letters(word.ends_with(U"ll") && measure(without(word, 1)) > 1 ? without(word, 1) : word);
}

std::string_view irregular(std::string_view word) {
  static constexpr std::pair<std::string_view, std::string_view> kForms[] = {
      {"sky", "sky"},        {"skies", "sky"},       {"dying", "die"},        {"lying", "lie"},
      {"tying", "tie"},      {"news", "news"},       {"innings", "inning"},   {"inning", "inning"},
      {"outings", "outing"}, {"outing", "outing"},   {"cannings", "canning"}, {"canning", "canning"},
      {"howe", "howe"},      {"proceed", "proceed"}, {"exceed", "exceed"},    {"succeed", "succeed"}};
  for (const auto& [form, stem] : kForms) {
    if (word == form) return stem;
  }
  return {};
}

}  // namespace

std::string porter_stem(std::string_view word) {
  const std::string_view known = irregular(word);
  if (!known.empty()) return std::string(known);
  Letters letters;
  for (std::size_t at = 0; at < word.size();) letters += text::next_code_point(word, at);
  if (letters.size() <= 2) return std::string(word);
  for (const auto step :
       {plural, past_or_progressive, final_y, double_suffix, single_suffix, last_suffix, final_e, double_l})
    letters = step(letters);
  std::string stem;
  for (const char32_t letter : letters) text::append_utf8(stem, letter);
  return stem;
}

}  // namespace graft
