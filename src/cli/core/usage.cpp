#include "cli/core/usage.h"

#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "base/suggest.h"
#include "config/run_config.h"

namespace graft {
namespace {

std::string likely(const std::string& word, const std::vector<std::string>& known) {
  const std::string close = nearest(word, known);
  return close.empty() ? "" : fmt::format(" (did you mean '{}'?)", close);
}

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::vector<std::string> verb_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands([](const CLI::App*) { return true; }))
    names.push_back(verb->get_name());
  return names;
}

// An option that is unknown leaves its value over too: the option is what is wrong.
std::string unknown_word(const std::vector<std::string>& left_over) {
  const auto option =
      std::find_if(left_over.begin(), left_over.end(), [](const std::string& word) { return word.starts_with("-"); });
  const std::string word = option == left_over.end() ? left_over.front() : *option;
  return word.substr(0, word.find('='));
}

}  // namespace

std::string explain_usage(const CLI::App& app, const CLI::ParseError& error) {
  const auto parsed = app.get_subcommands();
  const CLI::App& verb = parsed.empty() ? app : *parsed.front();
  const std::string command = parsed.empty() ? "graft" : "graft " + verb.get_name();
  const auto left_over = app.remaining(/*recurse=*/true);
  std::string what = error.what();
  if (!left_over.empty()) {
    const std::string word = unknown_word(left_over);
    if (word.starts_with("-")) {
      what = fmt::format("unknown option '{}'{}", word, likely(word, option_names(verb)));
    } else if (parsed.empty()) {
      what = fmt::format("unknown verb '{}'{}", word, did_you_mean(word, verb_names(app)));
    } else {
      what = fmt::format("'{}' belongs to no option", word);
    }
  }
  if (parsed.empty() && left_over.empty()) what = fmt::format("name a verb{}", did_you_mean("", verb_names(app)));
  return fmt::format("{}{}; see {} --help", parsed.empty() ? "" : verb.get_name() + ": ", what, command);
}

void refuse_empty_options(const CLI::App& verb) {
  for (const CLI::Option* option : verb.get_options()) {
    const auto& given = option->results();
    if (option->get_required() && std::find(given.begin(), given.end(), "") != given.end())
      fail(Category::InvalidArgument, option->get_name(), "is empty; see graft {} --help", verb.get_name());
  }
}

std::string shell_word(const std::string& text) {
  const std::string plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
  if (!text.empty() && text.find_first_not_of(plain) == std::string::npos) return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string command_line(const CLI::App& verb) {
  std::string line = "graft " + verb.get_name();
  for (const CLI::Option* option : verb.get_options()) {
    const bool is_flag = option->get_expected_min() == 0;
    for (const auto& value : option->results())
      line += is_flag ? " " + option->get_name() : fmt::format(" {} {}", option->get_name(), shell_word(value));
  }
  return line;
}

std::string settings_text() {
  std::string text;
  for (const RunField& field : run_fields())
    text += fmt::format("  {:<32} {}; {} (default: {})\n", field.name, field.doc, field.expected, field.standard);
  return text;
}

}  // namespace graft
