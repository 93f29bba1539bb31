// Raw SentencePiece models. The protobuf message is read by field number here instead of through libsentencepiece: its
// protobuf need not share a process with another one, and the segmentation is the same code as for tokenizer.json.
#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "text/loaders.h"
#include "text/unicode.h"
#include "text/unigram.h"

namespace graft::text {
namespace {

// Protocol buffers, wire format: a field is a varint key (number << 3 | type) and a payload.
class Message {
 public:
  struct Field {
    std::uint64_t number = 0;
    std::uint64_t value = 0;  ///< varint, or bits of a fixed32
    std::string_view bytes;   ///< of a length-delimited field
    float real() const { return std::bit_cast<float>(static_cast<std::uint32_t>(value)); }
  };

  Message(std::string_view bytes, const std::string& context) : rest_(bytes), context_(context) {}

  bool next(Field& field) {
    if (rest_.empty()) return false;
    const std::uint64_t key = varint();
    field = {key >> 3, 0, {}};
    switch (key & 7) {
      case 0:
        field.value = varint();
        return true;
      case 1:
        field.value = 0;
        take(8);
        return true;
      case 2:
        field.bytes = take(varint());
        return true;
      case 5: {
        std::uint32_t bits = 0;
        std::memcpy(&bits, take(4).data(), 4);
        field.value = bits;
        return true;
      }
      default:
        fail(Category::Corruption, context_, "is not a SentencePiece model: wire type {}", key & 7);
    }
  }

 private:
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1)[0]);
      value |= static_cast<std::uint64_t>(byte & 0x7Fu) << shift;
      if (byte < 0x80) return value;
    }
    fail(Category::Corruption, context_, "is not a SentencePiece model: a number of more than 64 bits");
  }

  std::string_view take(std::uint64_t count) {
    if (count > rest_.size())
      fail(Category::Corruption, context_, "is cut short: a field claims {} bytes, {} are left", count, rest_.size());
    const std::string_view taken = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return taken;
  }

  std::string_view rest_;
  const std::string& context_;
};

std::string text_of(std::string_view bytes) {
  std::string storage;
  return std::string(valid_utf8(bytes, storage));
}

struct ModelFile {
  SentencePieceVocabulary vocabulary;
  std::int64_t bos = 1, eos = 2, pad = -1;
};

void read_piece(std::string_view bytes, SentencePieceVocabulary& vocabulary, const std::string& context) {
  vocabulary.pieces.emplace_back();
  vocabulary.scores.push_back(0);
  vocabulary.types.push_back(1);
  Message::Field field;
  for (Message message(bytes, context); message.next(field);) {
    if (field.number == 1) vocabulary.pieces.back() = text_of(field.bytes);
    if (field.number == 2) vocabulary.scores.back() = field.real();
    if (field.number == 3) vocabulary.types.back() = static_cast<int>(field.value & 0xFF);
  }
}

void read_trainer(std::string_view bytes, ModelFile& file, const std::string& context) {
  std::uint64_t type = 1;
  Message::Field field;
  for (Message message(bytes, context); message.next(field);) {
    const auto id = static_cast<std::int64_t>(static_cast<std::int32_t>(field.value));
    if (field.number == 3) type = field.value;
    if (field.number == 35) file.vocabulary.byte_fallback = field.value != 0;
    if (field.number == 41) file.bos = id;
    if (field.number == 42) file.eos = id;
    if (field.number == 43) file.pad = id;
    if (field.number == 44) file.vocabulary.unk_surface = text_of(field.bytes);
    if (field.number == 24 && field.value != 0)
      fail(Category::Unsupported, context, "treat_whitespace_as_suffix is not supported");
  }
  if (type != 1 && type != 2)
    fail(Category::Unsupported, context, "model type {} is not supported (known: 1 unigram, 2 BPE)", type);
  file.vocabulary.bpe = type == 2;
}

void read_normalizer(std::string_view bytes, SentencePieceNormalization& spec, const std::string& context) {
  Message::Field field;
  for (Message message(bytes, context); message.next(field);) {
    if (field.number == 2) spec.precompiled_charsmap = std::string(field.bytes);
    if (field.number == 3) spec.add_dummy_prefix = field.value != 0;
    if (field.number == 4) spec.remove_extra_whitespaces = field.value != 0;
    if (field.number == 5) spec.escape_whitespaces = field.value != 0;
  }
}

