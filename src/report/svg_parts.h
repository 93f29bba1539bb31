// What the drawings share.
#pragma once

namespace graft {

inline constexpr double kCharacterWidth = 6.9;  ///< of the 12-unit chart font, on average
inline constexpr int kColours = 6;              ///< classes s0 to s5 of chart_css()

}  // namespace graft
