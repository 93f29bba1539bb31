// The prompts of `graft generate`, and who writes each of them on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "cli/core/writers.h"

namespace graft {

struct WritingRequest {
  std::string where;              ///< for messages: "prompts.jsonl:3"
  std::string text;               ///< empty where token ids were given
  std::vector<std::int64_t> ids;  ///< what the model reads
  std::int32_t slot = -1;         ///< of the writer
  std::size_t number = 0;         ///< of the prompt, which several writers may share
};

struct PromptForm {
  std::function<std::vector<std::int64_t>(const std::string&)> encode;
  bool messages = false;  ///< messages of a chat, which token ids cannot be
};

/// One prompt, once for each writer.
std::vector<WritingRequest> requests_for(const std::string& where, const std::string& text, const PromptForm& form,
                                         const Writers& writers);

/// The prompts of a file, one JSON value a line (empty lines are none): a string, a list of token ids, or
/// {"prompt": either, "adapter": a writer's name}. A prompt that names nobody is written on by every writer. Throws
/// NotFound and Io as read_file; InvalidArgument (file, line) for anything else and for a writer that is none, and
/// where the file holds no prompt.
std::vector<WritingRequest> read_requests_file(const std::string& file, const PromptForm& form, const Writers& writers);

/// Whether texts have to be told apart by their writers.
bool several_writers(const std::vector<WritingRequest>& requests);

}  // namespace graft
