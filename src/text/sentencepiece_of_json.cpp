// The SentencePiece model behind a tokenizer.json that was made of one: its pieces, their types and scores, and what is
// done to a text before it is cut.
#include <algorithm>
#include <cstdint>
#include <unordered_set>

#include "base/error.h"
#include "text/charsmap.h"
#include "text/loaders.h"

namespace graft::text {
namespace {

constexpr int kNormalPiece = 1, kUnknownPiece = 2, kControlPiece = 3, kUserPiece = 4, kBytePiece = 6;

[[noreturn]] void refuse_as_sentencepiece(const std::string& context, const std::string& what) {
  fail(Category::Unsupported, context,
       "{} is not SentencePiece's, so a GGUF file has no words for it; put the tokenizer.model (or spiece.model) that "
       "it "
       "was made of beside it, or keep the folder",
       what);
}

// What normalizer and pre_tokenizer do, as SentencePiece would say it.
class Preparation {
 public:
  Preparation(const Json& file, const std::string& context) : context_(context) {
    said_.add_dummy_prefix = said_.remove_extra_whitespaces = false;
    if (const Json* component = find_field(file, "normalizer", context)) normalizer(*component);
    if (const Json* component = find_field(file, "pre_tokenizer", context)) pre_tokenizer(*component);
    if (!marks_) refuse_as_sentencepiece(context_, "a pre_tokenizer that leaves spaces as they are");
    if (strips_ && !said_.remove_extra_whitespaces)
      refuse_as_sentencepiece(context_, "a normalizer that strips the ends of a text alone");
  }

  const SentencePieceNormalization& said() const { return said_; }
  /// Pieces end where words do, whatever the vocabulary has.
  bool cuts_words() const { return cuts_; }
  /// A text that begins with a space gets no other one, as SentencePiece's would.
  bool prefixes_less() const { return prefixes_less_ && !said_.remove_extra_whitespaces; }

 private:
  void normalizer(const Json& component) {
    const std::string type = type_of(component, context_);
    if (type == "Sequence") {
      for (const Json& step : array_field(component, "normalizers", context_)) normalizer(step);
    } else if (type == "Prepend" && string_field(component, "prepend", context_) == kMarker) {
      said_.add_dummy_prefix = true;
    } else if (type == "Replace") {
      replace(component);
    } else if (type == "Precompiled") {
      const std::string map = string_field(component, "precompiled_charsmap", context_, "");
      said_.precompiled_charsmap = base64_decode(map, context_);
    } else if (type == "Strip") {
      strips_ = true;
    } else {
      refuse_as_sentencepiece(context_, "the normalizer '" + type + "'");
    }
  }

  void replace(const Json& component) {
    const Json& pattern = object_field(component, "pattern", context_);
    const std::string content = string_field(component, "content", context_);
    const bool marker = content == kMarker;
    if (marker && string_field(pattern, "String", context_, "") == " ") {
      marks_ = true;
    } else if ((marker || content == " ") && string_field(pattern, "Regex", context_, "") == " {2,}") {
      said_.remove_extra_whitespaces = true;
    } else {
      refuse_as_sentencepiece(context_, "the normalizer 'Replace' of " + pattern.dump());
    }
  }

  void pre_tokenizer(const Json& component) {
    const std::string type = type_of(component, context_);
    if (type == "Sequence") {
      for (const Json& step : array_field(component, "pretokenizers", context_)) pre_tokenizer(step);
    } else if (type == "Metaspace") {
      metaspace(component);
    } else if (type == "WhitespaceSplit") {
      said_.remove_extra_whitespaces = true;
    } else if (type != "Split" || !finds_no_space(component)) {
      refuse_as_sentencepiece(context_, "the pre_tokenizer '" + type + "'");
    }
  }

  // Gemma's cuts at spaces, of which its normalizer has left none.
  bool finds_no_space(const Json& component) const {
    return marks_ && string_field(object_field(component, "pattern", context_), "String", context_, "") == " ";
  }

  void metaspace(const Json& component) {
    if (string_field(component, "replacement", context_, std::string(kMarker).c_str()) != kMarker)
      refuse_as_sentencepiece(context_, "a Metaspace with another mark");
    marks_ = true;
    cuts_ = bool_field(component, "split", context_, true);
    const char* legacy = bool_field(component, "add_prefix_space", context_, true) ? "always" : "never";
    const std::string scheme = string_field(component, "prepend_scheme", context_, legacy);
    if (scheme == "never") return;
    said_.add_dummy_prefix = prefixes_less_ = true;
  }

