// Any bytes as a chat template: text or an Error, never a crash or a hang.
#include <string_view>

#include "base/error.h"
#include "text/chat_template.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  try {
    graft::apply_chat_template(
        {reinterpret_cast<const char*>(data), size},
        std::vector<graft::ChatMessage>{{"system", "s"}, {"user", "hi there"}, {"assistant", "yo"}},
        {{"bos_token", "<s>"}, {"tools", {{{"name", "f"}}}}}, true);
  } catch (const graft::Error&) {
  }
  return 0;
}
