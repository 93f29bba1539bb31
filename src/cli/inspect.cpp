// graft inspect: what a checkpoint holds.
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "checkpoint/describe.h"
#include "cli/core/verb.h"
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

Json description() {
  Json all = describe(arguments.path);
  all["model"] = part_or_reason(model_part);
  all["tokenizer_details"] = part_or_reason(tokenizer_part);
  return all;
}

std::string plain(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

void print_part(const char* title, const Json& part) {
  fmt::print("\n{}\n", title);
  for (const auto& [key, value] : part.items()) fmt::print("  {:<18} {}\n", key, plain(value));
}

int run() {
  Json all = description();
  if (!arguments.json) {
    fmt::print("{}", describe_table(all, arguments.tensors));
    print_part("model", all["model"]);
    print_part("tokenizer", all["tokenizer_details"]);
    return 0;
  }
  if (!arguments.tensors) all.erase("tensors");
  fmt::print("{}\n", all.dump(2, ' ', false, Json::error_handler_t::replace));
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
