#include "text/tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/source.h"
#include "text/loaders.h"

namespace graft {
namespace text {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAddedTokens = "added_tokens_decoder";  // of tokenizer_config.json

Json read_json_if_present(const fs::path& path) {
  return fs::exists(path) ? parse_json(MappedFile(path).text(), path.string()) : Json();
}

// A special token is written as a string or as an object with its content.
std::string content_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_object() && value.contains("content") && value["content"].is_string())
    return value["content"].get<std::string>();
  return "";
}

std::optional<TokenId> id_of(const PipelineSpec& spec, const std::string& content) {
  for (const AddedToken& token : spec.added) {
    if (token.content == content) return token.id;
  }
  return spec.vocabulary.find(content);
}

// The added tokens of a spec by their contents: a model may have thousands, each of them listed by several files.
class AddedTokens {
 public:
  AddedTokens(PipelineSpec& spec, bool own_pieces) : spec_(spec), own_pieces_(own_pieces) {
    for (const AddedToken& token : spec.added) contents_.insert(token.content);
  }

  // A token is looked for whole where a file lists it. But SentencePiece's own file says itself how its pieces are
  // found.
  bool finds(const std::string& content) const {
    return contents_.contains(content) || (own_pieces_ && spec_.vocabulary.find(content).has_value());
  }

  void add(AddedToken token) {
    contents_.insert(token.content);
    spec_.added.push_back(std::move(token));
  }

 private:
  PipelineSpec& spec_;
  bool own_pieces_;
  std::unordered_set<std::string> contents_;
};

void apply_added_tokens(const Vocabulary& vocabulary, AddedTokens& added, const Json& list,
                        const std::string& context) {
  for (const auto& [key, entry] : list.items()) {
    AddedToken token;
    token.content = string_field(entry, "content", context);
    if (token.content.empty() || added.finds(token.content)) continue;
    if (key.empty() || key.size() > 9 || key.find_first_not_of("0123456789") != std::string::npos) {
      fail(Category::Corruption, context, "'{}' in {} is no token id", key, kAddedTokens);
    }
    // As in tokenizer.json the vocabulary's own id wins.
    token.id = vocabulary.find(token.content).value_or(static_cast<TokenId>(std::stol(key)));
    read_flags(entry, context, token);
    added.add(std::move(token));
  }
}

// Special tokens without a part of their own, under the names of all times: a list, or by name.
std::vector<Json> further_special(const Json& config, const std::string& context) {
  std::vector<Json> entries;
  for (const char* key : {"sep_token", "cls_token", "mask_token"}) {
    if (const Json* value = find_field(config, key, context)) entries.push_back(*value);
  }
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"}) {
    const Json* value = find_field(config, key, context);
    if (value == nullptr || !value->is_structured()) continue;
    for (const Json& entry : *value) entries.push_back(entry);
  }
  return entries;
}

void add_further_special(const Vocabulary& vocabulary, AddedTokens& added, const Json& entry,
                         const std::string& context) {
  AddedToken token;
  token.content = content_of(entry);
  // One that has no id in any file is in no model's vocabulary either.
  const auto id = vocabulary.find(token.content);
  if (!id.has_value() || added.finds(token.content)) return;
  token.id = *id;
  if (entry.is_object()) {
    read_flags(entry, context, token);
    token.normalized = bool_field(entry, "normalized", context, false);
  }
  token.special = true;
  added.add(std::move(token));
}

std::vector<std::string> special_contents(const Json& config, const std::string& context) {
  std::vector<std::string> contents;
  if (!config.is_object()) return contents;
  for (const char* key : {"bos_token", "eos_token", "pad_token", "unk_token"}) {
    if (const Json* value = find_field(config, key, context)) contents.push_back(content_of(*value));
  }
  for (const Json& entry : further_special(config, context)) contents.push_back(content_of(entry));
  return contents;
}

// added_tokens.json, in which Hugging Face kept contents and ids before tokenizer_config.json listed them.
void apply_added_file(PipelineSpec& spec, const fs::path& path, const std::vector<std::string>& special,
                      bool own_pieces) {
  const Json file = read_json_if_present(path);
  if (file.is_null()) return;
  if (!file.is_object()) fail(Category::Corruption, path.string(), "must be an object of tokens and ids");
  const std::unordered_set<std::string> specials(special.begin(), special.end());
  AddedTokens added(spec, own_pieces);
  for (const auto& [content, id] : file.items()) {
    constexpr std::int64_t kMostTokens = 1'000'000'000;
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() >= kMostTokens)
      fail(Category::Corruption, path.string(), "the id of token '{}' is no whole number from 0", content);
    if (content.empty() || added.finds(content)) continue;
    AddedToken token;
    token.id = spec.vocabulary.find(content).value_or(static_cast<TokenId>(id.get<std::int64_t>()));
    token.content = content;
    token.special = specials.contains(content);
    token.normalized = !token.special;
    added.add(std::move(token));
  }
}

// A list of named templates has one called "default".
std::string chat_template_of(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_array()) return "";
  for (const Json& entry : value) {
    const bool named = entry.is_object() && entry.value("name", Json()) == "default" && entry.contains("template");
    if (named && entry["template"].is_string()) return entry["template"].get<std::string>();
  }
  return "";
}

bool is_byt5(const Json& config) {
  return config.is_object() && config.value("tokenizer_class", Json()) == "ByT5Tokenizer";
}

