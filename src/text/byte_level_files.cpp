// Byte-level BPE outside tokenizer.json: vocab.json + merges.txt, and GGUF's "gpt2" model.
#include <algorithm>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "text/loaders.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

const Json* optional_array(const Json& metadata, const char* key, const std::string& context) {
  return find_field(metadata, key, context) == nullptr ? nullptr : &array_field(metadata, key, context);
}

std::string text_of(const Json& value, const char* key, const std::string& context) {
  if (!value.is_string()) fail(Category::Corruption, context, "field '{}' must hold strings", key);
  std::string storage;
  return std::string(valid_utf8(value.get_ref<const std::string&>(), storage));
}

std::vector<std::string> strings_of(const Json& metadata, const char* key, const std::string& context) {
  std::vector<std::string> strings;
  for (const Json& value : array_field(metadata, key, context)) strings.push_back(text_of(value, key, context));
  return strings;
}

std::vector<int> types_of(const Json& metadata, std::size_t count, const std::string& context) {
  std::vector<int> types(count, 1);
  const Json* list = optional_array(metadata, "tokenizer.ggml.token_type", context);
  if (list == nullptr) return types;
  if (list->size() != count)
    fail(Category::Corruption, context, "tokenizer.ggml.token_type has {} entries for {} tokens", list->size(), count);
  for (std::size_t index = 0; index < count; ++index) {
    if (!(*list)[index].is_number_integer())
      fail(Category::Corruption, context, "tokenizer.ggml.token_type must hold integers");
    types[index] = static_cast<int>((*list)[index].get<std::int64_t>());
  }
  return types;
}

std::optional<TokenId> id_field(const Json& metadata, const char* key, std::size_t size, const std::string& context) {
  if (find_field(metadata, key, context) == nullptr) return std::nullopt;
  const std::int64_t id = integer_field(metadata, key, context);
  if (id < 0 || id >= static_cast<std::int64_t>(size))
    fail(Category::Corruption, context, "{} is {}, outside the vocabulary of {} tokens", key, id, size);
  return static_cast<TokenId>(id);
}

void set_gpt2(PipelineSpec& spec, const Json& metadata, const std::vector<std::string>& tokens,
              const std::vector<int>& types, const std::string& context) {
  constexpr int kControl = 3, kUserDefined = 4, kUnused = 5;
  spec.vocabulary.ids.reserve(tokens.size());
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    if (types[id] == kUnused || tokens[id].empty()) continue;
    spec.vocabulary.put(tokens[id], static_cast<std::int64_t>(id), tokens.size(), context);
    if (types[id] == kControl || types[id] == kUserDefined) {
      spec.added.push_back({.id = static_cast<TokenId>(id), .content = tokens[id], .special = types[id] == kControl});
    }
  }
  const std::vector<std::string> lines = strings_of(metadata, "tokenizer.ggml.merges", context);
  std::vector<std::pair<std::string, std::string>> merges;
  merges.reserve(lines.size());
  for (const std::string& line : lines) merges.push_back(split_merge(line, context));
  const std::string pre = string_field(metadata, "tokenizer.ggml.pre", context, "gpt-2");
  spec.pre = make_pre_tokenization(gguf_pre_tokenizer(pre, context), context);
  spec.decoder = make_decoder({{"type", "ByteLevel"}}, context);
  BpeOptions options;
  options.byte_level = true;
  options.ignore_merges = gguf_ignores_merges(pre);
  set_bpe(spec, merges, std::move(options), context);
}

SentencePieceVocabulary sentencepiece_of(const Json& metadata, std::vector<std::string> tokens, std::vector<int> types,
                                         bool bpe, const std::string& context) {
  SentencePieceVocabulary vocabulary;
  vocabulary.bpe = bpe;
  vocabulary.byte_fallback = std::ranges::find(types, 6) != types.end();
  for (const Json& score : array_field(metadata, "tokenizer.ggml.scores", context)) {
    if (!score.is_number()) fail(Category::Corruption, context, "tokenizer.ggml.scores must hold numbers");
    vocabulary.scores.push_back(score.get<double>());
  }
  vocabulary.unk = id_field(metadata, "tokenizer.ggml.unknown_token_id", tokens.size(), context);
  vocabulary.normalization.add_dummy_prefix = bool_field(metadata, "tokenizer.ggml.add_space_prefix", context, true);
  vocabulary.normalization.remove_extra_whitespaces =
      bool_field(metadata, "tokenizer.ggml.remove_extra_whitespaces", context, !bpe);
  if (const Json* map = optional_array(metadata, "tokenizer.ggml.precompiled_charsmap", context)) {
    for (const Json& byte : *map) {
      if (!byte.is_number_integer())
        fail(Category::Corruption, context, "tokenizer.ggml.precompiled_charsmap must hold bytes");
      vocabulary.normalization.precompiled_charsmap.push_back(static_cast<char>(byte.get<std::int64_t>()));
    }
  }
  vocabulary.pieces = std::move(tokens);
  vocabulary.types = std::move(types);
  return vocabulary;
}

}  // namespace

