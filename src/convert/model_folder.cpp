#include "convert/model_folder.h"

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>

#include "base/error.h"
#include "base/json_text.h"
#include "convert/hf_config.h"
#include "text/hugging_face_tokenizer.h"
#include "text/loaders.h"

namespace graft {
namespace {

// Of a tokenizer, and what says how texts are written with it.
constexpr const char* kTextFiles[] = {"tokenizer.json",
                                      "tokenizer_config.json",
                                      "special_tokens_map.json",
                                      "added_tokens.json",
                                      "vocab.json",
                                      "merges.txt",
                                      "spiece.model",
                                      "tokenizer.model",
                                      "sentencepiece.bpe.model",
                                      "chat_template.jinja",
                                      "generation_config.json"};

// Not every one of them makes a tokenizer. One that graft cannot find does not count; a GGUF file's is not copied.
bool holds_tokenizer(const std::filesystem::path& folder) {
  try {
    return text::tokenizer_file(folder).extension() != ".gguf";
  } catch (const Error&) {
    return false;
  }
}

// Returns whether the model has its tokenizer then.
bool copy_text_files(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (!std::filesystem::is_directory(from)) return false;
  for (const char* name : kTextFiles) {
    if (std::filesystem::exists(from / name)) write_file(to / name, read_file(from / name));
  }
  return holds_tokenizer(from);
}

// Returns why there is none.
std::string write_tokenizer(const ModelFiles& files, const std::filesystem::path& to) {
  if (copy_text_files(files.path, to)) return "";
  if (files.weights->format() != "gguf" || !files.weights->metadata().contains("tokenizer.ggml.model"))
    return files.path.string() + " holds none";
  try {
    const TokenizerFiles tokenizer = hugging_face_tokenizer(files.weights->files().front());
    if (tokenizer.sentencepiece.empty()) {
      write_file(to / "tokenizer.json", json_text(tokenizer.tokenizer) + "\n");
    } else {
      write_file(to / tokenizer.sentencepiece_name, tokenizer.sentencepiece);
    }
    write_file(to / "tokenizer_config.json", json_text(tokenizer.config, 2) + "\n");
    return "";
  } catch (const Error& error) {
    if (error.category() != Category::Unsupported) throw;
    return error.what();
  }
}

std::int64_t elements_of(const TensorPlan& tensor) {
  return std::accumulate(tensor.shape.begin(), tensor.shape.end(), std::int64_t{1}, std::multiplies<>());
}

// As config.json calls the type of most values.
const char* main_type(const std::vector<TensorPlan>& plan) {
  const DType most = main_dtype(plan);
  if (most == DType::F32) return "float32";
  return most == DType::F16 ? "float16" : "bfloat16";
}

Sharding sharding_of(const TensorSource& source, const std::vector<const TensorInfo*>& stored) {
  Sharding sharding;
  // The parts of a GGUF file are cut for other types.
  if (source.format() == "gguf" || source.files().size() < 2) return sharding;
  for (const TensorInfo* info : stored) sharding.files.push_back(info->file);
  return sharding;
}

}  // namespace

nlohmann::json folder_config(const ModelFiles& files) {
  if (files.weights->format() == "gguf") return hf_config(files.config, files.path.string());
  return files.config.raw;
}

std::vector<std::size_t> file_by_file(const std::vector<const TensorInfo*>& stored) {
  std::vector<std::size_t> order(stored.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return stored[a]->file < stored[b]->file; });
  return order;
}

ModelFolder::ModelFolder(const ModelFiles& files, const std::filesystem::path& output,
                         const std::vector<TensorPlan>& plan, const std::vector<const TensorInfo*>& stored)
    : files_(files), folder_(output), config_(folder_config(files)) {
  config_["torch_dtype"] = main_type(plan);
  config_.erase("dtype");
  writer_ = write_safetensors_folder(folder_.path(), plan, sharding_of(*files.weights, stored), {{"format", "pt"}});
}

std::string ModelFolder::finish() {
  writer_->finish();
  std::string no_tokenizer = write_tokenizer(files_, folder_.path());
  write_file(folder_.path() / "config.json", json_text(config_, 2) + "\n");
  folder_.commit();
  return no_tokenizer;
}

DType main_dtype(const std::vector<TensorPlan>& plan) {
  std::map<DType, std::int64_t> elements;
  for (const TensorPlan& tensor : plan) elements[tensor.dtype] += elements_of(tensor);
  const auto most = std::max_element(elements.begin(), elements.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == elements.end() ? DType::F32 : most->first;
}

std::uint64_t bytes_of(const std::vector<TensorPlan>& plan) {
  std::uint64_t bytes = 0;
  for (const TensorPlan& tensor : plan)
    bytes += static_cast<std::uint64_t>(elements_of(tensor) / block_elements(tensor.dtype) * block_bytes(tensor.dtype));
  return bytes;
}

}  // namespace graft
