// A strict reader of our own pages for the tests: every tag closed in order, every attribute quoted, nothing raw.
#pragma once

#include <string>
#include <string_view>

namespace graft {

/// An empty string for a well-formed page or drawing, else what is wrong and where.
std::string markup_problem(std::string_view page);

}  // namespace graft