PipelineSpec spec_of_vocab_and_merges(const std::filesystem::path& vocab, const std::filesystem::path& merges,
                                      const Json& config) {
  PipelineSpec spec;
  const std::string context = vocab.string();
  const Json file = parse_json(MappedFile(vocab).text(), context);
  if (!file.is_object()) fail(Category::Corruption, context, "must be an object of tokens and ids");
  for (const auto& [token, id] : file.items()) {
    if (!id.is_number_integer()) fail(Category::Corruption, context, "the id of token '{}' must be an integer", token);
    spec.vocabulary.put(token, id.get<std::int64_t>(), file.size(), context);
  }
  std::vector<std::pair<std::string, std::string>> pairs;
  std::istringstream lines(read_file(merges));
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty() || line.starts_with("#version")) continue;
    pairs.push_back(split_merge(line, merges.string()));
  }
  const std::string name = config.is_object() ? string_field(config, "tokenizer_class", context, "") : "";
  const bool qwen = name.starts_with("Qwen2");
  if (qwen) spec.normalizer = make_normalizer({{"type", "NFC"}}, context);
  spec.pre = make_pre_tokenization(gguf_pre_tokenizer(qwen ? "qwen2" : "gpt-2", context), context);
  spec.decoder = make_decoder({{"type", "ByteLevel"}}, context);
  BpeOptions options;
  options.byte_level = true;
  set_bpe(spec, pairs, std::move(options), merges.string());
  if (const auto end = spec.vocabulary.find("<|endoftext|>")) {
    spec.added.push_back({.id = *end, .content = "<|endoftext|>", .special = true});
    spec.bos = spec.eos = spec.unk = end;
  }
  return spec;
}

SentencePieceVocabulary sentencepiece_of_gguf(const Json& metadata, const std::string& context) {
  std::vector<std::string> tokens = strings_of(metadata, "tokenizer.ggml.tokens", context);
  std::vector<int> types = types_of(metadata, tokens.size(), context);
  const bool bpe = string_field(metadata, "tokenizer.ggml.model", context) == "llama";
  return sentencepiece_of(metadata, std::move(tokens), std::move(types), bpe, context);
}

PipelineSpec spec_of_gguf(const Json& metadata, const std::string& context) {
  if (find_field(metadata, "tokenizer.ggml.model", context) == nullptr)
    fail(Category::NotFound, context,
         "holds no tokenizer (its metadata has no tokenizer.ggml.model); use a file that has one, or the model's "
         "folder");
  PipelineSpec spec;
  const std::string model = string_field(metadata, "tokenizer.ggml.model", context);
  std::vector<std::string> tokens = strings_of(metadata, "tokenizer.ggml.tokens", context);
  std::vector<int> types = types_of(metadata, tokens.size(), context);
  const std::size_t size = tokens.size();
  if (model == "gpt2") {
    set_gpt2(spec, metadata, tokens, types, context);
  } else if (model == "llama" || model == "t5") {
    set_sentencepiece(spec, sentencepiece_of(metadata, std::move(tokens), std::move(types), model == "llama", context),
                      context);
  } else {
    fail(Category::Unsupported, context, "the tokenizer model '{}' is not supported (known: gpt2, llama, t5)", model);
  }
  spec.bos = id_field(metadata, "tokenizer.ggml.bos_token_id", size, context);
  spec.eos = id_field(metadata, "tokenizer.ggml.eos_token_id", size, context);
  spec.pad = id_field(metadata, "tokenizer.ggml.padding_token_id", size, context);
  spec.unk = id_field(metadata, "tokenizer.ggml.unknown_token_id", size, context);
  if (bool_field(metadata, "tokenizer.ggml.add_bos_token", context, model == "llama") && spec.bos.has_value())
    spec.prefix = {*spec.bos};
  if (bool_field(metadata, "tokenizer.ggml.add_eos_token", context, model == "t5") && spec.eos.has_value())
    spec.suffix = {*spec.eos};
  spec.chat_template = string_field(metadata, "tokenizer.chat_template", context, "");
  return spec;
}

}  // namespace graft::text
