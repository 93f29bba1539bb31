// Any bytes as a checkpoint: opened and read whole, or refused with graft::Error.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "base/error.h"
#include "checkpoint/pickle.h"
#include "checkpoint/torch_zip.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  static const int descriptor = ::memfd_create("torch_zip", 0);
  if (::ftruncate(descriptor, 0) != 0 || ::pwrite(descriptor, data, size, 0) != static_cast<ssize_t>(size)) return 0;
  try {
    const auto source = graft::open_torch_zip("/proc/self/fd/" + std::to_string(descriptor));
    graft::content_hash(*source);
  } catch (const graft::Error&) {
  }
  // Checksums keep most mutations away from the pickle reader, so it gets the bytes directly too.
  try {
    graft::read_pickle({reinterpret_cast<const char*>(data), size}, "fuzz");
  } catch (const graft::Error&) {
  }
  return 0;
}
