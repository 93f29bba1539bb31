#include "adapters/core/gguf_lora.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <cmath>
#include <map>
#include <span>

#include "adapters/core/lora_config.h"
#include "adapters/core/options.h"
#include "base/error.h"
#include "checkpoint/layout.h"
#include "checkpoint/writer.h"
#include "config/gguf_adapter.h"
#include "config/gguf_names.h"

namespace graft {
namespace {

std::string architecture_of(const Model& model, const std::string& where) {
  if (const auto architecture = gguf_architecture(model.config())) return *architecture;
  fail(Category::Unsupported, where,
       "GGUF adapters fit bases of the architectures {} (Mistral is llama), this one is a {}; use a PEFT folder",
       fmt::join(gguf_architectures(), ", "), model.config().model_type);
}

// Whole maps, and tables that are tensors of their own, by the name of their tensor in a GGUF file of the base.
std::map<std::string, RoleEntry> entries_by_tensor(const Model& model, const std::string& architecture) {
  std::map<std::string, RoleEntry> entries;
  for (const auto& entry : model.roles()) {
    if (!entry.fused()) entries.emplace(gguf_name(architecture, entry.module() + ".weight"), entry);
  }
  for (const auto& table : model.tables()) {
    if (adapters::shares_its_parameter(model, table)) continue;
    entries.emplace(gguf_name(architecture, table.module() + ".weight"), table);
  }
  return entries;
}

bool is_embeddings(const RoleEntry& entry) {
  return entry.site.role == Role::Embed;
}

// Half a pair, in fp32 as the file has it.
at::Tensor values_of(const TensorSource& source, const TensorInfo& info, const std::string& where) {
  at::Tensor values = at::empty(info.shape, at::kFloat);
  to_float(info.dtype, source.bytes(info), {values.data_ptr<float>(), static_cast<std::size_t>(values.numel())});
  if (!values.isfinite().all().item<bool>())
    fail(Category::Corruption, where, "tensor {} holds NaN or infinity", printable(info.name));
  return values;
}

std::span<const std::byte> bytes_of_values(const at::Tensor& values) {
  return {static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()};
}

at::Tensor row_index(const std::vector<std::int64_t>& rows) {
  return at::tensor(rows, at::kLong);
}

void check_fits(const GgufLora& lora, const RoleEntry& entry, const std::string& where) {
  if (lora.in() == entry.in && lora.b->shape[0] == entry.out) return;
  fail(Category::Corruption, where, "'{}' updates a map from {} to {} features, the base's is from {} to {}",
       lora.tensor, lora.in(), lora.b->shape[0], entry.in, entry.out);
}

// What adapter_config.json would say.
nlohmann::json peft_config(const GgufAdapter& file, const std::vector<RoleEntry>& entries, const Model& model) {
  const std::int64_t rank = file.loras.front().rank();
  auto ranks = nlohmann::json::object();
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (file.loras[i].rank() != rank) ranks[entries[i].module()] = file.loras[i].rank();
  }
  return {{"peft_type", "LORA"},
          {"r", rank},
          {"lora_alpha", file.alpha},
          {"rank_pattern", ranks},
          {"target_modules", adapters::target_names(entries, adapters::maps_and_tables(model))}};
}

// The pair of one module, as PEFT has it.
struct Pair {
  at::Tensor a, b;  // [R, in], [out, R]
};

std::map<std::string, Pair> pairs_of(const Adapter& adapter) {
  std::map<std::string, Pair> pairs;
  for (const auto& tensor : adapter.peft_tensors()) {
    for (const auto& [suffix, half] :
         {std::pair(adapters::kMapSuffixes.a, &Pair::a), std::pair(adapters::kMapSuffixes.b, &Pair::b),
          std::pair(adapters::kEmbeddingSuffixes.a, &Pair::a), std::pair(adapters::kEmbeddingSuffixes.b, &Pair::b)}) {
      if (!tensor.name.ends_with(suffix)) continue;
      pairs[tensor.name.substr(0, tensor.name.size() - std::string(suffix).size())].*half =
          tensor.value.to(at::kCPU, at::kFloat);
    }
  }
  return pairs;
}

void refuse_other_methods(const nlohmann::json& config, const std::string& where) {
  const std::string type = config.value("peft_type", std::string("a whole model"));
  if (type != "LORA")
    fail(Category::Unsupported, where,
         "llama.cpp's adapter files hold LoRA, not {}; write it into a model instead: graft merge", type);
  const bool beside = config.value("bias", std::string("none")) != "none" || !config.at("modules_to_save").is_null();
  if (beside)
    fail(Category::Unsupported, where,
         "llama.cpp's adapter files have no place for biases or whole copies beside LoRA; write it into a model "
         "instead: "
         "graft merge");
  if (config.value("use_dora", false))
    fail(Category::Unsupported, where,
         "llama.cpp's adapter files have no place for DoRA's magnitudes; write it into a model instead: graft merge");
}

// Llama.cpp finds an update by the name of the base's tensor, and one that is embeddings and head has one name for
// both: it reads the rows of its a as those of embeddings there, and multiplies with them here.
void refuse_tied_tables(const Adapter& adapter, const Model& model, const std::string& where) {
  for (const auto& table : model.tables()) {
    if (!adapter.acts_on(table.site) || !adapters::shares_its_parameter(model, table)) continue;
    fail(Category::Unsupported, where,
         "this model has one table for {} and other modules, of which llama.cpp's adapter files cannot name one; keep "
         "the PEFT folder, or train an adapter without embed and head",
         table.module());
  }
}

[[noreturn]] void refuse_without_place(const GgufLora& lora, const std::string& where) {
  if (lora.of_embeddings() || lora.tensor == "output.weight")
    fail(Category::Unsupported, where,
         "'{}' has an update, and this base has one table for its embeddings and its head, of which llama.cpp's "
         "adapter files cannot name one; give the adapter as a PEFT folder",
         lora.tensor);
  fail(Category::Corruption, where, "tensor {} has no place in the model; was the adapter made for another one?",
       printable(lora.a->name));
}

// Of an adapter that a file can hold: what it says of itself, and the family of its base.
struct Fitting {
  nlohmann::json config;
  std::string architecture;
};

Fitting fitting(const Adapter& adapter, const Model& model, const std::string& where) {
  Fitting found;
  found.config = adapter.peft_config();
  refuse_other_methods(found.config, where);
  found.architecture = architecture_of(model, where);
  refuse_tied_tables(adapter, model, where);
  return found;
}

// By which llama.cpp must divide by the rank to give the map's scale.
double alpha_of(const nlohmann::json& config, const std::string& module, std::int64_t rank) {
  const auto alphas = config.value("alpha_pattern", nlohmann::json::object());
  const double alpha = alphas.value(module, config.value("lora_alpha", 0.0));
  return config.value("use_rslora", false) ? alpha * std::sqrt(static_cast<double>(rank)) : alpha;
}

}  // namespace

