#include "text/document_template.h"

#include "base/error.h"
#include "text/jinja_eval.h"

namespace graft {
namespace {

using namespace text::jinja;

// The engine's errors speak of chat templates, which is what it was made for.
template <typename Run>
auto told_of(const std::string& context, Run&& run) {
  try {
    return run();
  } catch (const Error& error) {
    throw Error(error.category(), error.message(), context);
  }
}

}  // namespace

DocumentTemplate::DocumentTemplate(std::string_view source, std::string context)
    : context_(std::move(context)),
      block_(
          told_of(context_, [&] { return std::make_shared<const Block>(parse_template(source, Whitespace::Kept)); })) {}

std::string DocumentTemplate::render(const nlohmann::ordered_json& document) const {
  return told_of(context_, [&] {
    Arena arena;
    return text::jinja::render(*block_, *arena.of_json(document).dict(), arena, Printed::Defined);
  });
}

std::optional<nlohmann::ordered_json> python_literal(const std::string& written) {
  if (written.find_first_not_of(" \t\n") == std::string::npos) return std::nullopt;
  // Python's literals are expressions of Jinja too, and what they come to can be had as JSON.
  try {
    const Block block = parse_template("{{ (" + written + ") | tojson }}", Whitespace::Kept);
    Arena arena;
    const std::string json = text::jinja::render(block, {}, arena, Printed::Defined);
    auto value = nlohmann::ordered_json::parse(json, nullptr, /*allow_exceptions=*/false);
    if (value.is_discarded()) return std::nullopt;
    return value;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace graft
