// A strict reader of our own pages for the tests: every tag closed in order, every attribute quoted, nothing raw.
#pragma once

#include <string>
#include <string_view>

namespace graft {

/// An empty string for a well-formed page or drawing, else what is wrong and where.
std::string markup_problem(std::string_view page);

inline std::size_t count(std::string_view text, std::string_view part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

}  // namespace graft
