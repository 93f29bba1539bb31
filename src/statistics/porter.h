// The Porter stemmer (Porter 1980) with the later changes that nltk has gathered.
#pragma once

#include <string>
#include <string_view>

namespace graft {

/// Stem of a word in lower case, valid UTF-8: equal to nltk 3.10.4's PorterStemmer().stem. What is not one of a e i o u
/// y counts as a consonant.
std::string porter_stem(std::string_view word);

}  // namespace graft