PipelineSpec spec_of_file(const fs::path& path, const Json& config) {
  const std::string name = path.filename().string();
  if (name.ends_with(".gguf")) return spec_of_gguf(open_checkpoint(path)->metadata(), path.string());
  if (name.ends_with(".model")) return spec_of_sentencepiece(MappedFile(path).text(), config, path.string());
  if (name == "vocab.json" || name == "merges.txt") {
    return spec_of_vocab_and_merges(path.parent_path() / "vocab.json", path.parent_path() / "merges.txt", config);
  }
  if (name.ends_with(".json")) {
    const Json json = parse_json(MappedFile(path).text(), path.string());
    return is_byt5(json) ? spec_of_byt5(json, path.string()) : spec_of_tokenizer_json(json, path.string());
  }
  fail(Category::Unsupported, path.string(),
       "is no tokenizer; give a folder, tokenizer.json, vocab.json, a .model or a .gguf file");
}

fs::path file_in_folder(const fs::path& folder) {
  if (fs::exists(folder / "tokenizer.json")) return folder / "tokenizer.json";
  if (fs::exists(folder / "vocab.json") && fs::exists(folder / "merges.txt")) return folder / "vocab.json";
  for (const char* name : {"spiece.model", "tokenizer.model", "sentencepiece.bpe.model"}) {
    if (fs::exists(folder / name)) return folder / name;
  }
  for (const char* name : {"tokenizer_config.json", "config.json"}) {
    if (is_byt5(read_json_if_present(folder / name))) return folder / name;
  }
  std::vector<fs::path> gguf;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".gguf") gguf.push_back(entry.path());
  }
  if (!gguf.empty()) return *std::ranges::min_element(gguf);
  fail(Category::NotFound, folder.string(),
       "holds no tokenizer: looked for tokenizer.json, vocab.json with merges.txt, spiece.model, tokenizer.model, "
       "sentencepiece.bpe.model and a .gguf file");
}

// What tokenizer_config.json and special_tokens_map.json say beyond the tokenizer's own file: bos, eos, pad, unk, added
// and further special tokens, the chat template.
void apply_config(PipelineSpec& spec, const Json& config, bool own_pieces, const std::string& context) {
  if (!config.is_object()) return;
  AddedTokens added(spec, own_pieces);
  if (const Json* list = find_field(config, kAddedTokens, context)) {
    if (!list->is_object()) fail(Category::Corruption, context, "{} must be an object", kAddedTokens);
    apply_added_tokens(spec.vocabulary, added, *list, context);
  }
  const auto set = [&](const char* key, std::optional<TokenId>& target) {
    const Json* value = find_field(config, key, context);
    if (value == nullptr) return;
    const std::string content = content_of(*value);
    const auto id = id_of(spec, content);
    if (!id.has_value()) return;
    target = id;
    const bool known = std::ranges::any_of(spec.added, [&](const AddedToken& token) { return token.id == *id; });
    if (!known) added.add({.id = *id, .content = content, .special = true});
  };
  set("bos_token", spec.bos);
  set("eos_token", spec.eos);
  set("pad_token", spec.pad);
  set("unk_token", spec.unk);
  for (const Json& entry : further_special(config, context))
    add_further_special(spec.vocabulary, added, entry, context);
  if (const Json* source = find_field(config, "chat_template", context)) spec.chat_template = chat_template_of(*source);
}

}  // namespace

fs::path tokenizer_file(const fs::path& path) {
  if (!fs::exists(path)) fail(Category::NotFound, path.string(), "no such file or folder");
  return fs::is_directory(path) ? file_in_folder(path) : path;
}

PipelineSpec spec_of_model(const fs::path& file) {
  const fs::path folder = file.parent_path();
  const fs::path config_path = folder / "tokenizer_config.json";
  const fs::path map_path = folder / "special_tokens_map.json";
  const Json config = read_json_if_present(config_path);
  PipelineSpec spec = spec_of_file(file, config);
  // A GGUF file says all of it itself.
  if (file.extension() == ".gguf") return spec;
  const Json map = read_json_if_present(map_path);
  const bool own_pieces = file.extension() == ".model";
  // tokenizer.json holds its added tokens itself, and the later list replaced the earlier file.
  const bool listed = file.filename() == "tokenizer.json" || (config.is_object() && config.contains(kAddedTokens));
  if (!listed) {
    auto special = special_contents(map, map_path.string());
    std::ranges::copy(special_contents(config, config_path.string()), std::back_inserter(special));
    apply_added_file(spec, folder / "added_tokens.json", special, own_pieces);
  }
  apply_config(spec, map, own_pieces, map_path.string());
  apply_config(spec, config, own_pieces, config_path.string());
  if (fs::exists(folder / "chat_template.jinja")) spec.chat_template = read_file(folder / "chat_template.jinja");
  return spec;
}

}  // namespace text

std::shared_ptr<const Tokenizer> open_tokenizer(const std::filesystem::path& path) {
  const std::filesystem::path file = text::tokenizer_file(path);
  text::PipelineSpec spec = text::spec_of_model(file);
  try {
    return std::make_shared<text::Pipeline>(std::move(spec));
  } catch (const Error& error) {  // an added token that takes another's id, wherever it is listed
    throw error.within(file.string());
  }
}

}  // namespace graft
