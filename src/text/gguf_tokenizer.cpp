#include "text/gguf_tokenizer.h"

#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "text/loaders.h"

namespace graft {
namespace text {
namespace {

namespace fs = std::filesystem;

constexpr int kNormalToken = 1, kControlToken = 3, kUserToken = 4, kUnusedToken = 5;

// What llama.cpp's converter gives to tokens that SentencePiece's own file does not know.
constexpr double kAddedScore = -1000, kUnusedScore = -10000;

struct GgufTokens {
  std::vector<std::string> contents;
  std::vector<int> types;
  std::vector<double> scores;
};

[[noreturn]] void refuse_tokenizer(const std::string& context, const std::string& what) {
  fail(Category::Unsupported, context, "{} has no words in a GGUF file, so the model stays a folder", what);
}

GgufTokens unused_tokens(std::int64_t vocabulary) {
  GgufTokens tokens;
  for (std::int64_t id = 0; id < vocabulary; ++id) tokens.contents.push_back(fmt::format("[PAD{}]", id));
  tokens.types.assign(tokens.contents.size(), kUnusedToken);
  tokens.scores.assign(tokens.contents.size(), kUnusedScore);
  return tokens;
}

void put_token(GgufTokens& tokens, std::size_t id, const std::string& content, int type, double score,
               const std::string& context) {
  if (id >= tokens.contents.size())
    fail(Category::InvalidArgument, context,
         "has a token of id {}, the model has {} tokens; they do not belong together, fetch the model's own", id,
         tokens.contents.size());
  tokens.contents[id] = content;
  tokens.types[id] = type;
  tokens.scores[id] = score;
}

// Found in a text before anything else looks at it; those that a model's own file types keep their type.
void put_added(GgufTokens& tokens, const PipelineSpec& spec, const std::string& context) {
  for (const AddedToken& token : spec.added) {
    const auto id = static_cast<std::size_t>(token.id);
    const bool typed = id < tokens.types.size() && tokens.types[id] != kNormalToken && tokens.types[id] != kUnusedToken;
    if (!typed) put_token(tokens, id, token.content, token.special ? kControlToken : kUserToken, kAddedScore, context);
  }
}

// Whether `ids`, which are put around a text, are nothing or the one token that a flag stands for.
bool flag_of(const std::vector<TokenId>& ids, std::optional<TokenId> token, const std::string& context) {
  if (ids.empty()) return false;
  if (ids.size() > 1 || token != ids.front())
    refuse_tokenizer(context, "what the post-processor puts around a text, more than its first and its last token,");
  return true;
}

Json common_keys(const PipelineSpec& spec, const std::string& model, const GgufTokens& tokens,
                 const std::string& context) {
  Json keys = {{"tokenizer.ggml.model", model},
               {"tokenizer.ggml.tokens", tokens.contents},
               {"tokenizer.ggml.token_type", tokens.types},
               {"tokenizer.ggml.add_bos_token", flag_of(spec.prefix, spec.bos, context)},
               {"tokenizer.ggml.add_eos_token", flag_of(spec.suffix, spec.eos, context)}};
  const auto set = [&](const char* key, std::optional<TokenId> id) {
    if (id) keys[key] = static_cast<std::uint64_t>(*id);
  };
  set("tokenizer.ggml.bos_token_id", spec.bos);
  set("tokenizer.ggml.eos_token_id", spec.eos);
  set("tokenizer.ggml.padding_token_id", spec.pad);
  set("tokenizer.ggml.unknown_token_id", spec.unk);
  if (!spec.chat_template.empty()) keys["tokenizer.chat_template"] = spec.chat_template;
  return keys;
}

// A pre-tokenizer without what cuts no text differently.
Json essential(Json component) {
  if (!component.is_object()) return component;
  component.erase("trim_offsets");
  const Json type = component.value("type", Json());
  if (type == "ByteLevel" && !component.contains("use_regex")) component["use_regex"] = true;
  if (type != "Sequence" || !component.contains("pretokenizers")) return component;
  Json steps = Json::array();
  for (const Json& step : component["pretokenizers"]) steps.push_back(essential(step));
  // OLMo 2 and Phi-4 remove what is between the matches of a pattern, which matches everything. So do the patterns of
  // all names that have but one.
  if (steps.size() == 2 && steps[0].value("behavior", Json()) == "Removed" &&
      steps[0].value("invert", Json()) == true) {
    steps[0]["behavior"] = "Isolated";
    steps[0]["invert"] = false;
  }
  return steps.size() == 1 ? steps.front() : Json{{"type", "Sequence"}, {"pretokenizers", steps}};
}

// llama.cpp knows pre-tokenizers by names of its own.
std::string name_of_pre_tokenizer(const Json& file, const std::string& context) {
  const Json* component = find_field(file, "pre_tokenizer", context);
  const Json wanted = component == nullptr ? Json() : essential(*component);
  const bool whole = bool_field(object_field(file, "model", context), "ignore_merges", context, false);
  const std::vector<std::string> names = gguf_pre_tokenizer_names();
  for (const std::string& name : names) {
    if (gguf_ignores_merges(name) == whole && essential(gguf_pre_tokenizer(name, context)) == wanted) return name;
  }
  refuse_tokenizer(context, fmt::format("its pre_tokenizer (known: those of {})", fmt::join(names, ", ")));
}

void refuse_normalizer(const Json& file, const std::string& context) {
  const Json* normalizer = find_field(file, "normalizer", context);
  if (normalizer == nullptr || type_of(*normalizer, context) == "NFC") return;
  refuse_tokenizer(context, "its normalizer '" + type_of(*normalizer, context) + "'");
}

void refuse_affixes(const Json& model, const std::string& context) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!string_field(model, key, context, "").empty()) refuse_tokenizer(context, std::string("its ") + key);
  }
}

