#include "text/hugging_face_tokenizer.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "checkpoint/source.h"
#include "text/loaders.h"

namespace graft {
namespace text {
namespace {

using Ordered = nlohmann::ordered_json;

Ordered vocabulary_of(const PipelineSpec& spec) {
  Ordered vocabulary = Ordered::object();
  auto& entries = vocabulary.get_ref<Ordered::object_t&>();
  // Appended unseen: looking for a key walks all of an ordered object.
  for (std::size_t id = 0; id < spec.vocabulary.tokens.size(); ++id) {
    if (!spec.vocabulary.tokens[id].empty()) entries.emplace_back(spec.vocabulary.tokens[id], id);
  }
  return vocabulary;
}

Ordered added_of(const PipelineSpec& spec) {
  Ordered added = Ordered::array();
  for (const AddedToken& token : spec.added) {
    added.push_back({{"id", token.id},
                     {"content", token.content},
                     {"single_word", token.single_word},
                     {"lstrip", token.lstrip},
                     {"rstrip", token.rstrip},
                     {"normalized", token.normalized},
                     {"special", token.special}});
  }
  return added;
}

// What is put around a text. The pair form is needed by the format, and is what the reference writes.
Ordered post_processor_of(const PipelineSpec& spec) {
  Ordered tokens = Ordered::object();
  const auto around = [&](const char* sequence) {
    Ordered parts = Ordered::array();
    const int type = *sequence == 'A' ? 0 : 1;
    const auto add = [&](const std::vector<TokenId>& ids) {
      for (const TokenId id : ids) {
        const std::string& content = spec.vocabulary.tokens[static_cast<std::size_t>(id)];
        parts.push_back({{"SpecialToken", {{"id", content}, {"type_id", type}}}});
        tokens[content] = {{"id", content}, {"ids", {id}}, {"tokens", {content}}};
      }
    };
    add(spec.prefix);
    parts.push_back({{"Sequence", {{"id", sequence}, {"type_id", type}}}});
    add(spec.suffix);
    return parts;
  };
  const Ordered single = around("A");
  Ordered pair = single;
  for (const auto& part : around("B")) pair.push_back(part);
  return {{"type", "TemplateProcessing"}, {"single", single}, {"pair", pair}, {"special_tokens", tokens}};
}

Ordered byte_level_model(const PipelineSpec& spec, const Json& metadata, const std::string& pre,
                         const std::string& context) {
  Ordered merges = Ordered::array();
  for (const Json& merge : array_field(metadata, "tokenizer.ggml.merges", context)) {
    const auto [left, right] = split_merge(merge.get<std::string>(), context);
    merges.push_back({left, right});
  }
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", gguf_ignores_merges(pre)},
          {"vocab", vocabulary_of(spec)},
          {"merges", merges}};
}

Ordered tokenizer_json(const PipelineSpec& spec, const Json& metadata, const std::string& context) {
  const std::string pre = string_field(metadata, "tokenizer.ggml.pre", context, "gpt-2");
  return {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens", added_of(spec)},
      {"normalizer", nullptr},
      {"pre_tokenizer", gguf_pre_tokenizer(pre, context)},
      {"post_processor", post_processor_of(spec)},
      {"decoder", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", true}}},
      {"model", byte_level_model(spec, metadata, pre, context)}};
}

Ordered config_json(const PipelineSpec& spec, const char* tokenizer_class) {
  Ordered config = {{"tokenizer_class", tokenizer_class}, {"clean_up_tokenization_spaces", false}};
  const auto set = [&](const char* key, std::optional<TokenId> id) {
    if (id) config[key] = spec.vocabulary.tokens[static_cast<std::size_t>(*id)];
  };
  set("bos_token", spec.bos);
  set("eos_token", spec.eos);
  set("pad_token", spec.pad);
  set("unk_token", spec.unk);
  if (!spec.chat_template.empty()) config["chat_template"] = spec.chat_template;
  return config;
}

// SentencePiece does not look for its control tokens in a text; Hugging Face does for those that are listed here.
Ordered listed_tokens(const SentencePieceVocabulary& vocabulary) {
  constexpr int kUnknown = 2, kControl = 3, kUserDefined = 4;
  Ordered listed = Ordered::object();
  for (std::size_t id = 0; id < vocabulary.pieces.size(); ++id) {
    const int type = vocabulary.types[id];
    if (type != kUnknown && type != kControl && type != kUserDefined) continue;
    listed[std::to_string(id)] = {{"content", vocabulary.pieces[id]},
                                  {"lstrip", false},
                                  {"normalized", false},
                                  {"rstrip", false},
                                  {"single_word", false},
                                  {"special", type != kUserDefined}};
  }
  return listed;
}

// The file of SentencePiece says which token is unknown by its type alone.
void refuse_other_unknown(const SentencePieceVocabulary& vocabulary, const std::string& context) {
  const auto typed = std::find(vocabulary.types.begin(), vocabulary.types.end(), 2);
  const auto id = typed == vocabulary.types.end()
                      ? std::nullopt
                      : std::optional(static_cast<TokenId>(typed - vocabulary.types.begin()));
  if (id != vocabulary.unk)
    fail(Category::Unsupported, context,
         "tokenizer.ggml.unknown_token_id and the types of the tokens name different unknown tokens, so that the "
         "tokenizer cannot be written as tokenizer.model; copy the model's own beside the weights");
}

TokenizerFiles sentencepiece_files(const PipelineSpec& spec, const Json& metadata, const std::string& context) {
  const SentencePieceVocabulary vocabulary = sentencepiece_of_gguf(metadata, context);
  refuse_other_unknown(vocabulary, context);
  const bool unigram = !vocabulary.bpe;
  Ordered config = config_json(spec, unigram ? "T5Tokenizer" : "LlamaTokenizer");
  if (unigram) config["extra_ids"] = 0;  // they are pieces of the file
  config["add_bos_token"] = !spec.prefix.empty();
  config["add_eos_token"] = !spec.suffix.empty();
  config["add_prefix_space"] = vocabulary.normalization.add_dummy_prefix;
  config["legacy"] = true;  // a space before what follows a special token, as llama.cpp puts it
  config["added_tokens_decoder"] = listed_tokens(vocabulary);
  return {nullptr, config, write_sentencepiece(vocabulary, {spec.bos, spec.eos, spec.pad}),
          unigram ? "spiece.model" : "tokenizer.model"};
}

}  // namespace
}  // namespace text

TokenizerFiles hugging_face_tokenizer(const std::filesystem::path& gguf) {
  const auto source = open_checkpoint(gguf);
  const text::Json& metadata = source->metadata();
  const text::PipelineSpec spec = text::spec_of_gguf(metadata, gguf.string());
  const std::string model = text::string_field(metadata, "tokenizer.ggml.model", gguf.string());
  if (model != "gpt2") return text::sentencepiece_files(spec, metadata, gguf.string());
  return {text::tokenizer_json(spec, metadata, gguf.string()), text::config_json(spec, "PreTrainedTokenizerFast"), "",
          ""};
}

}  // namespace graft
