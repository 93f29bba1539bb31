// Whether a tokenizer is the model's own, by what the model's configuration says of it.
#pragma once

#include <string>

#include "config/model_config.h"
#include "text/tokenizer.h"

namespace graft {

/// Throws InvalidArgument where the tokenizer cannot be that of the model in `path`: it has more tokens than the model,
/// or the configuration's bos_token_id and eos_token_id are both ids that it cannot mean. An id is that if the
/// tokenizer has no such token, or has bos or eos of its own and an ordinary piece of text there. (Another special
/// token may be meant: a chat model's turns end with another one than its texts.) Where one of the two alone cannot be
/// meant, or there is no other, returns what a person should look at; else nothing. Which tokenizer it is of several
/// with the same ids for both is not seen.
std::string refuse_other_tokenizer(const ModelConfig& config, const Tokenizer& tokenizer, const std::string& path);

}  // namespace graft
