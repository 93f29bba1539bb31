// Errors as text, for the tests of every room.
#pragma once

#include <string>

#include "base/error.h"

namespace graft {

/// "InvalidArgument context: message" of what `run` throws; "nothing" if it throws nothing.
template <typename Run>
std::string error_of(Run&& run) {
  try {
    run();
  } catch (const Error& error) {
    return std::string(name(error.category())) + " " + error.what();
  }
  return "nothing";
}

}  // namespace graft
