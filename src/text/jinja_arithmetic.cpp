#include <fmt/format.h>

#include <cmath>

#include "base/error.h"
#include "text/jinja_eval.h"

namespace graft::text::jinja {
namespace {

Value repeated(const Value& value, std::int64_t count) {
  if (count < 0) count = 0;
  if (const auto* text = value.string()) {
    if (static_cast<double>(text->size()) * static_cast<double>(count) > static_cast<double>(kMaxOutput))
      return limited(std::string(kMaxOutput + 1, ' '));
    std::string out;
    for (std::int64_t index = 0; index < count && !text->empty(); ++index) out += *text;
    return out;
  }
  if (static_cast<double>(value.list()->size()) * static_cast<double>(count) > 1e6)
    template_error("a list of more than a million values");
  List out;
  for (std::int64_t index = 0; index < count && !value.list()->empty(); ++index)
    out.insert(out.end(), value.list()->begin(), value.list()->end());
  return Value::list(std::move(out));
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

[[noreturn]] void missing(const Value& value, const char* why) {
  template_error(fmt::format("'{}' is undefined, {}", value.get<Undefined>()->name, why));
}

Value limited(std::string text) {
  if (text.size() > kMaxOutput)
    fail(Category::ResourceExhausted, "chat template", "a string of more than {} bytes", kMaxOutput);
  return text;
}

Value arithmetic(const std::string& name, const Value& left, const Value& right) {
  if (name == "+" && left.string() != nullptr && right.string() != nullptr)
    return limited(*left.string() + *right.string());
  if (name == "+" && left.list() != nullptr && right.list() != nullptr) {
    List items = *left.list();
    if (items.size() + right.list()->size() > 1'000'000) template_error("a list of more than a million values");
    items.insert(items.end(), right.list()->begin(), right.list()->end());
    return Value::list(std::move(items));
  }
  const auto repeats = [](const Value& value) { return value.string() != nullptr || value.list() != nullptr; };
  if (name == "*" && repeats(left)) return repeated(left, right.integer("'*'"));
  if (name == "*" && repeats(right)) return repeated(right, left.integer("'*'"));
  if (!left.number() || !right.number()) {
    if (left.undefined()) missing(left, fmt::format("'{}' needs it", name).c_str());
    if (right.undefined()) missing(right, fmt::format("'{}' needs it", name).c_str());
    template_error(fmt::format("{} {} {} is not possible", left.type(), name, right.type()));
  }
  const bool real = left.get<double>() != nullptr || right.get<double>() != nullptr;
  return real || name == "/" || name == "**" ? of_reals(name, left, right, real)
                                             : of_integers(name, left.integer(""), right.integer(""));
}

}  // namespace graft::text::jinja
