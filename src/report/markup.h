// Text into HTML and SVG: escaping, cutting and number formats. Everything a report shows goes through here.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace graft {

/// Safe as text and inside a double-quoted attribute: & < > " ' become references; invalid UTF-8 and C1 controls become
/// U+FFFD, C0 controls except newline and tab their visible picture (U+2400 …), CR LF becomes LF, explicit
/// bidirectional controls U+FFFD.
std::string escape(std::string_view text);

/// The first `characters` code points, with "…" where something was cut. Never cuts inside a UTF-8 sequence.
std::string excerpt(std::string_view text, std::size_t characters);

/// At most `characters` (3 or more) code points, with "…" in the middle, where names of a kind differ least.
std::string excerpt_middle(std::string_view text, std::size_t characters);

/// How many characters a reader sees, about: code points, and one for each stray byte, which escape() shows as U+FFFD.
std::size_t shown_characters(std::string_view text);

/// "86.5%". NaN is "–", as in every format here.
std::string percent(double fraction, int decimals = 1);
/// "+1.5" and "−0.4" (U+2212) of 0.015 and -0.004: a difference of two fractions in percentage points.
std::string percentage_points(double difference);
/// Four significant digits, without trailing zeros: "0.003", "1.235", "1.2e-07".
std::string number(double value);
/// "1.23 T", "45.6 G", "789": powers of 1000 with the SI letter.
std::string si(double value);

}  // namespace graft