std::vector<std::int64_t> gguf_rows(const std::string& architecture, const ModelConfig& config,
                                    const RoleEntry& entry) {
  const bool q = entry.site.role == Role::Q, k = entry.site.role == Role::K;
  if (architecture != "llama" || entry.fused() || (!q && !k)) return {};
  return unpermute_rows(entry.out, q ? config.heads : config.kv_heads);
}

LoadedAdapter load_gguf_lora(const TensorSource& source, const Model& model) {
  const auto& file = source.files().front();
  const std::string where = file.string();
  const GgufAdapter stored = read_gguf_adapter(source);
  const std::string architecture = architecture_of(model, where);
  if (stored.architecture != architecture)
    fail(Category::InvalidArgument, where, "this adapter belongs to a model of the architecture '{}', the base is '{}'",
         printable(stored.architecture), architecture);
  LoadedAdapter loaded;
  loaded.method = "lora";
  if (!stored.manifest.empty()) {
    loaded.manifest = checked_manifest(stored.manifest, where, where, model);
    refuse_damaged(loaded.manifest, source);
  }
  loaded.parts.push_back({file, loaded.manifest});
  const auto places = entries_by_tensor(model, architecture);
  std::vector<RoleEntry> entries;
  std::vector<PeftTensor> tensors;
  for (const GgufLora& lora : stored.loras) {
    const auto place = places.find(lora.tensor);
    if (place == places.end()) refuse_without_place(lora, where);
    const RoleEntry& entry = place->second;
    check_fits(lora, entry, where);
    const auto rows = gguf_rows(architecture, model.config(), entry);
    at::Tensor a = values_of(source, *lora.a, where), b = values_of(source, *lora.b, where);
    if (is_embeddings(entry)) a = a.t().contiguous();
    if (!rows.empty()) b = b.index_select(0, row_index(rows));
    tensors.push_back({entry.module() + adapters::suffixes_of(entry).a, a});
    tensors.push_back({entry.module() + adapters::suffixes_of(entry).b, b});
    entries.push_back(entry);
  }
  loaded.tensors = tensors.size();
  const Method& method = adapters::find_peft("LORA");
  loaded.adapter = method.from_peft(model, peft_config(stored, entries, model), tensors);
  return loaded;
}

void refuse_in_gguf_lora(const std::filesystem::path& file, const Adapter& adapter, const Model& model) {
  fitting(adapter, model, file.string());
}

GgufLoraReport save_gguf_lora(const std::filesystem::path& file, const Adapter& adapter, const Model& model,
                              const Manifest& manifest) {
  const auto [config, architecture] = fitting(adapter, model, file.string());
  const auto pairs = pairs_of(adapter);
  GgufLoraReport report;
  std::vector<TensorPlan> plan;
  std::vector<at::Tensor> values;
  for (const auto& [tensor, entry] : entries_by_tensor(model, architecture)) {
    const auto pair = pairs.find(entry.module());
    if (pair == pairs.end()) continue;
    at::Tensor a = pair->second.a, b = pair->second.b;
    if (is_embeddings(entry)) a = a.t();
    const double alpha = alpha_of(config, entry.module(), b.size(1));
    // A file of alpha 0 would be read as one that is not scaled at all.
    if (report.alpha == 0) report.alpha = alpha != 0 ? alpha : 1;
    if (alpha != report.alpha) {
      b = b.mul(alpha / report.alpha);
      ++report.folded;
    }
    if (const auto rows = gguf_rows(architecture, model.config(), entry); !rows.empty())
      b = at::empty_like(b).index_copy_(0, row_index(rows), b);
    plan.push_back({tensor + kLoraA, DType::F32, a.sizes().vec()});
    plan.push_back({tensor + kLoraB, DType::F32, b.sizes().vec()});
    values.insert(values.end(), {a.contiguous(), b.contiguous()});
  }
  report.tensors = plan.size();
  ContentHash content;
  for (std::size_t t = 0; t < plan.size(); ++t)
    content.add(plan[t].name, plan[t].dtype, plan[t].shape, bytes_of_values(values[t]));
  const GgufAdapter header{architecture, report.alpha, manifest_text(manifest, model, content.finish()), {}};
  const auto writer = write_gguf(file, plan, metadata_of(header));
  for (const auto& value : values) writer->write(bytes_of_values(value));
  writer->finish();
  return report;
}

}  // namespace graft
