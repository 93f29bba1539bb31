#include "corpus/contamination.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/progress.h"
#include "text/unicode.h"

namespace graft {
namespace {

constexpr std::size_t kLeastOrder = 8, kMostOrder = 13;

std::size_t order_of(std::span<const std::string> examples, std::size_t order) {
  if (examples.empty()) fail(Category::InvalidArgument, "contamination", "there are no examples to look for");
  return order > 0 ? order : gram_order(examples);
}

}  // namespace

std::size_t gram_order(std::vector<std::size_t> words) {
  if (words.empty()) fail(Category::InvalidArgument, "contamination", "there are no examples to look for");
  const auto place = words.begin() + static_cast<std::ptrdiff_t>((words.size() - 1) * 5 / 100);
  std::nth_element(words.begin(), place, words.end());
  return std::clamp(*place, kLeastOrder, kMostOrder);
}

std::size_t gram_order(std::span<const std::string> texts) {
  std::vector<std::size_t> counts;
  std::string valid;
  for (const auto& text : texts) {
    PlainWords words;
    words.append(text::valid_utf8(text, valid));
    counts.push_back(words.size());
  }
  return gram_order(std::move(counts));
}

ContaminationCheck::ContaminationCheck(std::span<const std::string> examples, const ContaminationSettings& settings)
    : index_(examples, order_of(examples, settings.order), settings.hash_bits),
      scanner_(index_),
      most_in_(settings.most_in),
      examples_(examples.size()),
      hits_(index_.size()) {
  if (index_.size() == 0) fail(Category::InvalidArgument, "contamination", "no example holds a word to look for");
}

void ContaminationCheck::read(const Piece& piece) {
  if (piece.first) {
    scanner_.begin_document();
    ++documents_;
  }
  const auto count = scanner_.read(piece.text, [&](GramIndex::Gram gram) {
    Hit& hit = hits_[gram];
    if (hit.last == documents_) return;
    if (hit.documents == 0) hit.first = piece.place;
    hit.last = documents_;
    ++hit.documents;
  });
  words_ += static_cast<std::int64_t>(count);
}

DirtyExample ContaminationCheck::dirty(std::size_t example) const {
  DirtyExample found;
  found.example = example;
  for (const auto gram : index_.grams(example)) {
    ++found.grams;
    const Hit& hit = hits_[gram];
    if (hit.documents == 0 || hit.documents > most_in_) continue;
    if (found.matched++ > 0) continue;
    found.gram = index_.text(gram);
    found.place = hit.first;
    found.documents = hit.documents;
  }
  return found;
}

Contamination ContaminationCheck::result() const {
  Contamination result;
  result.order = index_.order();
  result.examples = static_cast<std::int64_t>(examples_);
  result.grams = static_cast<std::int64_t>(index_.size());
  result.training_documents = documents_;
  result.training_words = words_;
  result.common = std::count_if(hits_.begin(), hits_.end(), [&](const Hit& hit) { return hit.documents > most_in_; });
  for (std::size_t e = 0; e < examples_; ++e) {
    result.empty += index_.words(e) == 0;
    result.shorter += index_.words(e) > 0 && index_.words(e) < index_.order();
    DirtyExample found = dirty(e);
    if (found.matched > 0) result.dirty.push_back(std::move(found));
  }
  return result;
}

Overlap overlap_of(std::span<const std::string> tuned_on, std::span<const std::string> held_out, std::size_t order) {
  if (held_out.empty()) return {order > 0 ? order : kMostOrder, 0, 0};
  const GramIndex index(held_out, order_of(held_out, order));
  Overlap overlap{index.order(), static_cast<std::int64_t>(held_out.size()), 0};
  GramScanner scanner(index);
  std::vector<bool> seen(index.size());
  std::string valid;
  for (const auto& text : tuned_on) {
    scanner.begin_document();
    scanner.read(text::valid_utf8(text, valid), [&](GramIndex::Gram gram) { seen[gram] = true; });
  }
  for (std::size_t e = 0; e < held_out.size(); ++e) {
    const auto grams = index.grams(e);
    if (std::any_of(grams.begin(), grams.end(), [&](GramIndex::Gram gram) { return seen[gram]; }))
      overlap.dirty.push_back(e);
  }
  overlap.shared = static_cast<std::int64_t>(overlap.dirty.size());
  return overlap;
}

std::string one_gram(std::size_t order) {
  const bool vowel = order == 8 || order == 11 || order == 18;  // as it is spoken; longer ones are 13 at most by choice
  return fmt::format("{} {}-gram", vowel ? "an" : "a", order);
}

std::string overlap_text(const Overlap& overlap, const std::string& held_out, const std::string& tuned_on) {
  return fmt::format("{} of {} {} share {} with {}", grouped(overlap.shared), grouped(overlap.examples), held_out,
                     one_gram(overlap.order), tuned_on);
}

}  // namespace graft
