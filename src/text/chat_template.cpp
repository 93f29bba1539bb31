#include "text/chat_template.h"

#include <ctime>

#include "text/jinja_eval.h"

namespace graft {
namespace {

using namespace text::jinja;

Value raise(const Arguments& arguments) {
  template_error("the template refuses: " + arguments.at(0, "message").str());
}

Value make_dict(const Arguments& arguments) {
  return Value::dict(arguments.named);
}

Value make_range(const Arguments& arguments) {
  const std::size_t count = arguments.positional.size();
  const std::int64_t begin = count > 1 ? arguments.positional[0].integer("range") : 0;
  const std::int64_t end = arguments.at(count > 1 ? 1 : 0, "stop").integer("range");
  const std::int64_t step = count > 2 ? arguments.positional[2].integer("range") : 1;
  constexpr std::size_t kLongest = 100'000;
  if (step == 0) template_error("a range of step 0");
  List items;
  for (std::int64_t value = begin; step > 0 ? value < end : value > end;) {
    if (items.size() >= kLongest) template_error("a range of more than 100,000 values");
    items.emplace_back(value);
    if (__builtin_add_overflow(value, step, &value)) break;
  }
  return Value::list(std::move(items));
}

Value now(const Arguments& arguments) {
  const std::time_t time = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&time, &parts);
  char text[256];
  return std::string(text,
                     std::strftime(text, sizeof text, arguments.at(0, "format").text("strftime_now").c_str(), &parts));
}

}  // namespace

std::string apply_chat_template(std::string_view source, const nlohmann::ordered_json& messages,
                                const nlohmann::ordered_json& extra, bool add_generation_prompt) {
  const Block block = parse_template(source);
  Entries variables = {{"raise_exception", Value::function(raise)},
                       {"strftime_now", Value::function(now)},
                       {"namespace", Value::function(make_dict)},
                       {"dict", Value::function(make_dict)},
                       {"range", Value::function(make_range)},
                       {"tools", nullptr},
                       {"documents", nullptr}};
  if (extra.is_object()) {
    for (const auto& [name, value] : extra.items()) variables.emplace_back(name, Value::of_json(value));
  }
  variables.emplace_back("messages", Value::of_json(messages));
  variables.emplace_back("add_generation_prompt", add_generation_prompt);
  return render(block, std::move(variables));
}

std::string apply_chat_template(std::string_view source, const std::vector<ChatMessage>& messages,
                                const nlohmann::ordered_json& extra, bool add_generation_prompt) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const ChatMessage& message : messages) list.push_back({{"role", message.role}, {"content", message.content}});
  return apply_chat_template(source, list, extra, add_generation_prompt);
}

}  // namespace graft
