// What the tests of this room share.
#pragma once

#include <string>
#include <vector>

#include "base/rng.h"
#include "corpus/documents.h"
#include "data/data_test_support.h"

namespace graft {

/// A text of `count` words out of `vocabulary` different ones, "w0" and on.
inline std::string random_text(Rng& rng, std::size_t count, std::uint64_t vocabulary = 10'000) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += (text.empty() ? "w" : " w") + std::to_string(rng.below(vocabulary));
  return text;
}

inline std::vector<std::string> documents_of(const std::vector<std::string>& paths, const DocumentSettings& settings) {
  DocumentReader reader(paths, settings);
  std::vector<std::string> texts;
  for (Document document; reader.next(document);) texts.push_back(document.text);
  return texts;
}

}  // namespace graft
