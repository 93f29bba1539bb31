// graft inspect: what a checkpoint holds.
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/progress.h"
#include "checkpoint/source.h"
#include "cli/core/verb.h"
#include "config/model_config.h"
#include "text/tokenizer.h"

namespace graft {
namespace {

using Json = nlohmann::ordered_json;

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
  const ModelConfig config = open_model_files(arguments.path).config;
  Json part = {{"architecture", config.architecture},
               {"model_type", config.model_type},
               {"vocab_size", config.vocab_size},
               {"hidden_size", config.hidden_size},
               {"intermediate_size", config.intermediate_size},
               {"layers", config.layers}};
  if (config.encoder_decoder()) part["decoder_layers"] = config.decoder_layers;
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

struct Total {
  std::int64_t tensors = 0, elements = 0;
  std::uint64_t bytes = 0;
};

Json dtypes_part(const TensorSource& source) {
  std::map<std::string, Total> totals;
  for (const auto& tensor : source.tensors()) {
    Total& total = totals[name(tensor.dtype)];
    ++total.tensors;
    total.elements += tensor.elements();
    total.bytes += tensor.bytes;
  }
  Json part = Json::object();
  for (const auto& [dtype, total] : totals)
    part[dtype] = {{"tensors", total.tensors}, {"parameters", total.elements}, {"bytes", total.bytes}};
  return part;
}

Json tensors_part(const TensorSource& source) {
  Json part = Json::array();
  for (const auto& tensor : source.tensors()) {
    part.push_back(
        {{"name", tensor.name}, {"dtype", name(tensor.dtype)}, {"shape", tensor.shape}, {"bytes", tensor.bytes}});
  }
  return part;
}

Json description() {
  const auto source = open_checkpoint(arguments.path);
  std::int64_t parameters = 0;
  std::uint64_t bytes = 0;
  for (const auto& tensor : source->tensors()) {
    parameters += tensor.elements();
    bytes += tensor.bytes;
  }
  Json files = Json::array();
  for (const auto& file : source->files()) files.push_back(file.string());
  Json all = {{"format", source->format()},
              {"files", files},
              {"tensors", source->tensors().size()},
              {"parameters", parameters},
              {"bytes", bytes},
              {"dtypes", dtypes_part(*source)},
              {"model", part_or_reason(model_part)},
              {"tokenizer", part_or_reason(tokenizer_part)}};
  if (arguments.tensors) all["list"] = tensors_part(*source);
  return all;
}

std::string plain(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

void print_part(const char* title, const Json& part) {
  fmt::print("\n{}\n", title);
  for (const auto& [key, value] : part.items()) fmt::print("  {:<18} {}\n", key, plain(value));
}

void print_table(const Json& all) {
  fmt::print("{} ({}): {} tensors, {} parameters, {}\n", arguments.path, all["format"].get<std::string>(),
             all["tensors"].get<std::int64_t>(), grouped(all["parameters"].get<std::int64_t>()),
             human_bytes(all["bytes"].get<double>()));
  for (const auto& [dtype, total] : all["dtypes"].items()) {
    fmt::print("  {:<6} {:>5} tensors {:>16} parameters {:>10}\n", dtype, total["tensors"].get<std::int64_t>(),
               grouped(total["parameters"].get<std::int64_t>()), human_bytes(total["bytes"].get<double>()));
  }
  print_part("model", all["model"]);
  print_part("tokenizer", all["tokenizer"]);
  if (!arguments.tensors) return;
  fmt::print("\ntensors\n");
  for (const auto& tensor : all["list"]) {
    fmt::print("  {:<6} {:>10}  {:<20} {}\n", tensor["dtype"].get<std::string>(),
               human_bytes(tensor["bytes"].get<double>()), tensor["shape"].dump(), tensor["name"].get<std::string>());
  }
}

int run() {
  const Json all = description();
  if (arguments.json) {
    fmt::print("{}\n", all.dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    print_table(all);
  }
  return 0;
}

void declare(CLI::App& app) {
  app.add_option("path", arguments.path, "model folder, .safetensors, .bin, .pt or .gguf file")->required();
  app.add_flag("--json", arguments.json, "as one JSON object");
  app.add_flag("--tensors", arguments.tensors, "list every tensor");
}

}  // namespace

namespace cli {
extern const Verb inspect;
const Verb inspect{"inspect", "what a checkpoint holds: architecture, parameters, dtypes, tokenizer",
                   "  graft inspect SmolLM2.gguf\n"
                   "  graft inspect my-model --tensors\n"
                   "  graft inspect model.safetensors --json\n",
                   declare, run};
}  // namespace cli
}  // namespace graft
