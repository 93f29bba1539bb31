// Items of lists, dicts (their keys) and strings (their characters), as Python counts them.
#pragma once

#include <cstdint>
#include <optional>

#include "text/jinja_arena.h"

namespace graft::text::jinja {

/// What a for loop sees; counts a step for each. Throws InvalidArgument for what has no items.
const List& items_of(const Value& value, Arena& arena);
/// How many there are. Throws InvalidArgument, but for undefined: 0.
std::int64_t length_of(const Value& value, Arena& arena);
/// The item of a list, or character of a string, at `index`, from the end where that is negative; undefined behind the
/// ends and for other values.
Value item_at(const Value& value, std::int64_t index, Arena& arena);

struct Slice {
  std::optional<std::int64_t> begin, end, step;
};
/// value[begin:end:step]. Throws InvalidArgument (no list and no string, a step of 0).
Value sliced(const Value& value, const Slice& slice, Arena& arena);

}  // namespace graft::text::jinja
