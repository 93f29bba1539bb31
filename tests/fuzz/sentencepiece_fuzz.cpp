// Any bytes as a SentencePiece model: an Error, or a tokenizer that encodes and decodes and a vocabulary that comes
// back from the file that is written of it; never a crash.
#include <string>
#include <string_view>

#include "base/error.h"
#include "text/loaders.h"

namespace {

void encode_and_decode(std::string_view model) {
  const graft::text::Pipeline tokenizer(graft::text::spec_of_sentencepiece(model, nullptr, "fuzz"));
  const auto ids = tokenizer.encode("ab  12\xff\xe3\x81\x82<end> a\xcc\x81\r\nThe", true);
  tokenizer.decode(ids, false);
  tokenizer.encode(model.substr(0, 64), false);
}

void write_and_read(std::string_view model) {
  const auto read = graft::text::sentencepiece_of_model(model, "fuzz");
  const auto again = graft::text::sentencepiece_of_model(graft::text::write_sentencepiece(read, {}), "again");
  if (again.pieces != read.pieces || again.types != read.types || again.bpe != read.bpe) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view model(reinterpret_cast<const char*>(data), size);
  for (const auto run : {encode_and_decode, write_and_read}) {
    try {
      run(model);
    } catch (const graft::Error&) {
    }
  }
  return 0;
}
