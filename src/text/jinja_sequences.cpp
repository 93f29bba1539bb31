#include "text/jinja_sequences.h"

#include <fmt/format.h>

#include <algorithm>

#include "text/jinja_strings.h"
#include "text/unicode.h"

namespace graft::text::jinja {
namespace {

std::size_t length_at(std::string_view text, std::size_t at) {
  return utf8_length(static_cast<unsigned char>(text[at]));
}

// `count` characters on from byte `at` of well-formed `text`, or back; not over its ends.
std::size_t moved(std::string_view text, std::size_t at, std::int64_t count) {
  for (; count > 0 && at < text.size(); --count) at += length_at(text, at);
  for (; count < 0 && at > 0; ++count) previous_code_point(text, at);
  return at;
}

// A slice whose bounds lie within the sequence.
struct Range {
  std::int64_t begin, end, step;
  bool holds(std::int64_t index) const { return step > 0 ? index < end : index > end; }
};

// Python's rules for bounds that are left out, negative or too far.
Range range_within(const Slice& slice, std::int64_t size) {
  const std::int64_t step = std::clamp<std::int64_t>(slice.step.value_or(1), -size - 1, size + 1);
  const std::int64_t low = step > 0 ? 0 : -1;
  const std::int64_t high = step > 0 ? size : size - 1;
  const auto bound = [&](std::optional<std::int64_t> given, std::int64_t otherwise) {
    if (!given.has_value()) return otherwise;
    return std::clamp(*given < 0 ? std::max<std::int64_t>(*given, -size - 1) + size : *given, low, high);
  };
  return {bound(slice.begin, step > 0 ? 0 : size - 1), bound(slice.end, step > 0 ? size : -1), step};
}

Value sliced_list(const List& list, const Range& range, Arena& arena) {
  ListBuilder taken(arena);
  for (std::int64_t at = range.begin; range.holds(at); at += range.step) taken.add(list[static_cast<std::size_t>(at)]);
  return taken.keep();
}

Value sliced_text(std::string_view text, const Range& range, Arena& arena) {
  std::size_t at = moved(text, 0, range.begin);
  if (range.step == 1) return text.substr(at, moved(text, at, std::max<std::int64_t>(0, range.end - range.begin)) - at);
  TextBuilder taken(arena);
  for (std::int64_t index = range.begin; range.holds(index); index += range.step) {
    taken += text.substr(at, length_at(text, at));
    at = moved(text, at, range.step);
  }
  return taken.keep();
}

}  // namespace

const List& items_of(const Value& value, Arena& arena) {
  if (const auto* list = value.list()) {
    arena.step(list->size());
    return *list;
  }
  ListBuilder items(arena);
  if (const auto* dict = value.dict()) {
    for (const auto& entry : *dict) items.add(entry.first);
  } else if (const auto* given = value.string()) {
    const std::string_view text = well_formed(*given, arena);
    for (std::size_t at = 0; at < text.size(); at += length_at(text, at))
      items.add(text.substr(at, length_at(text, at)));
  } else if (!value.undefined()) {
    template_error(fmt::format("cannot go over {}", value.type()));
  }
  arena.step(items.items().size());
  return *items.keep().list();
}

std::int64_t length_of(const Value& value, Arena& arena) {
  if (const auto* list = value.list()) return static_cast<std::int64_t>(list->size());
  if (const auto* dict = value.dict()) return static_cast<std::int64_t>(dict->size());
  if (const auto* text = value.string()) return static_cast<std::int64_t>(code_points(well_formed(*text, arena)));
  if (!value.undefined()) template_error(fmt::format("{} has no length", value.type()));
  return 0;
}

Value item_at(const Value& value, std::int64_t index, Arena& arena) {
  if (value.list() == nullptr && value.string() == nullptr) return Undefined{"an index"};
  const std::int64_t size = length_of(value, arena);
  if (index < 0) index += size;
  if (index < 0 || index >= size) return Undefined{"an index behind the end"};
  if (const auto* list = value.list()) return (*list)[static_cast<std::size_t>(index)];
  return sliced(value, {index, index + 1, 1}, arena);
}

Value sliced(const Value& value, const Slice& slice, Arena& arena) {
  if (value.list() == nullptr && value.string() == nullptr)
    template_error(fmt::format("{} cannot be sliced", value.type()));
  if (slice.step == 0) template_error("a slice of step 0");
  const Range range = range_within(slice, length_of(value, arena));
  if (const auto* list = value.list()) return sliced_list(*list, range, arena);
  return sliced_text(well_formed(*value.string(), arena), range, arena);
}

}  // namespace graft::text::jinja