ModelFile read_model(std::string_view bytes, const std::string& context) {
  ModelFile file;
  Message::Field field;
  for (Message message(bytes, context); message.next(field);) {
    if (field.number == 1) read_piece(field.bytes, file.vocabulary, context);
    if (field.number == 2) read_trainer(field.bytes, file, context);
    if (field.number == 3) read_normalizer(field.bytes, file.vocabulary.normalization, context);
  }
  if (file.vocabulary.pieces.empty())
    fail(Category::Corruption, context, "is not a SentencePiece model: it has no pieces");
  const auto unk = std::ranges::find(file.vocabulary.types, 2);
  if (unk != file.vocabulary.types.end())
    file.vocabulary.unk = static_cast<TokenId>(unk - file.vocabulary.types.begin());
  return file;
}

constexpr int kNormalType = 1, kUnknownType = 2, kControlType = 3, kUserDefinedType = 4;

void add_extra_ids(PipelineSpec& spec, std::int64_t count) {
  const auto size = static_cast<std::int64_t>(spec.vocabulary.tokens.size());
  if (spec.vocabulary.find("<extra_id_0>").has_value()) return;
  for (std::int64_t index = 0; index < count; ++index) {
    spec.added.push_back({.id = static_cast<TokenId>(size + count - 1 - index),
                          .content = fmt::format("<extra_id_{}>", index),
                          .special = true});
  }
}

}  // namespace

// SentencePiece joins the neighbours whose joint piece has the highest score; every cut of one piece has its one rank.
std::vector<RankedMerge> sentencepiece_merges(const SentencePieceVocabulary& vocabulary, const TokenMap& ids) {
  std::vector<std::size_t> order;
  for (std::size_t id = 0; id < vocabulary.pieces.size(); ++id) {
    if (vocabulary.types[id] == kNormalType) order.push_back(id);
  }
  std::ranges::stable_sort(order,
                           [&](std::size_t a, std::size_t b) { return vocabulary.scores[a] > vocabulary.scores[b]; });
  const auto joinable = [&](const std::string& part) {
    const auto found = ids.find(part);
    return found != ids.end() && vocabulary.types[static_cast<std::size_t>(found->second)] == kNormalType
               ? found->second
               : -1;
  };
  std::vector<RankedMerge> merges;
  std::uint32_t rank = 0;
  for (std::size_t index = 0; index < order.size(); ++index) {
    if (index > 0 && vocabulary.scores[order[index]] < vocabulary.scores[order[index - 1]]) ++rank;
    const std::string& piece = vocabulary.pieces[order[index]];
    constexpr std::size_t kLongest = 512;  // bytes; a piece of more is no piece of language
    if (piece.size() > kLongest) continue;
    for (std::size_t cut = 1; cut < piece.size(); ++cut) {
      if ((static_cast<unsigned char>(piece[cut]) & 0xC0u) == 0x80u) continue;
      const TokenId left = joinable(piece.substr(0, cut));
      const TokenId right = left < 0 ? -1 : joinable(piece.substr(cut));
      if (right >= 0) merges.push_back({left, right, static_cast<TokenId>(order[index]), rank});
    }
  }
  return merges;
}

