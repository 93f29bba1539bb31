#include "text/chat_template.h"

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <iterator>

#include "text/jinja_eval.h"

namespace graft {
namespace {

using namespace text::jinja;

Value raise(const Arguments& arguments) {
  template_error(fmt::format("the template refuses: {}", str(arguments.at(0, "message"), arguments.arena)));
}

Value make_dict(const Arguments& arguments) {
  return arguments.arena.dict(arguments.named);
}

Value make_range(const Arguments& arguments) {
  const std::size_t count = arguments.positional.size();
  const std::int64_t begin = count > 1 ? arguments.positional[0].integer("range") : 0;
  const std::int64_t end = arguments.at(count > 1 ? 1 : 0, "stop").integer("range");
  const std::int64_t step = count > 2 ? arguments.positional[2].integer("range") : 1;
  if (step == 0) template_error("a range of step 0");
  ListBuilder items(arguments.arena);
  for (std::int64_t value = begin; step > 0 ? value < end : value > end;) {
    items.add(value);
    if (__builtin_add_overflow(value, step, &value)) break;
  }
  return items.keep();
}

Value now(const Arguments& arguments) {
  const std::time_t time = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&time, &parts);
  const std::string format(arguments.at(0, "format").text("strftime_now"));
  char text[256];
  TextBuilder out(arguments.arena);
  out += std::string_view(text, std::strftime(text, sizeof text, format.c_str(), &parts));
  return out.keep();
}

}  // namespace

std::string apply_chat_template(std::string_view source, const nlohmann::ordered_json& messages,
                                const nlohmann::ordered_json& extra, bool add_generation_prompt) {
  const Block block = parse_template(source);
  Arena arena;
  Entries variables = {{"raise_exception", arena.function(raise)},
                       {"strftime_now", arena.function(now)},
                       {"namespace", arena.function(make_dict)},
                       {"dict", arena.function(make_dict)},
                       {"range", arena.function(make_range)},
                       {"tools", nullptr},
                       {"documents", nullptr}};
  if (extra.is_object()) std::ranges::copy(*arena.of_json(extra).dict(), std::back_inserter(variables));
  variables.emplace_back("messages", arena.of_json(messages));
  variables.emplace_back("add_generation_prompt", add_generation_prompt);
  return render(block, variables, arena);
}

std::string apply_chat_template(std::string_view source, const std::vector<ChatMessage>& messages,
                                const nlohmann::ordered_json& extra, bool add_generation_prompt) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const ChatMessage& message : messages) list.push_back({{"role", message.role}, {"content", message.content}});
  return apply_chat_template(source, list, extra, add_generation_prompt);
}

}  // namespace graft
