// Cleaning of text as it is read.
#pragma once

#include <string>
#include <string_view>

namespace graft {

/// `text` with every ill-formed UTF-8 sequence replaced by U+FFFD, one for each maximal subpart (Unicode 15,
/// section 3.9, "U+FFFD Substitution of Maximal Subparts"), which is what Python's errors="replace" does.
std::string replace_invalid_utf8(std::string_view text);

/// The same in place; true where there was such a sequence.
bool make_valid_utf8(std::string& text);

/// Words of valid UTF-8 `text` joined by one space, as Python's " ".join(text.split()).
std::string collapse_whitespace(std::string_view text);

/// Valid UTF-8 `text` without white space at its ends, as Python's str.strip().
std::string without_space_around(std::string_view text);

/// True if the text is empty or only whitespace as Python's str.isspace has it.
bool is_blank(std::string_view text);

}  // namespace graft
