#include "convert/merge.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "convert/hf_config.h"
#include "convert/merge_gguf.h"
#include "nn/compute_dtype.h"
#include "nn/tensor_file.h"
#include "text/hugging_face_tokenizer.h"
#include "text/tokenizer.h"

namespace graft {
namespace {

constexpr const char* kTokenizerFiles[] = {"tokenizer.json",
                                           "tokenizer_config.json",
                                           "special_tokens_map.json",
                                           "added_tokens.json",
                                           "vocab.json",
                                           "merges.txt",
                                           "spiece.model",
                                           "tokenizer.model",
                                           "chat_template.jinja",
                                           "generation_config.json"};

at::ScalarType scalar_type(const std::string& name) {
  if (name == "float32") return at::kFloat;
  if (name == "bfloat16") return at::kBFloat16;
  if (name == "float16") return at::kHalf;
  fail(Category::InvalidArgument, "dtype",
       "'{}' is not known for a folder (known: float32, bfloat16, float16); block types go into a GGUF file: --output "
       "NAME.gguf",
       name);
}

at::ScalarType scalar_type(DType dtype) {
  switch (dtype) {
    case DType::F64:
    case DType::F32:
      return at::kFloat;
    case DType::F16:
      return at::kHalf;
    default:
      return at::kBFloat16;
  }
}

nlohmann::json config_of(const ModelFiles& files) {
  if (files.weights->format() == "gguf") return hf_config(files.config, files.path.string());
  return files.config.raw;
}

bool copy_tokenizer(const std::filesystem::path& from, const std::filesystem::path& to) {
  bool copied = false;
  if (!std::filesystem::is_directory(from)) return copied;
  for (const char* name : kTokenizerFiles) {
    if (!std::filesystem::exists(from / name)) continue;
    write_file(to / name, read_file(from / name));
    copied = true;
  }
  return copied;
}

// Returns why there is none.
std::string write_tokenizer(const ModelFiles& files, const std::filesystem::path& from,
                            const std::filesystem::path& to) {
  if (copy_tokenizer(from, to)) return "";
  if (files.weights->format() != "gguf") return from.string() + " holds none";
  try {
    const TokenizerFiles tokenizer = hugging_face_tokenizer(files.weights->files().front());
    if (tokenizer.sentencepiece.empty()) {
      write_file(to / "tokenizer.json", tokenizer.tokenizer.dump() + "\n");
    } else {
      write_file(to / "tokenizer.model", tokenizer.sentencepiece);
    }
    write_file(to / "tokenizer_config.json", tokenizer.config.dump(2) + "\n");
    return "";
  } catch (const Error& error) {
    if (error.category() != Category::Unsupported) throw;
    return error.what();
  }
}

MergeReport write(const Model& model, const ModelFiles& files, const std::filesystem::path& path,
                  const Adapter& adapter, const std::filesystem::path& output, const MergeOptions& options) {
  AtomicFolder folder(output);
  nlohmann::json config = config_of(files);
  MergeReport report;
  NamedTensors tensors;
  std::map<at::ScalarType, std::int64_t> elements;
  const auto& parameters = model.parameters().all();
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const TensorInfo& stored = files.weights->at(parameters[i].name);
    const at::ScalarType type = options.dtype.empty() ? scalar_type(stored.dtype) : scalar_type(options.dtype);
    const at::Tensor base = parameters[i].value();
    const at::Tensor merged = adapter.merged(static_cast<std::int64_t>(i), base);
    if (merged.defined()) ++report.changed;
    tensors.emplace_back(parameters[i].name, (merged.defined() ? merged : base).detach().to(type));
    elements[type] += tensors.back().second.numel();
    report.bytes += tensors.back().second.nbytes();
  }
  report.tensors = tensors.size();

  const auto most = std::max_element(elements.begin(), elements.end(), [](const auto& a, const auto& b) {
                      return a.second < b.second;
                    })->first;
  config["torch_dtype"] = most == at::kFloat ? "float32" : most == at::kHalf ? "float16" : "bfloat16";
  config.erase("dtype");
  write_tensors(folder.path() / "model.safetensors", tensors, {{"format", "pt"}});
  report.no_tokenizer = write_tokenizer(files, path, folder.path());
  write_file(folder.path() / "config.json", config.dump(2) + "\n");
  folder.commit();
  return report;
}

}  // namespace

void refuse_other_tokenizer_beside(const std::filesystem::path& model, const LoadedAdapter& loaded,
                                   const std::filesystem::path& adapter) {
  if (!loaded.manifest.is_object() || !loaded.manifest.contains(kTokenizerKey)) return;
  std::shared_ptr<const Tokenizer> tokenizer;
  try {
    tokenizer = open_tokenizer(model);
  } catch (const Error&) {
    return;  // none, or none that graft reads: merging only copies it
  }
  refuse_other_tokenizer(loaded.manifest, adapter.string(), *tokenizer);
}

MergeReport write_merged(const Model& model, const std::filesystem::path& path, const Adapter& adapter,
                         const std::filesystem::path& output, const MergeOptions& options) {
  return write(model, open_model_files(path), path, adapter, output, options);
}

MergeReport merge(const std::filesystem::path& model_path, const std::filesystem::path& adapter_path,
                  const std::filesystem::path& output, const MergeOptions& options) {
  if (output.extension() == ".gguf") return merge_gguf(model_path, adapter_path, output, options);
  refuse_occupied(output);
  if (!options.dtype.empty()) scalar_type(options.dtype);  // a slip is told before anything is read
  const WeightFormat weights = weight_format(options.weights);
  const ModelFiles files = open_model_files(model_path);
  config_of(files);
  // What blocks hold is exact in fp32 alone.
  const at::ScalarType dtype = weights == WeightFormat::Dense ? lossless_dtype(*files.weights) : at::kFloat;
  const auto model = load_model(model_path.string(), {dtype, compute_device(), weights});
  const LoadedAdapter loaded = load_adapter(adapter_path, *model);
  refuse_other_tokenizer_beside(model_path, loaded, adapter_path);
  MergeReport report = write(*model, files, model_path, *loaded.adapter, output, options);
  report.method = loaded.method;
  return report;
}

std::string no_tokenizer_text(const std::string& why, const std::filesystem::path& output) {
  return fmt::format("No tokenizer was written: {}. Copy the model's tokenizer.json into {} to make it whole.", why,
                     output.string());
}

}  // namespace graft
