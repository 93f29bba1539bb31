// Text to token ids and back, equal to the Hugging Face tokenizer of the same model.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace graft {

using TokenId = std::int32_t;

/// What Tokenizer::hash() counts; to be raised where it comes to count something else.
inline constexpr int kTokenizerHashVersion = 2;

/// Immutable once opened; every member may be called from several threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Token ids of `text` (UTF-8; each maximal part that is none counts as one U+FFFD, as where Rust and Python replace
  /// it). Added tokens written out in the text are recognised, as in the reference. `add_special` puts the tokens the
  /// model's post-processor asks for around it (T5's </s>, Llama 2's <s>).
  virtual std::vector<TokenId> encode(std::string_view text, bool add_special = false) const = 0;

  /// Text of the ids. `skip_special` leaves out special tokens. An id beyond the vocabulary has no text, as in
  /// the reference: models pad their vocabulary. Throws InvalidArgument for a negative id.
  virtual std::string decode(std::span<const TokenId> ids, bool skip_special = true) const = 0;

  /// Number of ids including added tokens.
  virtual std::int64_t vocab_size() const = 0;
  /// Content of one token as the vocabulary writes it ("Ġthe", "▁the"); empty for an unused id.
  virtual std::string token(TokenId id) const = 0;
  virtual std::optional<TokenId> id(std::string_view token) const = 0;

  virtual std::optional<TokenId> bos() const = 0;
  virtual std::optional<TokenId> eos() const = 0;
  virtual std::optional<TokenId> pad() const = 0;
  virtual std::optional<TokenId> unk() const = 0;

  /// Jinja source of the chat template, empty where the model has none.
  virtual const std::string& chat_template() const = 0;
  /// "byte-level BPE", "unigram", "BPE (SentencePiece)", "bytes".
  virtual std::string kind() const = 0;
  /// SHA-256 over what gives a text its ids: every token's content by id, the merges of a byte-level BPE, the scores of
  /// a unigram model. It is the same for a model's tokenizer.json, its SentencePiece file and the GGUF made of them, so
  /// it does not count what these write differently: which tokens are special, a space or "▁" in a token, converters'
  /// fillers of unused ids ("[PAD7]"), and how a text is normalised and cut before the vocabulary sees it.
  virtual std::string hash() const = 0;
};

/// Opens the tokenizer of a model: a folder (tokenizer.json, else vocab.json + merges.txt, else
/// spiece.model/tokenizer.model, with tokenizer_config.json, special_tokens_map.json and added_tokens.json beside it;
/// ByT5's is only the class that tokenizer_config.json or config.json names), one of those files, or a .gguf file.
/// Throws NotFound (names what it looked for), Corruption (file and field), Unsupported (names the unknown component).
std::shared_ptr<const Tokenizer> open_tokenizer(const std::filesystem::path& path);

}  // namespace graft
