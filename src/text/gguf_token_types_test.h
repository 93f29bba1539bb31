// What GGUF files call the types of tokens, for tests that write some.
#pragma once

namespace graft {

constexpr int kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6;

}  // namespace graft
