// What models are compared on.
#pragma once

#include <cstdint>
#include <vector>

#include "arch/core/model.h"

namespace graft {

/// A short text, and one beyond the windows and the stretches of rotation of the goldens; `slot`: an adapter's.
inline StepInput parity_texts(const Model& model, std::int32_t slot = -1) {
  const std::vector<std::int64_t> text = {5, 17, 99, 3, 42, 150, 7, 7, 61, 20, 88, 1};
  std::vector<std::int64_t> longer;
  for (std::int64_t i = 0; i < 56; ++i) longer.push_back(3 + 11 * i % 150);
  StepInput input;
  for (const auto& one : {text, longer}) {
    if (model.encoder_decoder()) {
      const auto source = input.encoder.add(one, -1, slot);
      input.decoder.add({0, 17, 5, 9, 23}, -1, slot, source);
    } else {
      input.decoder.add(one, -1, slot);
    }
  }
  return input;
}

}  // namespace graft
