// Any JSON as the metadata of a GGUF file without tensors: its tokenizer and its configuration are read, or refused
// with graft::Error. (gguf_fuzz reads the bytes that such metadata comes from.)
#include <cstddef>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "checkpoint/source.h"
#include "config/model_config.h"
#include "text/loaders.h"

namespace {

class MetadataAlone : public graft::TensorSource {
 public:
  explicit MetadataAlone(nlohmann::json metadata) : metadata_(std::move(metadata)) {}

  std::string format() const override { return "gguf"; }
  const std::vector<graft::TensorInfo>& tensors() const override { return tensors_; }
  const std::vector<std::filesystem::path>& files() const override { return files_; }
  std::span<const std::byte> bytes(const graft::TensorInfo&) const override { return {}; }
  const nlohmann::json& metadata() const override { return metadata_; }

 private:
  nlohmann::json metadata_;
  std::vector<graft::TensorInfo> tensors_;
  std::vector<std::filesystem::path> files_ = {"fuzz"};
};

void read_tokenizer(const MetadataAlone& file) {
  const graft::text::Pipeline tokenizer(graft::text::spec_of_gguf(file.metadata(), "fuzz"));
  const auto ids = tokenizer.encode("ab  12\xff\xe3\x81\x82<end> a\xcc\x81\r\nThe", true);
  tokenizer.decode(ids, false);
}

void read_config(const MetadataAlone& file) {
  const graft::ModelConfig config = graft::model_config_from_gguf(file);
  // What later code divides by and loops over.
  if (config.heads < 1 || config.kv_heads < 1 || config.head_dim < 1 || config.layers < 1) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  nlohmann::json metadata;
  try {
    metadata = graft::text::parse_json({reinterpret_cast<const char*>(data), size}, "fuzz");
  } catch (const graft::Error&) {
  }
  if (!metadata.is_object()) return 0;  // a file's is one
  const MetadataAlone file(std::move(metadata));
  for (const auto read : {read_tokenizer, read_config}) {
    try {
      read(file);
    } catch (const graft::Error&) {
    }
  }
  return 0;
}
