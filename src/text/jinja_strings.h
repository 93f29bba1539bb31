// Python's operations on strings. What they give lies in the text they are given, or in the arena.
#pragma once

#include <string>
#include <string_view>

#include "text/jinja_arena.h"

namespace graft::text::jinja {

/// `text` with U+FFFD for what is not UTF-8.
std::string_view well_formed(std::string_view text, Arena& arena);
/// Where `part` begins in `text` at `from` or behind it, else npos. In linear time, which std::string_view::find does
/// not keep to.
std::size_t place_of(std::string_view part, std::string_view text, std::size_t from, Arena& arena);
/// Without white space at its ends, or without any of the characters of `set` where that is a string.
std::string_view stripped(std::string_view text, const Value& set, bool left, bool right, Arena& arena);
std::string_view cased(std::string_view text, bool upper, Arena& arena);

using StringMethod = Value (*)(std::string_view, const Arguments&);
/// strip, upper, split …; null for an unknown name.
StringMethod string_method(std::string_view name);

}  // namespace graft::text::jinja
