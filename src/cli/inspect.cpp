// graft inspect: what a checkpoint holds.
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "adapters/core/peft.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/json_text.h"
#include "checkpoint/describe.h"
#include "checkpoint/source.h"
#include "cli/core/verb.h"
#include "config/gguf_adapter.h"
#include "config/model_config.h"
#include "text/tokenizer.h"

namespace graft {
namespace {

using Json = nlohmann::json;

struct Arguments {
  std::string path;
  bool json = false, tensors = false;
};

Arguments arguments;

// A file of bare tensors has no configuration, a folder perhaps no tokenizer: then that part of the answer is the
// reason.
template <typename Part>
Json part_or_reason(const Part& part) {
  try {
    return part();
  } catch (const Error& error) {
    if (error.category() == Category::Corruption) throw;
    return {{"absent", error.what()}};
  }
}

Json model_part() {
  const ModelFiles files = open_model_files(arguments.path);
  const ModelConfig& config = files.config;
  Json part = {{"architecture", config.architecture},
               {"model_type", config.model_type},
               {"vocab_size", config.vocab_size},
               {"hidden_size", config.hidden_size},
               {"intermediate_size", config.intermediate_size},
               {"layers", config.layers}};
  if (config.encoder_decoder()) part["decoder_layers"] = config.decoder_layers;
  if (files.left_out > 0) part["tensors_left_out"] = files.left_out;
  part.update({{"heads", config.heads},
               {"kv_heads", config.kv_heads},
               {"head_dim", config.head_dim},
               {"context", config.max_positions},
               {"tied_embeddings", config.tie_embeddings},
               {"eos", config.eos}});
  return part;
}

Json tokenizer_part() {
  const auto tokenizer = open_tokenizer(arguments.path);
  return {{"kind", tokenizer->kind()},
          {"entries", tokenizer->vocab_size()},
          {"chat_template", !tokenizer->chat_template().empty()},
          {"hash", tokenizer->hash()}};
}

std::string method_of(const Json& config) {
  const auto found = config.find("peft_type");
  const std::string peft_type =
      found != config.end() && found->is_string() ? found->get<std::string>() : "no peft_type";
  for (const Method* method : adapters::registry()) {
    if (method->writes(peft_type)) return method->name;
  }
  return fmt::format("{}, which this build does not have", peft_type);
}

// "k_proj, v_proj": what a list of modules, each with its layer in front, or a pattern comes down to.
std::string targets_of(const Json& config) {
  const auto found = config.find("target_modules");
  if (found == config.end() || found->is_null()) return "none named";
  if (!found->is_array()) return found->is_string() ? found->get<std::string>() : json_text(*found);
  std::set<std::string> names;
  for (const auto& module : *found) {
    const std::string name = module.is_string() ? module.get<std::string>() : json_text(module);
    names.insert(name.substr(name.rfind('.') + 1));
  }
  return fmt::format("{} ({} named)", fmt::join(names, ", "), found->size());
}

Json manifest_part(const std::string& text) {
  if (text.empty()) return {};
  Json manifest = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!manifest.is_object()) fail(Category::Corruption, arguments.path, "the manifest in the header is damaged");
  const auto base = manifest.find("base");
  if (base != manifest.end() && base->is_string()) *base = "sha256 " + sha256(base->get<std::string>());
  return manifest;
}

// What graft tune wrote into the header of the weights; empty for adapters of other programs.
std::string manifest_text() {
  const auto source = open_checkpoint(arguments.path);
  const Json& metadata = source->metadata();
  const auto found = metadata.is_object() ? metadata.find(kManifestKey) : metadata.end();
  return found == metadata.end() || !found->is_string() ? "" : found->get<std::string>();
}

// Of a file of llama.cpp's.
Json gguf_adapter_part() {
  const auto source = open_checkpoint(arguments.path);
  const GgufAdapter adapter = read_gguf_adapter(*source);
  std::set<std::string> targets;
  std::set<std::int64_t> ranks;
  for (const auto& lora : adapter.loras) {
    const std::string map = lora.tensor.substr(0, lora.tensor.rfind('.'));
    targets.insert(map.substr(map.rfind('.') + 1));
    ranks.insert(lora.rank());
  }
  return {{"method", "lora"},
          {"architecture", adapter.architecture},
          {"targets", fmt::format("{} ({} maps)", fmt::join(targets, ", "), adapter.loras.size())},
          {"rank", fmt::format("{}", fmt::join(ranks, ", "))},
          {"alpha", adapter.alpha},
          {"manifest", manifest_part(adapter.manifest)}};
}

Json adapter_part(const Json& all) {
  const Json& config = all.at("adapter");
  Json part = {{"method", method_of(config)}, {"targets", targets_of(config)}};
  for (const auto& [key, title] : {std::pair("r", "rank"), std::pair("lora_alpha", "alpha")}) {
    if (config.contains(key)) part[title] = config[key];
  }
  part["manifest"] = manifest_part(manifest_text());
  return part;
}

Json description() {
  Json all = describe(arguments.path);
  if (all["adapter"].is_object()) {
    all["adapter_details"] = adapter_part(all);
    return all;
  }
  if (all["metadata"].value("general.type", Json()) == "adapter") {
    all["adapter_details"] = gguf_adapter_part();
    return all;
  }
  all["model"] = part_or_reason(model_part);
  all["tokenizer_details"] = part_or_reason(tokenizer_part);
  return all;
}

// A recipe or a task of many lines is for --json.
std::string plain(const Json& value) {
  if (!value.is_string()) return json_text(value);
  const auto text = value.get<std::string>();
  const auto lines = std::count(text.begin(), text.end(), '\n');
  return lines > 1 ? fmt::format("{} lines, see --json", lines) : text;
}

void print_part(const char* title, const Json& part) {
  fmt::print("\n{}\n", title);
  for (const auto& [key, value] : part.items()) fmt::print("  {:<18} {}\n", key, plain(value));
}

int run() {
  Json all = description();
  if (!arguments.json) {
    fmt::print("{}", describe_table(all, arguments.tensors));
    if (all.contains("adapter_details")) {
      Json part = all["adapter_details"];
      const Json manifest = part["manifest"];
      part.erase("manifest");
      print_part("adapter", part);
      print_part("manifest", manifest.is_null() ? Json{{"absent", "not written by graft tune"}} : manifest);
      return 0;
    }
    print_part("model", all["model"]);
    print_part("tokenizer", all["tokenizer_details"]);
    return 0;
  }
  if (!arguments.tensors) all.erase("tensors");
  fmt::print("{}\n", json_text(all, 2));
  return 0;
}

void declare(CLI::App& app) {
  app.add_option("path", arguments.path, "model or adapter folder, .safetensors, .bin, .pt or .gguf file")->required();
  app.add_flag("--json", arguments.json, "as one JSON object");
  app.add_flag("--tensors", arguments.tensors, "list every tensor");
}

}  // namespace

namespace cli {
extern const Verb inspect;
const Verb inspect{"inspect",
                   "what a checkpoint holds: architecture, parameters, dtypes, tokenizer; of an adapter: method, "
                   "targets, base",
                   "  graft inspect SmolLM2.gguf\n"
                   "  graft inspect my-model --tensors\n"
                   "  graft inspect runs/bbc/adapter\n"
                   "  graft inspect bbc-lora.gguf\n"
                   "  graft inspect model.safetensors --json\n",
                   declare, run};
}  // namespace cli
}  // namespace graft
