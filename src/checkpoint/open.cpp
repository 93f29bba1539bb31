// Which reader a path needs: by content for files, by the names Hugging Face uses for folders.
#include <algorithm>
#include <cstring>
#include <fstream>

#include "base/error.h"
#include "checkpoint/gguf.h"
#include "checkpoint/gguf_parts.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/sharded.h"
#include "checkpoint/source.h"
#include "checkpoint/torch_zip.h"

namespace graft {
namespace {

namespace fs = std::filesystem;

std::string first_bytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string bytes(16, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<std::size_t>(file.gcount()));
  return bytes;
}

std::unique_ptr<TensorSource> open_file(const fs::path& path) {
  const std::string head = first_bytes(path);
  if (head.starts_with("GGUF")) return open_gguf(path);
  const std::string name = path.filename().string();
  if (name.ends_with(".index.json")) return open_sharded(path);
  const std::string extension = path.extension().string();
  if (head.starts_with("PK") || head.starts_with("\x80\x02\x8a\x0a")) return open_torch_zip(path);
  // A safetensors header opens with '{' behind its eight length bytes.
  if (extension == ".safetensors" || (head.size() > 8 && head[8] == '{')) return open_safetensors(path);
  if (is_bare_pickle(head)) return open_torch_zip(path);  // which says what it is
  // Damaged beyond its first bytes: let the reader of its name say how.
  if (extension == ".gguf") return open_gguf(path);
  if (extension == ".bin" || extension == ".pt" || extension == ".pth") return open_torch_zip(path);
  fail(Category::Unsupported, path.string(), "is no checkpoint graft knows (safetensors, PyTorch zip, GGUF)");
}

bool parts_of_one_model(const std::vector<fs::path>& files) {
  const auto first = gguf_part_name(files.front());
  return first && std::ranges::all_of(files, [&](const fs::path& file) {
           const auto name = gguf_part_name(file);
           return name && name->stem == first->stem && name->count == first->count;
         });
}

std::unique_ptr<TensorSource> open_folder(const fs::path& path) {
  for (const char* name : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
                           "pytorch_model.bin.index.json", "adapter_model.safetensors", "adapter_model.bin"}) {
    if (fs::exists(path / name)) return open_checkpoint(path / name);
  }
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(path, error)) {
    if (entry.path().extension() == ".gguf") found.push_back(entry.path());
  }
  if (error) fail(Category::Io, path.string(), "cannot be listed: {}", error.message());
  if (found.size() == 1 || (found.size() > 1 && parts_of_one_model(found)))
    return open_gguf(*std::ranges::min_element(found));
  if (found.size() > 1)
    fail(Category::InvalidArgument, path.string(), "holds {} GGUF files; name one of them", found.size());
  fail(Category::NotFound, path.string(),
       "holds no checkpoint: looked for model.safetensors, pytorch_model.bin (each also with .index.json), "
       "adapter_model.safetensors, "
       "adapter_model.bin and *.gguf");
}

}  // namespace

std::unique_ptr<TensorSource> open_checkpoint(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) {
    if (error && error != std::errc::no_such_file_or_directory)
      fail(Category::Io, path.string(), "cannot be read: {}", error.message());
    fail(Category::NotFound, path.string(), "no such file or folder");
  }
  if (fs::is_directory(status)) return open_folder(path);
  if (!fs::is_regular_file(status)) fail(Category::Io, path.string(), "is neither a file nor a folder");
  return open_file(path);
}

}  // namespace graft
