#include <fmt/format.h>

#include <cmath>

#include "text/jinja_eval.h"

namespace graft::text::jinja {
namespace {

Value repeated(const Value& value, std::int64_t count, Arena& arena) {
  if (!value.truth()) return value;
  if (const auto* text = value.string()) {
    TextBuilder out(arena);
    for (; count > 0; --count) out += *text;
    return out.keep();
  }
  ListBuilder out(arena);
  for (; count > 0; --count) out.add(*value.list());
  return out.keep();
}

Value together(const Value& left, const Value& right, Arena& arena) {
  if (left.string() != nullptr) {
    TextBuilder out(arena);
    out += *left.string();
    out += *right.string();
    return out.keep();
  }
  ListBuilder out(arena);
  out.add(*left.list());
  out.add(*right.list());
  return out.keep();
}

Value of_reals(const std::string& name, const Value& left, const Value& right, bool real) {
  const double a = left.real();
  const double b = right.real();
  if (b == 0 && (name == "/" || name == "//" || name == "%")) template_error("division by zero");
  if (name == "+") return a + b;
  if (name == "-") return a - b;
  if (name == "*") return a * b;
  if (name == "/") return a / b;
  if (name == "//") return std::floor(a / b);
  if (name == "%") return a - b * std::floor(a / b);
  const double power = std::pow(a, b);
  if (!real && b >= 0 && std::fabs(power) < 9e15) return static_cast<std::int64_t>(power);
  return power;
}

Value of_integers(const std::string& name, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflow = false;
  if (name == "+") overflow = __builtin_add_overflow(a, b, &result);
  if (name == "-") overflow = __builtin_sub_overflow(a, b, &result);
  if (name == "*") overflow = __builtin_mul_overflow(a, b, &result);
  if (name == "//" || name == "%") {
    if (b == 0) template_error("division by zero");
    if (b == -1) return name == "%" ? std::int64_t{0} : static_cast<std::int64_t>(0 - static_cast<std::uint64_t>(a));
    const std::int64_t quotient = a / b - ((a % b != 0 && (a % b < 0) != (b < 0)) ? 1 : 0);
    result = name == "//" ? quotient : a - quotient * b;
  }
  if (overflow) template_error("a number of more than 64 bits");
  return result;
}

}  // namespace

void missing(const Value& value, std::string_view why) {
  template_error(fmt::format("'{}' is undefined, {}", value.get<Undefined>()->name, why));
}

Value arithmetic(const std::string& name, const Value& left, const Value& right, Arena& arena) {
  const bool texts = left.string() != nullptr && right.string() != nullptr;
  const bool lists = left.list() != nullptr && right.list() != nullptr;
  if (name == "+" && (texts || lists)) return together(left, right, arena);
  const auto repeats = [](const Value& value) { return value.string() != nullptr || value.list() != nullptr; };
  if (name == "*" && repeats(left)) return repeated(left, right.integer("'*'"), arena);
  if (name == "*" && repeats(right)) return repeated(right, left.integer("'*'"), arena);
  if (!left.number() || !right.number()) {
    if (left.undefined()) missing(left, fmt::format("'{}' needs it", name));
    if (right.undefined()) missing(right, fmt::format("'{}' needs it", name));
    template_error(fmt::format("{} {} {} is not possible", left.type(), name, right.type()));
  }
  const bool real = left.get<double>() != nullptr || right.get<double>() != nullptr;
  return real || name == "/" || name == "**" ? of_reals(name, left, right, real)
                                             : of_integers(name, left.integer(""), right.integer(""));
}

}  // namespace graft::text::jinja
