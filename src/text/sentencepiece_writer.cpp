// SentencePiece's own file, written: the fields that sentencepiece_model.cpp reads.
#include <bit>
#include <cstdint>

#include "text/loaders.h"

namespace graft::text {
namespace {

constexpr std::int64_t kUnigramType = 1, kBpeType = 2;  // of TrainerSpec.model_type

class MessageWriter {
 public:
  void number(std::uint64_t field, std::int64_t value) {
    varint(field << 3);
    varint(static_cast<std::uint64_t>(value));
  }
  void real(std::uint64_t field, float value) {
    varint(field << 3 | 5);
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes_.push_back(static_cast<char>((bits >> shift) & 0xFFu));
  }
  void bytes(std::uint64_t field, std::string_view value) {
    varint(field << 3 | 2);
    varint(value.size());
    bytes_ += value;
  }
  const std::string& message() const { return bytes_; }

 private:
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<char>((value & 0x7Fu) | 0x80u));
    bytes_.push_back(static_cast<char>(value));
  }

  std::string bytes_;
};

std::string piece_message(const SentencePieceVocabulary& vocabulary, std::size_t id) {
  MessageWriter piece;
  piece.bytes(1, vocabulary.pieces[id]);
  piece.real(2, static_cast<float>(vocabulary.scores[id]));
  piece.number(3, vocabulary.types[id]);
  return piece.message();
}

std::string trainer_message(const SentencePieceVocabulary& vocabulary, const SpecialIds& ids) {
  MessageWriter trainer;
  trainer.number(3, vocabulary.bpe ? kBpeType : kUnigramType);
  trainer.number(4, static_cast<std::int64_t>(vocabulary.pieces.size()));
  trainer.number(35, vocabulary.byte_fallback ? 1 : 0);
  trainer.number(40, vocabulary.unk.value_or(-1));
  trainer.number(41, ids.bos.value_or(-1));
  trainer.number(42, ids.eos.value_or(-1));
  trainer.number(43, ids.pad.value_or(-1));
  trainer.bytes(44, vocabulary.unk_surface);
  return trainer.message();
}

std::string normalizer_message(const SentencePieceNormalization& normalization) {
  MessageWriter normalizer;
  normalizer.bytes(1, normalization.precompiled_charsmap.empty() ? "identity" : "user_defined");
  if (!normalization.precompiled_charsmap.empty()) normalizer.bytes(2, normalization.precompiled_charsmap);
  normalizer.number(3, normalization.add_dummy_prefix ? 1 : 0);
  normalizer.number(4, normalization.remove_extra_whitespaces ? 1 : 0);
  normalizer.number(5, normalization.escape_whitespaces ? 1 : 0);
  return normalizer.message();
}

}  // namespace

std::string write_sentencepiece(const SentencePieceVocabulary& vocabulary, const SpecialIds& ids) {
  MessageWriter model;
  for (std::size_t id = 0; id < vocabulary.pieces.size(); ++id) model.bytes(1, piece_message(vocabulary, id));
  model.bytes(2, trainer_message(vocabulary, ids));
  model.bytes(3, normalizer_message(vocabulary.normalization));
  return model.message();
}

}  // namespace graft::text
