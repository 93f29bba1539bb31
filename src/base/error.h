// The one error type of graft. The command maps its category to an exit code, a server maps it to an HTTP status.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace graft {

enum class Category { InvalidArgument, NotFound, Corruption, Unsupported, Io, ResourceExhausted, Cancelled, Internal };

/// Name of a category as printed and logged, e.g. "InvalidArgument".
const char* name(Category category);

/// Process exit code of a category: 2 InvalidArgument, 3 NotFound, 4 Corruption, 5 Unsupported, 6 Io,
/// 7 ResourceExhausted, 130 Cancelled, 70 Internal.
int exit_code(Category category);

/// An error a person can act on: `message` says what is wrong with which value and how to mend it; `context` names the
/// file, field or tensor it concerns (may be empty). what() is "context: message".
class Error : public std::runtime_error {
 public:
  Error(Category category, std::string message, std::string context = "");

  Category category() const { return category_; }
  const std::string& message() const { return message_; }
  const std::string& context() const { return context_; }

  /// The same error seen from further out: `outer` is put before the present context.
  Error within(const std::string& outer) const;

 private:
  Category category_;
  std::string message_;
  std::string context_;
};

/// Throws Error{category, formatted message, context}. The context comes first: fail(Category::Corruption, path, "…",
/// …).
template <typename... Args>
[[noreturn]] void fail(Category category, const std::string& context, fmt::format_string<Args...> format,
                       Args&&... args) {
  throw Error(category, fmt::format(format, std::forward<Args>(args)...), context);
}

}  // namespace graft
