// Any bytes as a chat template, as a template over a document, and as a literal of Python: a result or an Error, never
// a crash or a hang.
#include <string>
#include <string_view>

#include "base/error.h"
#include "text/chat_template.h"
#include "text/document_template.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  try {
    graft::apply_chat_template(
        {reinterpret_cast<const char*>(data), size},
        std::vector<graft::ChatMessage>{{"system", "s"}, {"user", "hi there"}, {"assistant", "yo"}},
        {{"bos_token", "<s>"}, {"tools", {{{"name", "f"}}}}}, true);
  } catch (const graft::Error&) {
  }
  const std::string text(reinterpret_cast<const char*>(data), size);
  try {
    graft::DocumentTemplate(text, "fuzz").render({{"question", "why"}, {"choices", {"a", "b"}}, {"label", 1}});
  } catch (const graft::Error&) {
  }
  graft::python_literal(text);
  return 0;
}
