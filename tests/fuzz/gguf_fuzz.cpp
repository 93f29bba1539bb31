// Any bytes as a checkpoint, and as a LoRA adapter of llama.cpp's: opened and read whole, or refused with graft::Error.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "checkpoint/gguf.h"
#include "config/gguf_adapter.h"

namespace {

void read_halves(const graft::TensorSource& source) {
  for (const graft::GgufLora& lora : graft::read_gguf_adapter(source).loras) {
    for (const graft::TensorInfo* half : {lora.a, lora.b}) {
      std::vector<float> values(static_cast<std::size_t>(half->elements()));
      graft::to_float(half->dtype, source.bytes(*half), values);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  static const int descriptor = ::memfd_create("gguf", 0);
  if (::ftruncate(descriptor, 0) != 0 || ::pwrite(descriptor, data, size, 0) != static_cast<ssize_t>(size)) return 0;
  try {
    const auto source = graft::open_gguf("/proc/self/fd/" + std::to_string(descriptor));
    graft::content_hash(*source);
    source->metadata();  // the tokenizer's arrays are read only then
    graft::gguf_metadata("/proc/self/fd/" + std::to_string(descriptor));
    read_halves(*source);
  } catch (const graft::Error&) {
  }
  return 0;
}
