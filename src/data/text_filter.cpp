#include "data/text_filter.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/error.h"
#include "data/task.h"
#include "data/unicode.h"
#include "statistics/words.h"
#include "text/regex.h"
#include "text/unicode.h"

namespace graft {
namespace {

using Bounds = std::vector<std::pair<std::size_t, std::size_t>>;  // of a match and its groups

std::shared_ptr<const text::Regex> compiled(const std::string& pattern, const std::string& context) {
  try {
    return std::make_shared<const text::Regex>(pattern, context, text::RegexSyntax::Python);
  } catch (const Error& error) {
    fail(Category::InvalidArgument, context, "{}", error.message());
  }
}

std::vector<Bounds> all_matches(const text::Regex& regex, const std::string& text) {
  std::vector<Bounds> all;
  // Behind an empty match the next one may begin where it stands and hold something.
  for (Bounds found = regex.find_groups(text, 0); !found.empty();) {
    all.push_back(found);
    const auto [begin, end] = found.front();
    found = regex.find_groups(text, end, begin == end);
  }
  return all;
}

// Of a match without groups the whole; of one with several the first that holds something.
std::string told_by(const Bounds& match, const std::string& text, const std::string& fallback) {
  const auto part = [&](const std::pair<std::size_t, std::size_t>& bounds) {
    return text.substr(bounds.first, bounds.second - bounds.first);
  };
  if (match.size() <= 2) return part(match.back());
  for (std::size_t g = 1; g < match.size(); ++g) {
    if (match[g].second > match[g].first) return part(match[g]);
  }
  return fallback;
}

TextFilter without(bool (*dropped)(char)) {
  return [dropped](const std::string& text) {
    std::string left = text;
    left.erase(std::remove_if(left.begin(), left.end(), dropped), left.end());
    return left;
  };
}

std::string through(const std::vector<TextFilter>& filters, std::string text) {
  for (const auto& filter : filters) text = filter(text);
  return text;
}

}  // namespace

TextFilter without_outer_space() {
  return [](const std::string& text) { return without_space_around(text); };
}

TextFilter matched(const std::string& pattern, std::int64_t select, const std::string& fallback,
                   const std::string& context) {
  const auto regex = compiled(pattern, context);
  return [regex, select, fallback](const std::string& text) {
    const auto all = all_matches(*regex, text);
    const auto count = static_cast<std::int64_t>(all.size());
    const std::int64_t place = select < 0 ? count + select : select;
    if (place < 0 || place >= count) return fallback;
    return without_space_around(told_by(all[static_cast<std::size_t>(place)], text, fallback));
  };
}

TextFilter without_matches(const std::string& pattern, const std::string& context) {
  const auto regex = compiled(pattern, context);
  return [regex](const std::string& text) {
    std::string left;
    std::size_t from = 0;
    for (const auto& match : all_matches(*regex, text)) {
      left += text.substr(from, match.front().first - from);
      from = match.front().second;
    }
    return left + text.substr(from);
  };
}

TextFilter in_lower_case() {
  return [](const std::string& text) { return readable(text, LetterCase::Lower); };
}

TextFilter without_punctuation() {
  return without(text::is_ascii_punctuation);
}

TextFilter without_digits() {
  return without([](char c) { return c >= '0' && c <= '9'; });
}

std::string scored_text(const Task& task, const std::string& written) {
  if (task.documents == nullptr) return without_space_around(written);
  return through(task.decoding.compared, through(task.decoding.filters, written));
}

std::string scored_reference(const Task& task, const std::string& target) {
  if (task.documents == nullptr) return without_space_around(target);
  const bool delimited = target.starts_with(task.delimiter);
  return through(task.decoding.compared, delimited ? target.substr(task.delimiter.size()) : target);
}

}  // namespace graft
