// One reader for each file format a tokenizer comes in; each gives the spec of the one pipeline.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/bpe.h"
#include "text/json_fields.h"
#include "text/pipeline.h"

namespace graft::text {

/// A SentencePiece vocabulary as its file or a GGUF describes it. Types: 1 normal, 2 unknown, 3 control, 4
/// user-defined, 5 unused, 6 byte.
struct SentencePieceVocabulary {
  std::vector<std::string> pieces;
  std::vector<double> scores;
  std::vector<int> types;
  bool bpe = false;
  bool byte_fallback = false;
  std::optional<TokenId> unk;
  SentencePieceNormalization normalization;
  std::string unk_surface = " \xE2\x81\x87 ";
};

/// The file that says most of the tokenizer of a folder, or `path` itself where it is a file. Throws NotFound.
std::filesystem::path tokenizer_file(const std::filesystem::path& path);

/// Any of the files that open_tokenizer reads, with what lies beside it: special_tokens_map.json, tokenizer_config.json
/// and, where neither it nor tokenizer.json lists the added tokens, added_tokens.json; chat_template.jinja. Throws as
/// open_tokenizer.
PipelineSpec spec_of_model(const std::filesystem::path& file);

/// Hugging Face's tokenizers format.
PipelineSpec spec_of_tokenizer_json(const Json& file, const std::string& context);

/// vocab.json and merges.txt of a byte-level BPE; `config` (tokenizer_config.json or null) may name the class: Qwen2
/// has its own pattern, everything else is GPT-2's.
PipelineSpec spec_of_vocab_and_merges(const std::filesystem::path& vocab, const std::filesystem::path& merges,
                                      const Json& config);

/// The tokenizer.* metadata of a GGUF file: models "gpt2", "llama" and "t5".
PipelineSpec spec_of_gguf(const Json& metadata, const std::string& context);

/// The pre-tokenizer that tokenizer.ggml.pre names (llama.cpp's llama-vocab.cpp), as tokenizer.json writes it. Throws
/// Unsupported (nearest name).
Json gguf_pre_tokenizer(const std::string& name, const std::string& context);
/// Whether its models take a piece that is a token whole, whatever the merges say.
bool gguf_ignores_merges(const std::string& name);
/// A name for each pre-tokenizer that a GGUF file can be written with.
std::vector<std::string> gguf_pre_tokenizer_names();

/// A raw SentencePiece model, cut as SentencePiece cuts it. `config` may be null.
PipelineSpec spec_of_sentencepiece(std::string_view model, const Json& config, const std::string& context);

/// The vocabulary of a raw SentencePiece model. Throws Corruption, Unsupported.
SentencePieceVocabulary sentencepiece_of_model(std::string_view model, const std::string& context);

/// ByT5's byte tokens: a byte is its number and 3, sentinels follow. `config` (tokenizer_config.json, or config.json
/// where that alone names the class) lists or counts them; 125 where it does neither.
PipelineSpec spec_of_byt5(const Json& config, const std::string& context);

/// The flags of an added token, which every Hugging Face file writes alike: special, single_word, lstrip, rstrip,
/// normalized (by default where it is not special).
void read_flags(const Json& entry, const std::string& context, AddedToken& token);

/// The model of a byte-level or plain BPE and its hash, from merges written as two tokens each.
/// Throws Corruption for a merge that names a token outside the vocabulary.
void set_bpe(PipelineSpec& spec, const std::vector<std::pair<std::string, std::string>>& merges, BpeOptions options,
             const std::string& context);

/// Splits "left right". Throws Corruption.
std::pair<std::string, std::string> split_merge(const std::string& line, const std::string& context);

/// The vocabulary that a tokenizer.json was made of; `spec` is what was read of it and of what lies beside. Scores of a
/// BPE are the order of its merges. Where it puts fewer spaces before a text than SentencePiece does, `notes` gets a
/// line. Throws Unsupported for one that SentencePiece's files have no words for (names the part).
SentencePieceVocabulary sentencepiece_of_tokenizer_json(const Json& file, const PipelineSpec& spec,
                                                        std::vector<std::string>& notes, const std::string& context);

/// What SentencePiece's BPE joins: of every normal piece each cut into two normal pieces, ranked by the piece's score.
std::vector<RankedMerge> sentencepiece_merges(const SentencePieceVocabulary& vocabulary, const TokenMap& ids);

/// Makes it the model of a pipeline. Throws Corruption for scores and types that do not fit the pieces.
void set_sentencepiece(PipelineSpec& spec, SentencePieceVocabulary vocabulary, const std::string& context);

/// That of a GGUF file whose tokenizer.ggml.model is "llama" (BPE) or "t5" (unigram).
SentencePieceVocabulary sentencepiece_of_gguf(const Json& metadata, const std::string& context);

struct SpecialIds {
  std::optional<TokenId> bos, eos, pad;
};

/// SentencePiece's own file (a ModelProto), which spec_of_sentencepiece reads into the same vocabulary; scores are
/// rounded to float. A piece of type 2 is the unknown token there, whatever `unk` says.
std::string write_sentencepiece(const SentencePieceVocabulary& vocabulary, const SpecialIds& ids);

}  // namespace graft::text
