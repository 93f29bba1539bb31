// The checks every format needs before a claimed tensor may be believed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/source.h"

namespace graft {

/// Bytes of a tensor of this type and shape. Throws Corruption (naming `where` and the tensor) for a negative size, a
/// size whose product does not fit 62 bits, or a row that is not a whole number of blocks.
std::uint64_t checked_bytes(const std::string& where, const std::string& name, DType dtype,
                            const std::vector<std::int64_t>& shape);

/// Checks the tensors of one file, each inside [begin, file size): throws Corruption for two tensors of one name, two
/// that share bytes, or one that ends beyond the file (which is how a truncated file shows).
void check_layout(const std::string& where, const std::vector<TensorInfo>& tensors, std::uint64_t begin,
                  std::uint64_t file_size);

/// True for well-formed UTF-8 (no overlong forms, no surrogates, at most U+10FFFF).
bool is_utf8(std::string_view text);

/// `text` made fit for an error message: control and non-ASCII bytes escaped, at most 80 characters.
std::string printable(std::string_view text);

}  // namespace graft
