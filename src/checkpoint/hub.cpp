#include "checkpoint/hub.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <set>

#include "base/error.h"
#include "base/file.h"
#include "base/user_cache.h"
#include "checkpoint/gguf_parts.h"
#include "checkpoint/hub_repository.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

bool is_weight(const std::string& name, const std::string& stem, const std::string& extension) {
  return name.find('/') == std::string::npos && name.starts_with(stem) &&
         (name.ends_with(extension) || name.ends_with(extension + ".index.json"));
}

// What a model needs, of all that a repository may hold.
std::vector<RemoteFile> needed(const std::vector<RemoteFile>& all) {
  static const std::set<std::string> small = {"config.json",
                                              "generation_config.json",
                                              "tokenizer.json",
                                              "tokenizer_config.json",
                                              "special_tokens_map.json",
                                              "added_tokens.json",
                                              "vocab.json",
                                              "merges.txt",
                                              "vocab.txt",
                                              "spiece.model",
                                              "tokenizer.model",
                                              "sentencepiece.bpe.model",
                                              "chat_template.jinja",
                                              "adapter_config.json"};
  const auto safe = [](const std::string& name) {
    return is_weight(name, "model", ".safetensors") || is_weight(name, "adapter_model", ".safetensors");
  };
  const bool has_safetensors = std::any_of(all.begin(), all.end(), [&](const auto& file) { return safe(file.name); });
  std::vector<RemoteFile> chosen;
  for (const RemoteFile& file : all) {
    const bool weight = has_safetensors ? safe(file.name)
                                        : is_weight(file.name, "pytorch_model", ".bin") ||
                                              is_weight(file.name, "adapter_model", ".bin");
    if (weight || small.contains(file.name)) chosen.push_back(file);
  }
  return chosen;
}

// What the parts of one model have in common; empty for a file that is a whole.
std::string model_of_part(const std::string& name) {
  return gguf_part_name(name) ? gguf_first_part(name).string() : "";
}

// A part is of no use alone: one brings the others along.
std::vector<RemoteFile> with_other_parts(const std::vector<RemoteFile>& chosen, const std::vector<RemoteFile>& all) {
  std::set<std::string> names, models;
  for (const RemoteFile& file : chosen) {
    names.insert(file.name);
    if (const std::string model = model_of_part(file.name); !model.empty()) models.insert(model);
  }
  std::vector<RemoteFile> whole;
  for (const RemoteFile& file : all) {
    if (names.contains(file.name) || models.contains(model_of_part(file.name))) whole.push_back(file);
  }
  return whole;
}

// Which of the blocks that there are nobody but the user knows.
void refuse_unchosen_gguf(const std::string& repository, const std::vector<RemoteFile>& all) {
  const auto gguf = [](const RemoteFile& file) { return file.name.ends_with(".gguf"); };
  const auto weights = [](const RemoteFile& file) {
    return file.name.ends_with(".safetensors") || file.name.ends_with(".bin");
  };
  const auto found = std::find_if(all.begin(), all.end(), gguf);
  if (found == all.end() || std::any_of(all.begin(), all.end(), weights)) return;
  fail(Category::NotFound, repository, "has its weights as GGUF files; name the one you want: --file '{}'",
       found->name);
}

std::vector<RemoteFile> wanted_of_model(const HubRepository& hub, const std::vector<RemoteFile>& all,
                                        const HubOptions& options) {
  if (!options.files.empty()) return with_other_parts(hub.matching(all), all);
  refuse_unchosen_gguf(hub.name(), all);
  std::vector<RemoteFile> files = needed(all);
  if (files.empty()) {
    fail(Category::NotFound, hub.name(),
         "holds no model files; name those you want with --file (for a .gguf: --file '*.gguf'), or say --dataset if it "
         "is a data set");
  }
  return files;
}

// All that was asked for, or its one model.
fs::path place_of(const HubRepository& hub, const std::vector<std::string>& names) {
  const std::string model = model_of_part(names.front());
  const bool one = names.size() == 1 ||
                   (!model.empty() && std::all_of(names.begin(), names.end(),
                                                  [&](const auto& name) { return model_of_part(name) == model; }));
  if (!one) return hub.snapshot();
  return hub.snapshot() / (model.empty() ? names.front() : model);
}

void refuse_missing_parts(const fs::path& place, const std::string& repository, bool offline) {
  for (const fs::path& part : gguf_part_files(place)) {
    if (fs::exists(part)) continue;
    fail(Category::NotFound, repository, "'{}' is a part of the model and is not in the {}", part.filename().string(),
         offline ? "cache; leave --offline and HF_HUB_OFFLINE out once while there is a network"
                 : "repository; choose another file there");
  }
}

}  // namespace

HubOptions hub_options_from_environment() {
  HubOptions options;
  options.endpoint = environment("HF_ENDPOINT");
  if (options.endpoint.empty()) options.endpoint = kPublicHub;
  while (options.endpoint.ends_with('/')) options.endpoint.pop_back();
  fs::path home = environment("HF_HOME");
  if (const fs::path cache = user_cache_folder(); home.empty() && !cache.empty()) home = cache / "huggingface";
  options.rows_server = environment("HF_DATASETS_SERVER");
  while (options.rows_server.ends_with('/')) options.rows_server.pop_back();
  options.cache = environment("HF_HUB_CACHE");
  if (options.cache.empty() && !home.empty()) options.cache = home / "hub";
  options.token = environment("HF_TOKEN");
  fs::path token_file = environment("HF_TOKEN_PATH");
  if (token_file.empty() && !home.empty()) token_file = home / "token";
  if (options.token.empty() && fs::is_regular_file(token_file)) options.token = read_file(token_file);
  std::erase_if(options.token, [](unsigned char c) { return std::isspace(c) != 0; });
  std::string offline = environment("HF_HUB_OFFLINE");
  std::transform(offline.begin(), offline.end(), offline.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  options.offline = offline == "1" || offline == "TRUE" || offline == "YES" || offline == "ON";
  return options;
}

fs::path pull(const std::string& repository, const HubOptions& options) {
  HubRepository hub(HubRepository::Kind::Model, repository, options);
  std::vector<std::string> names;
  if (options.offline) {
    names = hub.cached();
    if (names.empty()) hub.fail_uncached();
  } else {
    const std::vector<RemoteFile> files = wanted_of_model(hub, hub.list(), options);
    for (const RemoteFile& file : files) names.push_back(file.name);
    hub.fetch(files);
    hub.keep_reference();
  }
  if (options.files.empty()) return hub.snapshot();
  const fs::path place = place_of(hub, names);
  refuse_missing_parts(place, repository, options.offline);
  return place;
}

}  // namespace graft
