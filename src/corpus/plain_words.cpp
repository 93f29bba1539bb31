#include "corpus/plain_words.h"

#include <array>
#include <cstring>

#include "text/unicode.h"

namespace graft {
namespace {

constexpr char kDropped = '\0';

// What becomes of an ASCII byte: ' ' ends a word, kDropped leaves no trace.
std::array<char, 128> ascii_table() {
  std::array<char, 128> table{};
  for (std::size_t byte = 0; byte < table.size(); ++byte) {
    const auto point = static_cast<char32_t>(byte);
    const char lower = static_cast<char>(text::lower_case(point));
    table[byte] = text::is_python_space(point) ? ' ' : text::is_punctuation(point) ? kDropped : lower;
  }
  return table;
}

const std::array<char, 128> kAscii = ascii_table();

constexpr std::uint64_t kBase = 0x9e3779b97f4a7c15ULL;

}  // namespace

void PlainWords::append(std::string_view text) {
  // A lower-case letter may take half as much again (U+023A: two bytes and three).
  std::size_t begin = text_.size();
  text_.resize(begin + text.size() + text.size() / 2 + 2);
  std::size_t to = begin;
  std::string letter;
  const auto end_word = [&] {
    if (to == begin) return;
    ends_.push_back(to);
    text_[to++] = ' ';
    begin = to;
  };
  for (std::size_t at = 0; at < text.size();) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte < 0x80) {
      ++at;
      const char kept = kAscii[byte];
      if (kept == ' ') {
        end_word();
      } else if (kept != kDropped) {
        text_[to++] = kept;
      }
      continue;
    }
    const char32_t point = text::next_code_point(text, at);
    if (text::is_python_space(point)) {
      end_word();
    } else if (!text::is_punctuation(point)) {
      letter.clear();
      text::append_utf8(letter, text::lower_case(point));
      letter.copy(text_.data() + to, letter.size());
      to += letter.size();
    }
  }
  end_word();
  text_.resize(to);
}

std::string_view PlainWords::run(std::size_t first, std::size_t count) const {
  const std::size_t begin = first == 0 ? 0 : ends_[first - 1] + 1;
  return std::string_view(text_).substr(begin, ends_[first + count - 1] - begin);
}

void PlainWords::drop_front(std::size_t count) {
  if (count == 0) return;
  const std::size_t bytes = ends_[count - 1] + 1;
  text_.erase(0, bytes);
  ends_.erase(ends_.begin(), ends_.begin() + static_cast<std::ptrdiff_t>(count));
  for (auto& end : ends_) end -= bytes;
}

void PlainWords::clear() {
  text_.clear();
  ends_.clear();
}

std::uint64_t hash_of_word(std::string_view word, std::uint64_t seed) {
  std::uint64_t hash = mixed(word.size() + kBase * (seed + 1));
  while (!word.empty()) {
    std::uint64_t block = 0;
    const std::size_t bytes = word.size() < sizeof block ? word.size() : sizeof block;
    std::memcpy(&block, word.data(), bytes);
    hash = mixed(hash ^ block);
    word.remove_prefix(bytes);
  }
  return hash;
}

RunHashes::RunHashes(std::size_t longest) : powers_(longest + 1, 1) {
  for (std::size_t i = 1; i < powers_.size(); ++i) powers_[i] = powers_[i - 1] * kBase;
}

void RunHashes::follow(const PlainWords& words) {
  for (std::size_t i = prefixes_.size() - 1; i < words.size(); ++i)
    prefixes_.push_back(prefixes_.back() * kBase + hash_of_word(words.word(i)));
}

void RunHashes::drop_front(std::size_t count) {
  prefixes_.erase(prefixes_.begin(), prefixes_.begin() + static_cast<std::ptrdiff_t>(count));
}

void RunHashes::clear() {
  prefixes_ = {0};
}

}  // namespace graft