  const std::string& context_;
  SentencePieceNormalization said_;
  bool marks_ = false, strips_ = false, cuts_ = false, prefixes_less_ = false;
};

std::vector<int> types_in_json(const PipelineSpec& spec, bool byte_fallback) {
  std::vector<int> types(spec.vocabulary.tokens.size(), kNormalPiece);
  const auto set = [&](TokenId id, int type) {
    if (id >= 0 && static_cast<std::size_t>(id) < types.size()) types[static_cast<std::size_t>(id)] = type;
  };
  if (byte_fallback) {
    for (const TokenId id : spec.vocabulary.byte_tokens()) set(id, kBytePiece);
  }
  for (const AddedToken& token : spec.added) set(token.id, token.special ? kControlPiece : kUserPiece);
  if (spec.unk) set(*spec.unk, kUnknownPiece);
  return types;
}

std::uint64_t pair_key(TokenId left, TokenId right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint32_t>(right);
}

// SentencePiece ranks pieces, a tokenizer.json every way to make one: the pieces in the order in which they come there.
class RanksOfMerges {
 public:
  RanksOfMerges(const PipelineSpec& spec, SentencePieceVocabulary& vocabulary, const std::string& context)
      : spec_(spec), vocabulary_(vocabulary), context_(context), made_(vocabulary.pieces.size()) {}

  void read(const Json& model) {
    for (const Json& merge : array_field(model, "merges", context_)) {
      // The reader of the tokenizer has seen that it is one or the other.
      const auto [left, right] = merge.is_string()
                                     ? split_merge(merge.get<std::string>(), context_)
                                     : std::pair(merge[0].get<std::string>(), merge[1].get<std::string>());
      add(normal(left), normal(right), normal(left + right));
    }
    // Of what no merge makes, the order is that of the ids.
    for (std::size_t id = 0; id < made_.size(); ++id) {
      if (!made_[id] && vocabulary_.types[id] == kNormalPiece) give_score(id);
    }
    check();
  }

 private:
  TokenId normal(const std::string& token) const {
    const auto id = spec_.vocabulary.find(token);
    return id && vocabulary_.types[static_cast<std::size_t>(*id)] == kNormalPiece ? *id : -1;
  }

  // Merges into or out of tokens that are found whole before are never met.
  void add(TokenId left, TokenId right, TokenId joined) {
    if (left < 0 || right < 0 || joined < 0) return;
    pairs_.insert(pair_key(left, right));
    if (joined == last_) return;
    last_ = joined;
    const auto id = static_cast<std::size_t>(joined);
    if (made_[id]) refuse_as_sentencepiece(context_, "the order of its merges");
    made_[id] = true;
    give_score(id);
  }

  void give_score(std::size_t id) { vocabulary_.scores[id] = 0.0 - static_cast<double>(rank_++); }

  void check() const {
    const std::vector<RankedMerge> merges = sentencepiece_merges(vocabulary_, spec_.vocabulary.ids);
    const bool same = merges.size() == pairs_.size() && std::ranges::all_of(merges, [&](const RankedMerge& merge) {
                        return pairs_.contains(pair_key(merge.left, merge.right));
                      });
    if (!same) refuse_as_sentencepiece(context_, "a vocabulary whose tokens cannot be merged in every way");
  }

  const PipelineSpec& spec_;
  SentencePieceVocabulary& vocabulary_;
  const std::string& context_;
  std::vector<bool> made_;
  std::unordered_set<std::uint64_t> pairs_;
  TokenId last_ = -1;
  std::int64_t rank_ = 0;
};

void refuse_other_bpe(const Json& model, const Preparation& preparation, const std::string& context) {
  if (preparation.cuts_words()) refuse_as_sentencepiece(context, "a Metaspace that cuts words apart before a BPE");
  if (bool_field(model, "ignore_merges", context, false)) refuse_as_sentencepiece(context, "ignore_merges");
  if (!bool_field(model, "fuse_unk", context, false) && !bool_field(model, "byte_fallback", context, false))
    refuse_as_sentencepiece(context, "fuse_unk false");
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!string_field(model, key, context, "").empty()) refuse_as_sentencepiece(context, std::string("its ") + key);
  }
}

}  // namespace

SentencePieceVocabulary sentencepiece_of_tokenizer_json(const Json& file, const PipelineSpec& spec,
                                                        std::vector<std::string>& notes, const std::string& context) {
  const Preparation preparation(file, context);
  const Json& model = object_field(file, "model", context);
  SentencePieceVocabulary vocabulary;
  vocabulary.bpe = spec.kind != "unigram";
  vocabulary.byte_fallback = bool_field(model, "byte_fallback", context, false);
  vocabulary.unk = spec.unk;
  vocabulary.normalization = preparation.said();
  vocabulary.pieces = spec.vocabulary.tokens;
  vocabulary.types = types_in_json(spec, vocabulary.byte_fallback);
  vocabulary.scores.resize(vocabulary.pieces.size());
  if (vocabulary.bpe) {
    refuse_other_bpe(model, preparation, context);
    RanksOfMerges(spec, vocabulary, context).read(model);
  } else {
    const Json& entries = array_field(model, "vocab", context);
    for (std::size_t id = 0; id < entries.size(); ++id) vocabulary.scores[id] = entries[id][1].get<double>();
  }
  if (preparation.prefixes_less())
    notes.push_back(
        "a text that begins with a space, or goes on behind a special token, gets a space in front of it, as the "
        "tokenizer.model of such a tokenizer.json has it");
  return vocabulary;
}

}  // namespace graft::text
