// Words as the E2E challenge's script and the captions of COCO have them before ROUGE-L and CIDEr are counted.
#pragma once

#include <string>
#include <string_view>

namespace graft {

/// English text as Penn Treebank words in lower case with one space between them and without . , : ; ? ! - -- ... and
/// quotes: what pycocoevalcap's PTBTokenizer makes of Stanford's (CoreNLP 3.4.1, a program in Java with some thousand
/// rules). These are the rules that restaurant and picture descriptions need: contractions, abbreviations, numbers,
/// prices, hyphens and brackets. Not all of the others are there (fractions as one character, emoticons, SGML, phone
/// numbers). Bytes that are not UTF-8 count as U+FFFD. docs/metrics.md says on what it was compared.
std::string ptb_words(std::string_view text);

}  // namespace graft
