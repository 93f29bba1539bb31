#include "checkpoint/describe.h"

#include <algorithm>
#include <initializer_list>
#include <map>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "checkpoint/layout.h"
#include "checkpoint/source.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool holds_any(const std::string& name, std::initializer_list<const char*> parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [&](const char* part) { return name.find(part) != std::string::npos; });
}

// By the names that Hugging Face, GGUF and PEFT give.
const char* kind_of(const std::string& name) {
  if (holds_any(name, {"norm", "ln_1", "ln_2", "ln_f"})) return "norm";
  if (holds_any(name, {"embed", "wte", "wpe", "token_embd", "position_embd", "lm_head", "shared."}) ||
      name == "output.weight")
    return "embedding";
  if (holds_any(name, {"attn", "attention", "SelfAttention", "EncDecAttention"})) return "attention";
  if (holds_any(name, {"mlp", "ffn", "DenseReluDense", "feed_forward"})) return "feed_forward";
  return "other";
}

json read_json(const fs::path& path) {
  const json parsed = json::parse(read_file(path), nullptr, false);
  if (!parsed.is_object()) fail(Category::Corruption, path.string(), "is not a JSON object");
  return parsed;
}

json text_or_null(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? *found : json();
}

json architecture_of(const TensorSource& source, const fs::path& folder) {
  if (source.format() == "gguf") return text_or_null(source.metadata(), "general.architecture");
  if (fs::is_regular_file(folder / "config.json")) return text_or_null(read_json(folder / "config.json"), "model_type");
  return {};
}

json tokenizer_of(const TensorSource& source, const fs::path& folder) {
  if (source.format() == "gguf") {
    const json model = text_or_null(source.metadata(), "tokenizer.ggml.model");
    return model.is_null() ? model : json("GGUF metadata (" + model.get<std::string>() + ")");
  }
  for (const auto& [file, kind] : std::initializer_list<std::pair<const char*, const char*>>{
           {"tokenizer.json", "Hugging Face tokenizer.json"},
           {"spiece.model", "SentencePiece"},
           {"tokenizer.model", "SentencePiece"},
           {"sentencepiece.bpe.model", "SentencePiece"},
           {"merges.txt", "byte-level BPE (vocab.json and merges.txt)"},
           {"vocab.txt", "WordPiece"}}) {
    if (fs::exists(folder / file)) return kind;
  }
  return {};
}

// Vocabularies and the like would bury the rest.
json short_metadata(const json& metadata) {
  constexpr std::size_t kLongestArray = 16;
  json kept = json::object();
  for (const auto& [key, value] : metadata.items()) {
    kept[key] =
        value.is_array() && value.size() > kLongestArray ? json(fmt::format("[{} values]", value.size())) : value;
  }
  return kept;
}

void add_tensors(const TensorSource& source, json& out) {
  json parameters = {{"total", 0}, {"embedding", 0}, {"attention", 0}, {"feed_forward", 0}, {"norm", 0}, {"other", 0}};
  struct Count {
    std::int64_t tensors = 0, parameters = 0;
    std::uint64_t bytes = 0;
  };
  std::map<std::string, Count> dtypes;
  json tensors = json::array();
  for (const TensorInfo& info : source.tensors()) {
    const std::int64_t elements = info.elements();
    for (const char* key : {"total", kind_of(info.name)})
      parameters[key] = parameters[key].get<std::int64_t>() + elements;
    Count& count = dtypes[name(info.dtype)];
    count.tensors += 1;
    count.parameters += elements;
    count.bytes += info.bytes;
    tensors.push_back({{"name", info.name}, {"dtype", name(info.dtype)}, {"shape", info.shape}, {"bytes", info.bytes}});
  }
  out["parameters"] = std::move(parameters);
  out["dtypes"] = json::array();
  for (const auto& [dtype, count] : dtypes) {
    out["dtypes"].push_back(
        {{"dtype", dtype}, {"tensors", count.tensors}, {"parameters", count.parameters}, {"bytes", count.bytes}});
  }
  out["tensors"] = std::move(tensors);
}

std::string shown(const json& value) {
  return value.is_string() ? printable(value.get<std::string>()) : "unknown";
}

std::string summary(const json& description) {
  std::string out = fmt::format("{}\n  format        {}\n  architecture  {}\n  tokenizer     {}\n",
                                description["path"].get<std::string>(), description["format"].get<std::string>(),
                                shown(description["architecture"]),
                                description["tokenizer"].is_null() ? "none here" : shown(description["tokenizer"]));
  for (const json& file : description["files"]) {
    out += fmt::format("  file          {}  {}\n", file["name"].get<std::string>(),
                       human_bytes(file["bytes"].get<double>()));
  }
  out += fmt::format("  parameters    {}", grouped(description["parameters"]["total"].get<std::int64_t>()));
  std::vector<std::string> parts;
  for (const auto& [kind, count] : description["parameters"].items()) {
    if (kind != "total" && count != 0) parts.push_back(fmt::format("{} {}", kind, grouped(count.get<std::int64_t>())));
  }
  if (!parts.empty()) out += fmt::format(" ({})", fmt::join(parts, ", "));
  out += "\n";
  for (const json& dtype : description["dtypes"]) {
    out += fmt::format("  {:<12}  {} tensors, {} values, {}\n", dtype["dtype"].get<std::string>(),
                       dtype["tensors"].get<std::int64_t>(), grouped(dtype["parameters"].get<std::int64_t>()),
                       human_bytes(dtype["bytes"].get<double>()));
  }
  const json& adapter = description["adapter"];
  if (!adapter.is_null()) {
    out += fmt::format("  adapter       {} for {}\n", shown(adapter.value("peft_type", json())),
                       shown(adapter.value("base_model_name_or_path", json())));
  }
  return out;
}

}  // namespace

json describe(const fs::path& path) {
  const auto source = open_checkpoint(path);
  const fs::path folder = fs::is_directory(path) ? path : path.parent_path();
  json out = {{"path", path.string()}, {"format", source->format()}, {"adapter", nullptr}};
  out["architecture"] = architecture_of(*source, folder);
  out["tokenizer"] = tokenizer_of(*source, folder);
  if (fs::is_regular_file(folder / "adapter_config.json")) out["adapter"] = read_json(folder / "adapter_config.json");
  out["files"] = json::array();
  for (const fs::path& file : source->files()) {
    out["files"].push_back({{"name", file.filename().string()}, {"bytes", fs::file_size(file)}});
  }
  out["metadata"] = short_metadata(source->metadata());
  add_tensors(*source, out);
  return out;
}

std::string describe_table(const json& description, bool with_tensors) {
  std::string out = summary(description);
  if (!with_tensors) return out;
  std::size_t widest = 4;
  for (const json& tensor : description["tensors"])
    widest = std::max(widest, printable(tensor["name"].get<std::string>()).size());
  out += fmt::format("\n  {:<{}}  {:<8}  {:<20}  {}\n", "tensor", widest, "dtype", "shape", "bytes");
  for (const json& tensor : description["tensors"]) {
    out += fmt::format("  {:<{}}  {:<8}  {:<20}  {}\n", printable(tensor["name"].get<std::string>()), widest,
                       tensor["dtype"].get<std::string>(),
                       fmt::format("[{}]", fmt::join(tensor["shape"].get<std::vector<std::int64_t>>(), ", ")),
                       human_bytes(tensor["bytes"].get<double>()));
  }
  return out;
}

}  // namespace graft
