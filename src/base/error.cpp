#include "base/error.h"

namespace graft {

const char* name(Category category) {
  switch (category) {
    case Category::InvalidArgument:
      return "InvalidArgument";
    case Category::NotFound:
      return "NotFound";
    case Category::Corruption:
      return "Corruption";
    case Category::Unsupported:
      return "Unsupported";
    case Category::Io:
      return "Io";
    case Category::ResourceExhausted:
      return "ResourceExhausted";
    case Category::Cancelled:
      return "Cancelled";
    case Category::Internal:
      return "Internal";
  }
  return "Internal";
}

int exit_code(Category category) {
  switch (category) {
    case Category::InvalidArgument:
      return 2;
    case Category::NotFound:
      return 3;
    case Category::Corruption:
      return 4;
    case Category::Unsupported:
      return 5;
    case Category::Io:
      return 6;
    case Category::ResourceExhausted:
      return 7;
    case Category::Cancelled:
      return 130;
    case Category::Internal:
      return 70;
  }
  return 70;
}

Error::Error(Category category, std::string message, std::string context)
    : std::runtime_error(context.empty() ? message : context + ": " + message),
      category_(category),
      message_(std::move(message)),
      context_(std::move(context)) {}

Error Error::within(const std::string& outer) const {
  return Error(category_, message_, context_.empty() ? outer : outer + ": " + context_);
}

}  // namespace graft
