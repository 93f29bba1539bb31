// Any bytes as a tokenizer.json: an Error or a tokenizer that encodes and decodes, never a crash.
#include <string>

#include "base/error.h"
#include "text/loaders.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    const graft::text::Pipeline tokenizer(
        graft::text::spec_of_tokenizer_json(graft::text::parse_json(text, "fuzz"), "fuzz"));
    const auto ids = tokenizer.encode("ab  12\xff\xe3\x81\x82<end> a\xcc\x81\r\nThe", true);
    tokenizer.decode(ids, false);
    tokenizer.encode(text.substr(0, 200), false);
  } catch (const graft::Error&) {
  }
  return 0;
}
