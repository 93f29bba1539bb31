#include "text/jinja_arena.h"

#include "base/error.h"
#include "text/unicode.h"

namespace graft::text::jinja {

void Arena::out_of_steps() {
  fail(Category::ResourceExhausted, "chat template",
       "stopped after {} steps, the limit of one rendering; does a loop of it multiply itself?", kMaxSteps);
}

void Arena::out_of_bytes() {
  fail(Category::ResourceExhausted, "chat template",
       "stopped after {} MiB of text and lists, the limit of one rendering; does a text or list of it multiply itself?",
       kMaxBytes >> 20);
}

Value Arena::function(Function function) {
  take(sizeof(Function));
  return &functions_.emplace_back(std::move(function));
}

Value Arena::dict(Entries entries) {
  take(sizeof(Entries) + entries.size() * sizeof(Entries::value_type));
  return &dicts_.emplace_back(std::move(entries));
}

Loop& Arena::loop(const List& items) {
  take(sizeof(Loop));
  return loops_.emplace_back(Loop{items, 0});
}

Value Arena::of_json(const nlohmann::ordered_json& json, int depth) {
  using Json = nlohmann::ordered_json;
  check_depth(depth);
  if (json.is_null()) return nullptr;
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_integer()) return json.get<std::int64_t>();
  if (json.is_number()) return json.get<double>();
  if (json.is_string()) return std::string_view(json.get_ref<const Json::string_t&>());
  if (json.is_array()) {
    List items;
    for (const auto& item : json) items.push_back(of_json(item, depth + 1));
    return &lists_.emplace_back(std::move(items));
  }
  Entries entries;
  for (const auto& [key, item] : json.get_ref<const Json::object_t&>())
    entries.emplace_back(key, of_json(item, depth + 1));
  return &dicts_.emplace_back(std::move(entries));
}

void TextBuilder::add_code_point(char32_t point) {
  const std::size_t before = text_.size();
  append_utf8(text_, point);
  arena_.take(text_.size() - before);
}

std::string_view TextBuilder::keep() {
  arena_.take(sizeof(std::string));
  return arena_.texts_.emplace_back(take());
}

void ListBuilder::add(const List& items) {
  arena_.take(items.size() * sizeof(Value));
  items_.insert(items_.end(), items.begin(), items.end());
}

Value ListBuilder::keep() {
  arena_.take(sizeof(List));
  return &arena_.lists_.emplace_back(std::move(items_));
}

}  // namespace graft::text::jinja
