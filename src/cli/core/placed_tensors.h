// What a user is told of an adapter that was loaded.
#pragma once

#include <cstddef>
#include <string>

namespace graft {

/// One line on standard error: "PATH: lora adapter, 120 tensors, every one placed", with "NAME = " in front where it
/// goes by a name. load_adapter() refuses an adapter of which one has no place. A line is told once in a process,
/// however often the adapter is read; with --quiet not at all.
void tell_placed(const std::string& path, const std::string& method, std::size_t tensors, const std::string& name = "");

}  // namespace graft
