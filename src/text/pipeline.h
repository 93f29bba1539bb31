// The one tokenizer: added tokens → normaliser → pre-tokeniser → model → post-processor, and the decoder back. Every
// file format is read into a PipelineSpec.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "text/added_tokens.h"
#include "text/decoder.h"
#include "text/model.h"
#include "text/normalizer.h"
#include "text/pretokenizer.h"
#include "text/tokenizer.h"
#include "text/word_cache.h"

namespace graft::text {

struct PipelineSpec {
  std::string kind;
  Vocabulary vocabulary;  ///< of the model; added tokens beyond it are put in by the pipeline
  std::unique_ptr<Model> model;
  std::string merges_hash;                   ///< of a byte-level BPE: its merges in their order
  std::vector<std::optional<float>> scores;  ///< of a unigram model: by id, of what a text is cut into
  std::vector<AddedToken> added;
  std::unique_ptr<Normalizer> normalizer;  ///< may be null
  PreTokenization pre;
  std::unique_ptr<Decoder> decoder;     ///< null: contents are joined by spaces
  std::vector<TokenId> prefix, suffix;  ///< what add_special puts around a text
  std::optional<TokenId> bos, eos, pad, unk;
  std::string chat_template;
};

class Pipeline : public Tokenizer {
 public:
  explicit Pipeline(PipelineSpec spec);

  std::vector<TokenId> encode(std::string_view text, bool add_special) const override;
  std::string decode(std::span<const TokenId> ids, bool skip_special) const override;
  std::int64_t vocab_size() const override { return static_cast<std::int64_t>(spec_.vocabulary.tokens.size()); }
  std::string token(TokenId id) const override;
  std::optional<TokenId> id(std::string_view token) const override { return spec_.vocabulary.find(token); }
  std::optional<TokenId> bos() const override { return spec_.bos; }
  std::optional<TokenId> eos() const override { return spec_.eos; }
  std::optional<TokenId> pad() const override { return spec_.pad; }
  std::optional<TokenId> unk() const override { return spec_.unk; }
  const std::string& chat_template() const override { return spec_.chat_template; }
  std::string kind() const override { return spec_.kind; }
  std::string hash() const override {
    std::call_once(hashed_, [this] { hash_ = content_hash(); });
    return hash_;
  }

 private:
  struct Scratch {
    std::string valid, normal;
    Pieces pieces;
    ModelScratch model;
    WordCache words;
  };
  class Lease;

  void encode_stretch(std::string_view text, bool first, Scratch& scratch, std::vector<TokenId>& out) const;
  void encode_normal(std::string_view text, bool first, Scratch& scratch, std::vector<TokenId>& out) const;
  std::string content_hash() const;

  PipelineSpec spec_;
  AddedTokenFinder raw_added_, normal_added_;
  std::vector<bool> special_;
  // Of every token's content: adapters and results name it, a text that is written does not wait for it.
  mutable std::once_flag hashed_;
  mutable std::string hash_;

  // Scratch is lent to one encode() at a time, so that word caches outlive a call without belonging to a thread.
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Scratch>> idle_;
};

}  // namespace graft::text
