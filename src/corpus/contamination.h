// How much of an evaluation stands in the text that a model was trained on: Brown et al. 2020 (GPT-3), section 4 and
// appendix C.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "corpus/documents.h"
#include "corpus/gram_index.h"

namespace graft {

/// The n of the n-grams for examples of these many words: their 5th percentile, at least 8 and at most 13 (appendix C).
/// Throws InvalidArgument for no examples.
std::size_t gram_order(std::vector<std::size_t> words);
/// The same of texts.
std::size_t gram_order(std::span<const std::string> texts);

struct ContaminationSettings {
  std::size_t order = 0;      ///< words of an n-gram; 0: gram_order() of the examples
  std::int64_t most_in = 10;  ///< an n-gram of more training documents is common, and is not looked at
  int hash_bits = 64;         ///< of GramIndex
};

/// An example of which an n-gram stands in the training text.
struct DirtyExample {
  std::size_t example = 0;     ///< its place in the list
  std::string gram;            ///< the first such n-gram
  Place place;                 ///< the first document that holds it
  std::int64_t documents = 0;  ///< that hold it
  std::int64_t matched = 0;    ///< of the example's n-grams, repeats included
  std::int64_t grams = 0;      ///< that it has
};

struct Contamination {
  std::size_t order = 0;
  std::int64_t examples = 0;
  std::int64_t shorter = 0;  ///< examples with fewer words than an n-gram: looked for whole
  std::int64_t empty = 0;    ///< examples without a word: always clean
  std::int64_t grams = 0;    ///< different ones of the examples
  std::int64_t common = 0;   ///< of these, left out because too many documents have them
  std::int64_t training_documents = 0;
  std::int64_t training_words = 0;
  std::vector<DirtyExample> dirty;  ///< in the order of the examples
};

/// Finds the examples that are dirty: one of their n-grams, or of an example with fewer words its whole text, stands in
/// a training document. Memory goes with the examples and not with the training text.
class ContaminationCheck {
 public:
  /// Throws InvalidArgument for no examples, or none with a word.
  explicit ContaminationCheck(std::span<const std::string> examples, const ContaminationSettings& settings = {});
  ContaminationCheck(const ContaminationCheck&) = delete;

  /// The pieces of the training documents, in their order.
  void read(const Piece& piece);
  /// Of what was read so far.
  Contamination result() const;

 private:
  struct Hit {
    std::int64_t documents = 0;
    std::int64_t last = 0;  // document that counted, from 1
    Place first;
  };

  DirtyExample dirty(std::size_t example) const;

  GramIndex index_;
  GramScanner scanner_;
  std::int64_t most_in_;
  std::size_t examples_;
  std::vector<Hit> hits_;  // by n-gram
  std::int64_t documents_ = 0, words_ = 0;
};

/// How many of some held-out examples stand in part in the examples that a model was tuned on.
struct Overlap {
  std::size_t order = 0;
  std::int64_t examples = 0;
  std::int64_t shared = 0;  ///< share an n-gram with any of the tuning examples; shorter ones their whole text
  std::vector<std::size_t> dirty = {};  ///< their places in the list, ascending; none where only the numbers are known
};

/// Of `held_out` against `tuned_on`, whatever the number of texts that an n-gram stands in. `order` 0: gram_order() of
/// `held_out`.
Overlap overlap_of(std::span<const std::string> tuned_on, std::span<const std::string> held_out, std::size_t order = 0);

/// "a 13-gram", "an 8-gram".
std::string one_gram(std::size_t order);
/// "3 of 200 held-out examples share a 13-gram with the tuning examples".
std::string overlap_text(const Overlap& overlap, const std::string& held_out = "held-out examples",
                         const std::string& tuned_on = "the tuning examples");

}  // namespace graft
