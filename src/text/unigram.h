// Unigram language model (Kudo 2018): the segmentation of highest score, by Viterbi over a trie.
#pragma once

#include <array>

#include "text/model.h"
#include "text/trie.h"

namespace graft::text {

struct UnigramOptions {
  std::optional<TokenId> unk;
  bool byte_fallback = false;
  /// SentencePiece adds scores in float, Hugging Face in double: they differ where two segmentations nearly tie.
  bool single_precision = false;
  /// Ids that may stand in a segmentation and those that always win there; empty: all, none. By id.
  std::vector<bool> usable;
  std::vector<bool> user_defined;
};

class Unigram : public Model {
 public:
  /// One score for each token. Throws Corruption (score not finite, unk outside).
  Unigram(const Vocabulary& vocabulary, std::vector<double> scores, UnigramOptions options, const std::string& context);
  /// Throws InvalidArgument where a character is unknown and the model has no unknown token.
  void encode(std::string_view piece, std::vector<TokenId>& out, ModelScratch& scratch) const override;

 private:
  /// What of a segmentation decides whether it holds behind another text.
  struct Path {
    bool begins_unknown = false;
    bool plain = true;  ///< every token is in the vocabulary, and none always wins
    double margin = 0;  ///< by which any other segmentation scores less
  };

  /// Into the scratch, behind a text whose segmentation scores `so_far`.
  template <typename Score>
  void best_path(std::string_view piece, Score so_far, ModelScratch& scratch) const;
  Path put_path(std::string_view piece, std::vector<TokenId>& out, ModelScratch& scratch) const;
  bool encode_words(std::string_view piece, std::vector<TokenId>& out, ModelScratch& scratch) const;
  bool rounds_below_margin(float so_far, std::size_t length) const;
  void put_unknown(std::string_view text, std::vector<TokenId>& out) const;

  std::vector<double> scores_;
  UnigramOptions options_;
  std::array<TokenId, 256> byte_ids_{};
  Trie trie_;
  double unk_score_ = 0;
  double max_score_ = 0;
  bool words_apart_ = false;  ///< no token goes on from a word into the next
};

}  // namespace graft::text