void set_sentencepiece(PipelineSpec& spec, SentencePieceVocabulary vocabulary, const std::string& context) {
  const std::size_t size = vocabulary.pieces.size();
  if (vocabulary.scores.size() != size || vocabulary.types.size() != size) {
    fail(Category::Corruption, context, "{} scores and {} types for {} tokens", vocabulary.scores.size(),
         vocabulary.types.size(), size);
  }
  for (std::size_t id = 0; id < size; ++id) {
    const int type = vocabulary.types[id];
    spec.vocabulary.put(vocabulary.pieces[id], static_cast<std::int64_t>(id), size, context);
    if (type == kUnknownType || type == kControlType) {
      spec.added.push_back({.id = static_cast<TokenId>(id), .content = vocabulary.pieces[id], .special = true});
    }
    if (type == kUserDefinedType) vocabulary.normalization.user_defined.push_back(vocabulary.pieces[id]);
  }
  spec.unk = vocabulary.unk;
  SentencePieceDecoding decoding;
  decoding.strip_first_space =
      vocabulary.normalization.add_dummy_prefix || vocabulary.normalization.remove_extra_whitespaces;
  decoding.strip_all_leading = vocabulary.normalization.remove_extra_whitespaces;
  decoding.unk_surface = vocabulary.unk_surface;
  if (vocabulary.unk.has_value()) decoding.unk_piece = vocabulary.pieces[static_cast<std::size_t>(*vocabulary.unk)];
  spec.decoder = make_sentencepiece_decoder(decoding);
  spec.normalizer = make_sentencepiece_normalizer(vocabulary.normalization, context);
  if (vocabulary.bpe) {
    BpeOptions options;
    options.byte_fallback = vocabulary.byte_fallback;
    options.fuse_unk = true;
    options.unk = vocabulary.unk;
    options.whole = vocabulary.normalization.user_defined;
    if (!options.whole.empty()) spec.pre.steps.push_back(make_symbol_split(options.whole));
    auto model = std::make_unique<Bpe>(spec.vocabulary, sentencepiece_merges(vocabulary, spec.vocabulary.ids),
                                       std::move(options));
    if (model->cuts_before(kMarker)) spec.pre.steps.push_back(make_marker_split());
    spec.kind = "BPE (SentencePiece)";
    spec.model = std::move(model);
    return;
  }
  UnigramOptions options;
  options.unk = vocabulary.unk;
  options.byte_fallback = vocabulary.byte_fallback;
  options.single_precision = true;
  for (const int type : vocabulary.types) {
    options.usable.push_back(type == kNormalType || type == kUserDefinedType);
    options.user_defined.push_back(type == kUserDefinedType);
  }
  for (std::size_t id = 0; id < size; ++id) {
    const bool whole = vocabulary.types[id] == kUserDefinedType;
    spec.scores.push_back(whole ? std::nullopt : std::optional(static_cast<float>(vocabulary.scores[id])));
  }
  spec.kind = "unigram";
  spec.model = std::make_unique<Unigram>(spec.vocabulary, std::move(vocabulary.scores), std::move(options), context);
}

SentencePieceVocabulary sentencepiece_of_model(std::string_view model, const std::string& context) {
  return read_model(model, context).vocabulary;
}

PipelineSpec spec_of_sentencepiece(std::string_view bytes, const Json& config, const std::string& context) {
  ModelFile file = read_model(bytes, context);
  const auto size = static_cast<std::int64_t>(file.vocabulary.pieces.size());
  const bool bpe = file.vocabulary.bpe;
  PipelineSpec spec;
  set_sentencepiece(spec, std::move(file.vocabulary), context);
  const auto id = [&](std::int64_t value) {
    return value < 0 || value >= size ? std::nullopt : std::optional(static_cast<TokenId>(value));
  };
  spec.bos = id(file.bos);
  spec.eos = id(file.eos);
  spec.pad = id(file.pad);
  // T5's models have no beginning of sequence and keep id 0 for padding; its tokenizer has a hundred sentinels behind.
  const bool t5 = !bpe && !spec.bos.has_value() && spec.pad == 0;
  std::int64_t extra = t5 ? 100 : 0;
  if (config.is_object() && find_field(config, "extra_ids", context) != nullptr)
    extra = integer_field(config, "extra_ids", context);
  if (extra < 0 || extra > 10000) fail(Category::Corruption, context, "extra_ids {} is out of range", extra);
  add_extra_ids(spec, extra);
  const bool add_bos = config.is_object() ? bool_field(config, "add_bos_token", context, bpe) : bpe;
  const bool add_eos = config.is_object() ? bool_field(config, "add_eos_token", context, t5) : t5;
  if (add_bos && spec.bos.has_value()) spec.prefix = {*spec.bos};
  if (add_eos && spec.eos.has_value()) spec.suffix = {*spec.eos};
  return spec;
}

}  // namespace graft::text
