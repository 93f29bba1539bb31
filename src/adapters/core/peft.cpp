#include "adapters/core/peft.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <sstream>

#include "adapters/core/combination.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "checkpoint/source.h"
#include "nn/tensor_file.h"

namespace graft {
namespace {

constexpr const char* kPrefix = "base_model.model.";
constexpr const char* kTfewSuffix = ".multi_lora_b";

nlohmann::json read_json(const std::filesystem::path& file) {
  auto parsed = nlohmann::json::parse(read_file(file), nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded() || !parsed.is_object()) fail(Category::Corruption, file.string(), "is not a JSON object");
  return parsed;
}

std::string tensor_line(const Parameter& parameter) {
  constexpr std::int64_t kSample = 1 << 14;
  const auto shape = parameter.store->shape();
  const std::int64_t count = std::min(kSample, parameter.store->elements()),
                     width = parameter.store->elements() / shape[0], rows = (count + width - 1) / width;
  const at::Tensor head = parameter.store->part(0, rows).reshape({-1}),
                   tail = parameter.store->part(shape[0] - rows, rows).reshape({-1});
  Sha256 hash;
  for (const auto& part : {head.narrow(0, 0, count), tail.narrow(0, tail.size(0) - count, count)}) {
    // bfloat16 is what every compute dtype rounds to, so an fp32 run and a bf16 run see the same base.
    const at::Tensor bytes = part.to(at::kCPU, at::kBFloat16).contiguous();
    hash.update({static_cast<const std::byte*>(bytes.const_data_ptr()), bytes.nbytes()});
  }
  std::string line = parameter.name;
  for (const auto size : shape) line += fmt::format(" {}", size);
  return line + " " + hash.finish().substr(0, 16) + "\n";
}

void refuse_other_base(const std::string& here, const std::string& stored, const std::string& folder,
                       const std::string& hint) {
  if (stored.empty() || stored == here) return;
  std::istringstream mine(here), theirs(stored);
  std::string a, b;
  while (std::getline(mine, a)) {
    if (!std::getline(theirs, b)) b = "(none)";
    if (a == b) continue;
    fail(Category::InvalidArgument, folder,
         "this adapter was trained on another base model: the first tensor that differs is '{}' here, '{}' there{}", a,
         b, hint);
  }
  fail(Category::InvalidArgument, folder,
       "this adapter was trained on another base model with more tensors than this one");
}

// A base that a run quantised has other values than its file.
std::string quantised_hint(const nlohmann::json& manifest) {
  const std::string weights = manifest.value("weights", std::string());
  if (weights != "q8_0" && weights != "q4_0") return "";
  return fmt::format("; its run had model.weights={0}: give --weights {0}", weights);
}

std::filesystem::path weights_file(const std::filesystem::path& folder) {
  for (const char* name : {"adapter_model.safetensors", "adapter_model.bin"}) {
    if (std::filesystem::exists(folder / name)) return folder / name;
  }
  fail(Category::NotFound, folder.string(), "holds no adapter_model.safetensors (nor adapter_model.bin)");
}

// What adapter_config.json would say of the vectors that T-Few's authors released: each scales the output of its map,
// [out, 1], the feed-forward's too (github.com/r-three/t-few, src/models/lora.py).
nlohmann::json tfew_config() {
  return {{"peft_type", "IA3"}, {"feedforward_modules", nlohmann::json::array()}};
}

// "encoder.block.0.layer.0.SelfAttention.k.multi_lora_b" → "encoder.block.0.layer.0.SelfAttention.k.ia3_l"
std::string from_tfew_name(const std::string& name, const std::filesystem::path& file) {
  const std::string suffix = kTfewSuffix;
  if (!name.ends_with(suffix)) {
    fail(Category::Unsupported, file.string(),
         "tensor {} is no vector of T-Few's authors (…{}); for any other adapter give the PEFT folder", name, suffix);
  }
  return name.substr(0, name.size() - suffix.size()) + ".ia3_l";
}

std::string without_prefix(const std::string& name) {
  return name.starts_with(kPrefix) ? name.substr(std::string(kPrefix).size()) : name;
}

nlohmann::json read_manifest(const std::filesystem::path& file, const Model& model) {
  const auto source = open_checkpoint(file);
  if (!source->metadata().contains(kManifestKey)) return nullptr;
  auto manifest = nlohmann::json::parse(source->metadata().at(kManifestKey).get<std::string>(), nullptr, false);
  if (!manifest.is_object()) fail(Category::Corruption, file.string(), "the manifest in the header is damaged");
  refuse_other_base(base_fingerprint(model), manifest.value("base", std::string()), file.parent_path().string(),
                    quantised_hint(manifest));
  return manifest;
}

LoadedAdapter load_combination(const std::filesystem::path& folder, const nlohmann::json& config, const Model& model) {
  const auto parts = config.value("parts", nlohmann::json::array());
  const bool names = parts.is_array() && parts.size() > 1 &&
                     std::all_of(parts.begin(), parts.end(), [](const auto& part) { return part.is_string(); });
  if (!names)
    fail(Category::Corruption, (folder / "adapter_config.json").string(), "'parts' must list two or more methods");
  const MethodChoice choice(fmt::format("{}", fmt::join(parts.get<std::vector<std::string>>(), "+")));
  LoadedAdapter loaded;
  loaded.method = choice.name();
  std::vector<Combination::Part> adapters;
  for (const Method* method : choice.parts()) {
    LoadedAdapter part = load_adapter(folder / method->name, model);
    if (part.method != method->name)
      fail(Category::Corruption, (folder / method->name).string(), "holds an adapter of {}, not of {}", part.method,
           method->name);
    loaded.tensors += part.tensors;
    if (loaded.manifest.is_null()) loaded.manifest = part.manifest;
    adapters.push_back({method, std::move(part.adapter)});
  }
  loaded.adapter = std::make_unique<Combination>(model, std::move(adapters));
  return loaded;
}

}  // namespace

std::string base_fingerprint(const Model& model) {
  std::string lines;
  for (const auto& parameter : model.parameters().all()) lines += tensor_line(parameter);
  return lines;
}

void save_adapter(const std::filesystem::path& folder, const Adapter& adapter, const Model& model,
                  const Manifest& manifest) {
  nlohmann::json config = adapter.peft_config();
  if (const auto* several = dynamic_cast<const Combination*>(&adapter)) {
    for (const auto& part : several->parts()) save_adapter(folder / part.method->name, *part.adapter, model, manifest);
    write_file(folder / "adapter_config.json", config.dump(2) + "\n");
    return;
  }
  config["base_model_name_or_path"] = "";
  config["inference_mode"] = true;
  // PEFT's wrapper for SEQ_2_SEQ_LM asks the model for a method that transformers 5 no longer has; its plain one
  // serves.
  config["task_type"] = model.encoder_decoder() ? nlohmann::json() : nlohmann::json("CAUSAL_LM");
  NamedTensors tensors;
  for (const auto& tensor : adapter.peft_tensors())
    tensors.emplace_back(tensor.name == kPromptEmbeddings ? tensor.name : kPrefix + tensor.name, tensor.value);
  nlohmann::json fields = manifest.fields;
  fields["base"] = base_fingerprint(model);
  fields["graft_version"] = GRAFT_VERSION;
  write_tensors(folder / "adapter_model.safetensors", tensors, {{"format", "pt"}, {kManifestKey, fields.dump()}});
  write_file(folder / "adapter_config.json", config.dump(2) + "\n");
}

LoadedAdapter load_adapter(const std::filesystem::path& path, const Model& model) {
  const bool folder = !std::filesystem::is_regular_file(path);
  const nlohmann::json config = folder ? read_json(path / "adapter_config.json") : tfew_config();
  if (config.value("peft_type", std::string()) == kCombinationType) return load_combination(path, config, model);
  const Method& method = adapters::find_peft(config.value("peft_type", std::string()));
  const auto file = folder ? weights_file(path) : path;
  LoadedAdapter loaded;
  loaded.method = method.name;
  loaded.manifest = read_manifest(file, model);
  std::vector<PeftTensor> tensors;
  for (auto& [name, value] : read_tensors(file)) {
    if (!value.isfinite().all().item<bool>())
      fail(Category::Corruption, file.string(), "tensor {} holds NaN or infinity", name);
    tensors.push_back({folder ? without_prefix(name) : from_tfew_name(name, file), value});
  }
  if (tensors.empty()) fail(Category::Corruption, file.string(), "holds no tensor");
  loaded.tensors = tensors.size();
  try {
    loaded.adapter = method.from_peft(model, config, tensors);
  } catch (const Error& error) {
    throw error.within(path.string());
  }
  return loaded;
}

}  // namespace graft
