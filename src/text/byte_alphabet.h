// GPT-2's printable stand-ins for the 256 bytes (Radford et al. 2019): byte-level vocabularies are written in them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace graft::text {

/// The bytes that a byte-level token writes ("Ġthe" gives " the"); nothing where a character stands for no byte.
std::optional<std::string> bytes_of_alphabet(std::string_view token);

/// Bytes written in the alphabet.
std::string alphabet_of_bytes(std::string_view bytes);

}  // namespace graft::text
