#include "text/tokenizer.h"

#include <algorithm>
#include <filesystem>

#include "base/error.h"
#include "base/file.h"
#include "checkpoint/source.h"
#include "text/loaders.h"

namespace graft {
namespace text {
namespace {

namespace fs = std::filesystem;

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

void apply_added_tokens(PipelineSpec& spec, const Json& list, const std::string& context) {
  for (const auto& [key, entry] : list.items()) {
    AddedToken token;
    token.content = string_field(entry, "content", context);
    if (token.content.empty() || id_of(spec, token.content).has_value()) continue;
    if (key.empty() || key.size() > 9 || key.find_first_not_of("0123456789") != std::string::npos) {
      fail(Category::Corruption, context, "'{}' in added_tokens_decoder is no token id", key);
    }
    token.id = static_cast<TokenId>(std::stol(key));
    read_flags(entry, context, token);
    spec.added.push_back(std::move(token));
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

}  // namespace

void apply_config(PipelineSpec& spec, const Json& config, const std::string& context) {
  if (!config.is_object()) return;
  if (const Json* added = find_field(config, "added_tokens_decoder", context)) {
    if (!added->is_object()) fail(Category::Corruption, context, "added_tokens_decoder must be an object");
    apply_added_tokens(spec, *added, context);
  }
  const auto set = [&](const char* key, std::optional<TokenId>& target) {
    const Json* value = find_field(config, key, context);
    if (value == nullptr) return;
    const std::string content = content_of(*value);
    const auto id = id_of(spec, content);
    if (!id.has_value()) return;
    target = id;
    const bool known = std::ranges::any_of(spec.added, [&](const AddedToken& token) { return token.id == *id; });
    if (!known) spec.added.push_back({.id = *id, .content = content, .special = true});
  };
  set("bos_token", spec.bos);
  set("eos_token", spec.eos);
  set("pad_token", spec.pad);
  set("unk_token", spec.unk);
  if (const Json* source = find_field(config, "chat_template", context)) spec.chat_template = chat_template_of(*source);
}

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
  apply_config(spec, read_json_if_present(map_path), map_path.string());
  apply_config(spec, config, config_path.string());
  if (fs::exists(folder / "chat_template.jinja")) spec.chat_template = read_file(folder / "chat_template.jinja");
  return spec;
}

}  // namespace text

std::shared_ptr<const Tokenizer> open_tokenizer(const std::filesystem::path& path) {
  return std::make_shared<text::Pipeline>(text::spec_of_model(text::tokenizer_file(path)));
}

}  // namespace graft
