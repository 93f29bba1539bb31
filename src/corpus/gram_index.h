// Runs of words of a few texts, looked for in any number of others.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "corpus/plain_words.h"

namespace graft {

/// The n-grams of some texts, each once: their runs of `order` PlainWords; of a text with fewer words, all of them as
/// one. Memory goes with these texts alone. Immutable.
class GramIndex {
 public:
  using Gram = std::uint32_t;

  /// `texts` may hold any bytes; they are not kept. `order` is 1 or more. n-grams are found by `hash_bits` (1 to 64)
  /// bits of a hash, and each is then compared as text: fewer bits cost time only. Throws ResourceExhausted for 2^32
  /// n-grams or more.
  GramIndex(std::span<const std::string> texts, std::size_t order, int hash_bits = 64);

  std::size_t order() const { return order_; }
  std::size_t size() const { return runs_.size(); }
  /// Words of an n-gram, one space between them.
  std::string_view text(Gram gram) const { return words_.run(runs_[gram].first, runs_[gram].count); }
  /// Of one of the texts, in the order in which they come, repeats included; none where it has no word.
  std::span<const Gram> grams(std::size_t text) const;
  /// Words of one of the texts.
  std::size_t words(std::size_t text) const { return text_begins_[text + 1] - text_begins_[text]; }

  /// How many words the n-grams have, ascending: `order`, and whatever shorter texts have.
  const std::vector<std::size_t>& lengths() const { return lengths_; }
  /// The n-gram with this hash (RunHashes) and text; kNone where there is none.
  Gram find(std::uint64_t hash, const PlainWords& words, std::size_t first, std::size_t count) const;

  static constexpr Gram kNone = ~Gram{0};

 private:
  struct Run {
    std::size_t first;
    std::uint32_t count;
  };

  void read(std::span<const std::string> texts);
  Gram add(std::uint64_t hash, std::size_t first, std::size_t count);
  std::size_t slot_of(std::uint64_t hash) const { return hash & (hashes_.size() - 1); }
  std::uint64_t shortened(std::uint64_t hash) const;

  std::size_t order_;
  std::uint64_t hash_mask_;
  PlainWords words_;                      // of all texts
  std::vector<std::size_t> text_begins_;  // words before each text, and all
  std::vector<std::size_t> lengths_;
  std::vector<Run> runs_;                 // by n-gram
  std::vector<std::uint64_t> hashes_;     // open table; 0: free
  std::vector<Gram> values_;              // beside it
  std::vector<Gram> occurrences_;         // of every text, one after the other
  std::vector<std::size_t> gram_begins_;  // occurrences before each text, and all
};

/// Reads documents and finds the n-grams of an index in them, across pieces too. The index must outlive it.
class GramScanner {
 public:
  explicit GramScanner(const GramIndex& index);

  /// What comes now is another document.
  void begin_document();
  /// `piece` is valid UTF-8 that begins a word; `found` gets every n-gram of the index that ends in it, as often as it
  /// is there. Returns the number of words of the piece.
  std::size_t read(std::string_view piece, const std::function<void(GramIndex::Gram)>& found);

 private:
  const GramIndex& index_;
  PlainWords words_;
  RunHashes hashes_;
};

}  // namespace graft
