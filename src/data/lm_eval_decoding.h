// How lm-evaluation-harness 0.4.13 writes a text (generation_kwargs), what it does to it (filter_list), and what its
// exact_match ignores.
#pragma once

#include <string>

#include "config/yaml.h"
#include "data/task.h"

namespace graft {

/// Fills in stop strings, new tokens and filters; `arguments` and `filters` may be null. Where they do not say, a text
/// ends at the `separator` of demonstrations and has at most 256 tokens, as there. Of several lists of filters the
/// first counts. Throws Unsupported and InvalidArgument: file, line, field.
void read_lm_eval_decoding(const YamlNode* arguments, const YamlNode* filters, const std::string& separator,
                           Decoding& decoding);

/// One of exact_match's settings (regexes_to_ignore, ignore_case, ignore_punctuation, ignore_numbers) into
/// Decoding::compared; false for another key. Throws InvalidArgument.
bool read_lm_eval_ignored(const std::string& key, const YamlNode& value, Decoding& decoding);

}  // namespace graft
