#include "cli/core/writing_requests.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "base/suggest.h"
#include "data/unicode.h"

namespace graft {
namespace {

[[noreturn]] void refuse_prompt_line(const std::string& where, const PromptForm& form) {
  if (form.messages)
    fail(Category::InvalidArgument, where,
         "must be a JSON string: a message to put to --chat, or {{\"prompt\": a message, \"adapter\": a name}}");
  fail(Category::InvalidArgument, where,
       "must be a JSON string or a list of token ids, or {{\"prompt\": either, \"adapter\": a name}}");
}

bool is_token_list(const nlohmann::json& value) {
  return value.is_array() &&
         std::all_of(value.begin(), value.end(), [](const auto& id) { return id.is_number_integer(); });
}

WritingRequest read_prompt_value(const nlohmann::json& value, const std::string& where, const PromptForm& form) {
  WritingRequest request;
  request.where = where;
  if (value.is_string()) {
    request.text = value.get<std::string>();
    request.ids = form.encode(request.text);
  } else if (is_token_list(value) && !form.messages) {
    request.ids = value.get<std::vector<std::int64_t>>();
  } else {
    refuse_prompt_line(where, form);
  }
  return request;
}

void refuse_unknown_prompt_keys(const nlohmann::json& object, const std::string& where) {
  static const std::vector<std::string> kKnown = {"prompt", "adapter"};
  for (const auto& item : object.items()) {
    if (std::find(kKnown.begin(), kKnown.end(), item.key()) == kKnown.end())
      fail(Category::InvalidArgument, where, "unknown key '{}'{}", item.key(), did_you_mean(item.key(), kKnown));
  }
}

void add_for_writers(std::vector<WritingRequest>& requests, WritingRequest request,
                     const std::vector<std::int32_t>& slots) {
  request.number = requests.empty() ? 0 : requests.back().number + 1;
  for (const std::int32_t slot : slots) {
    request.slot = slot;
    requests.push_back(request);
  }
}

void add_prompt_line(std::vector<WritingRequest>& requests, const std::string& line, const std::string& where,
                     const PromptForm& form, const Writers& writers) {
  const auto value = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!value.is_object() || !value.contains("prompt"))
    return add_for_writers(requests, read_prompt_value(value, where, form), writers.slots());
  refuse_unknown_prompt_keys(value, where);
  auto request = read_prompt_value(value.at("prompt"), where, form);
  const auto named = value.find("adapter");
  if (named == value.end()) return add_for_writers(requests, std::move(request), writers.slots());
  if (!named->is_string())
    fail(Category::InvalidArgument, where, "'adapter' must be the name of one, or \"{}\"", kBaseWriter);
  add_for_writers(requests, std::move(request), {writers.slot_of(named->get<std::string>(), where)});
}

}  // namespace

std::vector<WritingRequest> requests_for(const std::string& where, const std::string& text, const PromptForm& form,
                                         const Writers& writers) {
  WritingRequest request;
  request.where = where;
  request.text = text;
  request.ids = form.encode(text);
  std::vector<WritingRequest> requests;
  add_for_writers(requests, std::move(request), writers.slots());
  return requests;
}

std::vector<WritingRequest> read_requests_file(const std::string& file, const PromptForm& form,
                                               const Writers& writers) {
  std::vector<WritingRequest> requests;
  std::istringstream lines(read_file(file));
  std::string line;
  for (std::size_t number = 1; std::getline(lines, line); ++number) {
    // Also a line that is empty but for Windows' end of line.
    if (!is_blank(line)) add_prompt_line(requests, line, fmt::format("{}:{}", file, number), form, writers);
  }
  if (requests.empty()) fail(Category::InvalidArgument, file, "holds no prompt");
  return requests;
}

bool several_writers(const std::vector<WritingRequest>& requests) {
  return std::any_of(requests.begin(), requests.end(),
                     [&](const WritingRequest& request) { return request.slot != requests.front().slot; });
}

}  // namespace graft
