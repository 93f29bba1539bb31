#include "adapters/core/peft.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "adapters/core/combination.h"
#include "adapters/core/companions.h"
#include "adapters/core/gguf_lora.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json_text.h"
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

// Empty where it names none.
std::string peft_type_of(const nlohmann::json& config) {
  const auto type = config.find("peft_type");
  return type != config.end() && type->is_string() ? type->get<std::string>() : "";
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

struct WeightsFile {
  nlohmann::json manifest;  // null where graft did not write the file
  NamedTensors tensors;
};

WeightsFile read_weights(const TensorSource& source, const std::filesystem::path& file, const Model& model) {
  WeightsFile read;
  if (source.metadata().contains(kManifestKey)) {
    read.manifest = checked_manifest(source.metadata().at(kManifestKey).get<std::string>(), file.string(),
                                     file.parent_path().string(), model);
    refuse_damaged(read.manifest, source);
  }
  read.tensors = read_tensors(source);
  return read;
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
    loaded.parts.insert(loaded.parts.end(), part.parts.begin(), part.parts.end());
    if (loaded.manifest.is_null()) loaded.manifest = part.manifest;
    adapters.push_back({method, std::move(part.adapter)});
  }
  loaded.adapter = std::make_unique<Combination>(model, std::move(adapters));
  return loaded;
}

// Of one part that adapter itself, of several a combination of them.
void take_parts(LoadedAdapter& loaded, const Model& model, std::vector<Combination::Part> parts) {
  std::vector<std::string> names;
  for (const auto& part : parts) names.emplace_back(part.method->name);
  loaded.method = fmt::format("{}", fmt::join(names, "+"));
  if (parts.size() == 1) {
    loaded.adapter = std::move(parts.front().adapter);
  } else {
    loaded.adapter = std::make_unique<Combination>(model, std::move(parts));
  }
}

}  // namespace

void save_adapter(const std::filesystem::path& folder, const Adapter& adapter, const Model& model,
                  const Manifest& manifest) {
  nlohmann::json config = adapter.peft_config();
  const auto* several = dynamic_cast<const Combination*>(&adapter);
  if (several != nullptr && peft_type_of(config) == kCombinationType) {
    for (const auto& part : several->parts()) save_adapter(folder / part.method->name, *part.adapter, model, manifest);
    write_file(folder / "adapter_config.json", json_text(config, 2) + "\n");
    return;
  }
  config["base_model_name_or_path"] = "";
  config["inference_mode"] = true;
  // PEFT's wrapper for SEQ_2_SEQ_LM asks the model for a method that transformers 5 no longer has; its plain one
  // serves, but for virtual tokens, which it would leave out without a word.
  if (!config.contains("task_type"))
    config["task_type"] = model.encoder_decoder() ? nlohmann::json() : nlohmann::json("CAUSAL_LM");
  NamedTensors tensors;
  for (const auto& tensor : adapter.peft_tensors())
    tensors.emplace_back(tensor.name == kPromptEmbeddings ? tensor.name : kPrefix + tensor.name, tensor.value);
  write_tensors(folder / "adapter_model.safetensors", tensors,
                {{"format", "pt"}, {kManifestKey, manifest_text(manifest, model, content_hash(tensors))}});
  write_file(folder / "adapter_config.json", json_text(config, 2) + "\n");
}

LoadedAdapter load_adapter(const std::filesystem::path& path, const Model& model) {
  const bool folder = !std::filesystem::is_regular_file(path);
  const nlohmann::json config = folder ? read_json(path / "adapter_config.json") : tfew_config();
  const std::string type = peft_type_of(config);
  if (type == kCombinationType) return load_combination(path, config, model);
  const Method& method = adapters::find_peft(type);
  const auto file = folder ? weights_file(path) : path;
  const auto source = open_checkpoint(file);
  if (!folder && source->format() == "gguf") return load_gguf_lora(*source, model);
  LoadedAdapter loaded;
  loaded.method = method.name;
  const WeightsFile weights = read_weights(*source, file, model);
  loaded.manifest = weights.manifest;
  loaded.parts.push_back({path, loaded.manifest});
  std::vector<PeftTensor> tensors;
  for (const auto& [name, value] : weights.tensors) {
    if (!value.isfinite().all().item<bool>())
      fail(Category::Corruption, file.string(),
           "tensor {} holds NaN or infinity; fetch the adapter again, or tune it anew", name);
    tensors.push_back({folder ? without_prefix(name) : from_tfew_name(name, file), value});
  }
  if (tensors.empty()) fail(Category::Corruption, file.string(), "holds no tensor; fetch or save the adapter again");
  loaded.tensors = tensors.size();
  try {
    if (adapters::has_companions(config)) {
      take_parts(loaded, model, adapters::parts_with_companions(model, config, tensors));
    } else {
      loaded.adapter = method.from_peft(model, config, tensors);
    }
  } catch (const Error& error) {
    throw error.within(path.string());
  } catch (const nlohmann::json::exception& error) {
    fail(Category::Corruption, (path / "adapter_config.json").string(),
         "has a field of the wrong kind: {}; fetch the adapter again", error.what());
  }
  return loaded;
}

LoadedAdapter load_adapter(const std::filesystem::path& path, const Model& model, const Tokenizer& tokenizer) {
  LoadedAdapter loaded = load_adapter(path, model);
  refuse_other_tokenizer(loaded, tokenizer);
  return loaded;
}

void refuse_other_tokenizer(const LoadedAdapter& loaded, const Tokenizer& tokenizer) {
  for (const AdapterPart& part : loaded.parts) refuse_other_tokenizer(part.manifest, part.path.string(), tokenizer);
}

}  // namespace graft