std::vector<std::string> merges_of_json(const Json& model, const std::string& context) {
  std::vector<std::string> merges;
  for (const Json& merge : array_field(model, "merges", context)) {
    // The reader of the tokenizer has seen that it is one or the other.
    merges.push_back(merge.is_string() ? merge.get<std::string>()
                                       : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  return merges;
}

std::vector<std::string> merges_of_lines(const fs::path& file) {
  std::vector<std::string> merges;
  std::istringstream lines(read_file(file));
  for (std::string line; std::getline(lines, line);) {
    if (line.ends_with('\r')) line.pop_back();
    if (!line.empty() && !line.starts_with("#version")) merges.push_back(line);
  }
  return merges;
}

Json byte_level_keys(const PipelineSpec& spec, std::int64_t vocabulary, const std::vector<std::string>& merges,
                     const std::string& pre, const std::string& context) {
  GgufTokens tokens = unused_tokens(vocabulary);
  for (std::size_t id = 0; id < spec.vocabulary.tokens.size(); ++id) {
    if (!spec.vocabulary.tokens[id].empty())
      put_token(tokens, id, spec.vocabulary.tokens[id], kNormalToken, 0, context);
  }
  put_added(tokens, spec, context);
  Json keys = common_keys(spec, "gpt2", tokens, context);
  keys["tokenizer.ggml.pre"] = pre;
  keys["tokenizer.ggml.merges"] = merges;
  return keys;
}

void refuse_sentencepiece_variants(const SentencePieceVocabulary& vocabulary, const std::string& context) {
  if (vocabulary.bpe && !vocabulary.normalization.precompiled_charsmap.empty())
    refuse_tokenizer(context, "a BPE that normalises its texts by a table of its own");
  if (!vocabulary.normalization.escape_whitespaces) refuse_tokenizer(context, "escape_whitespaces false");
}

Json bytes_of(const std::string& text) {
  return Json::binary(std::vector<std::uint8_t>(text.begin(), text.end()));
}

Json sentencepiece_keys(const SentencePieceVocabulary& pieces, const PipelineSpec& spec, std::int64_t vocabulary,
                        const std::string& context) {
  refuse_sentencepiece_variants(pieces, context);
  GgufTokens tokens = unused_tokens(vocabulary);
  for (std::size_t id = 0; id < pieces.pieces.size(); ++id) {
    if (!pieces.pieces[id].empty())
      put_token(tokens, id, pieces.pieces[id], pieces.types[id], pieces.scores[id], context);
  }
  put_added(tokens, spec, context);
  Json keys = common_keys(spec, pieces.bpe ? "llama" : "t5", tokens, context);
  keys["tokenizer.ggml.pre"] = "default";
  keys["tokenizer.ggml.scores"] = tokens.scores;
  keys["tokenizer.ggml.add_space_prefix"] = pieces.normalization.add_dummy_prefix;
  keys["tokenizer.ggml.remove_extra_whitespaces"] = pieces.normalization.remove_extra_whitespaces;
  const std::string& map = pieces.normalization.precompiled_charsmap;
  if (!map.empty()) keys["tokenizer.ggml.precompiled_charsmap"] = bytes_of(map);
  return keys;
}

Json keys_of_sentencepiece_file(const fs::path& file, std::int64_t vocabulary) {
  const std::string context = file.string();
  return sentencepiece_keys(sentencepiece_of_model(MappedFile(file).text(), context), spec_of_model(file), vocabulary,
                            context);
}

Json keys_of_tokenizer_json(const fs::path& file, std::int64_t vocabulary, std::vector<std::string>& notes) {
  const std::string context = file.string();
  const PipelineSpec spec = spec_of_model(file);
  const bool byte_level = spec.kind == "byte-level BPE";
  // What was SentencePiece's before it became tokenizer.json often lies beside it.
  for (const char* original : {"tokenizer.model", "spiece.model"}) {
    if (!byte_level && fs::exists(file.parent_path() / original))
      return keys_of_sentencepiece_file(file.parent_path() / original, vocabulary);
  }
  const Json json = parse_json(MappedFile(file).text(), context);
  if (!byte_level)
    return sentencepiece_keys(sentencepiece_of_tokenizer_json(json, spec, notes, context), spec, vocabulary, context);
  const Json& model = object_field(json, "model", context);
  refuse_normalizer(json, context);
  refuse_affixes(model, context);
  return byte_level_keys(spec, vocabulary, merges_of_json(model, context), name_of_pre_tokenizer(json, context),
                         context);
}

Json keys_of_vocab_and_merges(const fs::path& file, std::int64_t vocabulary) {
  const PipelineSpec spec = spec_of_model(file);
  const std::string pre = spec.normalizer == nullptr ? "gpt-2" : "qwen2";  // only Qwen2's has one
  return byte_level_keys(spec, vocabulary, merges_of_lines(file.parent_path() / "merges.txt"), pre, file.string());
}

}  // namespace
}  // namespace text

nlohmann::json gguf_tokenizer(const std::filesystem::path& folder, std::int64_t vocabulary,
                              std::vector<std::string>& notes) {
  const std::filesystem::path file = text::tokenizer_file(folder);
  const std::string name = file.filename().string();
  if (name == "tokenizer.json") return text::keys_of_tokenizer_json(file, vocabulary, notes);
  if (name == "vocab.json") return text::keys_of_vocab_and_merges(file, vocabulary);
  if (name.ends_with(".model")) return text::keys_of_sentencepiece_file(file, vocabulary);
  text::refuse_tokenizer(file.string(), "a tokenizer of bytes (ByT5's)");
}

}  // namespace graft
