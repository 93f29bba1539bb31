// Any bytes as a template, and the same bytes as rows of every format: an Error or a result, nothing else.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "data/reader.h"
#include "data/template.h"

namespace {

void render(std::string_view text) {
  const graft::TextTemplate made(text, "fuzz");
  const auto names = made.fields();
  std::size_t asked = 0;
  made.render([&](const std::string& name) {
    if (names.at(asked++) != name) __builtin_trap();
    return name;
  });
  if (asked != names.size()) __builtin_trap();
}

template <typename Run>
void expect_error_or_result(Run&& run) {
  try {
    run();
  } catch (const graft::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  expect_error_or_result([&] { render(text); });
  expect_error_or_result([&] { graft::read_csv(text, "fuzz.csv"); });
  expect_error_or_result([&] { graft::read_tsv(text, "fuzz.tsv"); });
  expect_error_or_result([&] { graft::read_jsonl(text, "fuzz.jsonl"); });
  return 0;
}
