// Runs a parsed template.
#pragma once

#include <map>
#include <string>

#include "text/jinja_ast.h"

namespace graft::text::jinja {

/// Applies filter, test or method by name; throws InvalidArgument for an unknown one.
Value apply_filter(const std::string& name, const Value& value, const Arguments& arguments);
bool apply_test(const std::string& name, const Value& value, const Arguments& arguments);
/// value.name(…) of strings, dicts and lists; undefined where there is none such.
Value method_of(const Value& value, const std::string& name);

/// Most bytes of one string, and of the whole output.
inline constexpr std::size_t kMaxOutput = 64u << 20;
/// Throws InvalidArgument: the undefined `value` was used, and `why` that needs it.
[[noreturn]] void missing(const Value& value, const char* why);
/// `text` itself. Throws ResourceExhausted where it is longer than kMaxOutput.
Value limited(std::string text);
/// left `name` right for + - * / // % **, with Python's rules. Throws InvalidArgument for types it is not defined for.
Value arithmetic(const std::string& name, const Value& left, const Value& right);

/// Whether text that comes of an undefined value is empty, or an error (Jinja's StrictUndefined, as far as printing).
enum class Printed { Undefined, Defined };

/// Output of `block` with these variables. Throws InvalidArgument (what raise_exception says, wrong types),
/// ResourceExhausted (too many steps, too deep, too long an output).
std::string render(const Block& block, Entries variables, Printed printed = Printed::Undefined);

}  // namespace graft::text::jinja
