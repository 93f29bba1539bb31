// Documents that say nearly the same as an earlier one.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "corpus/minhash.h"

namespace graft {

struct DuplicateSettings {
  std::size_t hashes = 128;  ///< of a signature, each of 4 bytes
  double threshold = 0.8;    ///< Jaccard coefficient from which two documents are duplicates
  std::size_t shingle = 5;   ///< words of a shingle
  bool exact = false;        ///< compares shingles instead of signatures; keeps all of them (8 bytes a word)
  std::uint64_t seed = 0;
};

/// Clusters of near duplicates. Keeps of a document its signature alone. Documents without words are duplicates of
/// nothing.
class NearDuplicates {
 public:
  /// Throws InvalidArgument for a threshold outside 0 to 1, no hashes, or a shingle of no words.
  explicit NearDuplicates(const DuplicateSettings& settings = {});

  /// `text` is valid UTF-8. Throws ResourceExhausted for the 2^32nd document.
  void add(std::string_view text);
  std::size_t size() const { return has_words_.size(); }

  /// The first document of the cluster of each: its own number where it is the first. Two documents that share a band
  /// and are alike enough are linked; clusters are the connected components of these links (as of Lee et al. 2022,
  /// Deduplicating Training Data Makes Language Models Better, section 4.2), so that no order of documents or bands
  /// changes them, and the first and the last of a chain are in one, alike or not. Throws Cancelled.
  std::vector<std::uint32_t> clusters() const;

  /// How alike two documents with words are, as clusters() measures it.
  double likeness(std::uint32_t first, std::uint32_t second) const;
  const Bands& bands() const { return bands_; }

 private:
  std::span<const std::uint32_t> signature(std::size_t document) const;
  // Alike to every third one alike.
  bool same(std::uint32_t first, std::uint32_t second) const;

  DuplicateSettings settings_;
  Bands bands_;
  Shingles shingles_;
  MinHash minhash_;
  std::vector<std::uint32_t> signatures_;         // [documents, hashes]
  std::vector<std::vector<std::uint64_t>> sets_;  // by document, where exact
  std::vector<bool> has_words_;
};

}  // namespace graft
