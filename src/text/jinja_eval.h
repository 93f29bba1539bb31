// Runs a parsed template.
#pragma once

#include <string>
#include <string_view>

#include "text/jinja_arena.h"
#include "text/jinja_ast.h"

namespace graft::text::jinja {

/// Applies filter, test or method by name; throws InvalidArgument for an unknown one.
Value apply_filter(std::string_view name, const Value& value, const Arguments& arguments);
bool apply_test(std::string_view name, const Value& value, const Arguments& arguments);
/// value.name(…) of strings, dicts and lists; undefined where there is none such.
Value method_of(const Value& value, std::string_view name, Arena& arena);

/// Throws InvalidArgument: the undefined `value` was used, and `why` that needs it.
[[noreturn]] void missing(const Value& value, std::string_view why);
/// left `name` right for + - * / // % **, with Python's rules. Throws InvalidArgument for types it is not defined for.
Value arithmetic(const std::string& name, const Value& left, const Value& right, Arena& arena);

/// Whether text that comes of an undefined value is empty, or an error (Jinja's StrictUndefined, as far as printing).
enum class Printed { Undefined, Defined };

/// Output of `block` with these variables, whose values lie in `arena`. Throws InvalidArgument (what raise_exception
/// says, wrong types), ResourceExhausted (the limits of the arena; too deep).
std::string render(const Block& block, const Entries& variables, Arena& arena, Printed printed = Printed::Undefined);

}  // namespace graft::text::jinja
