#include "cli/core/usage.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
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

// The verb that was named, or the tool of a verb that has some; `app` itself where neither was.
const CLI::App& innermost(const CLI::App& app) {
  const auto parsed = app.get_subcommands();
  return parsed.empty() ? app : innermost(*parsed.front());
}

// "graft data dedup"
std::string command_name(const CLI::App& app) {
  return app.get_parent() == nullptr ? "graft" : command_name(*app.get_parent()) + " " + app.get_name();
}

// An option that is unknown leaves its value over too: the option is what is wrong.
std::string unknown_word(const std::vector<std::string>& left_over) {
  const auto option =
      std::find_if(left_over.begin(), left_over.end(), [](const std::string& word) { return word.starts_with("-"); });
  const std::string word = option == left_over.end() ? left_over.front() : *option;
  return word.substr(0, word.find('='));
}

// "graft plan merge …": a verb of the command that `verb`, which is plan, has not.
bool names_unplanned_verb(const CLI::App& app, const CLI::App& verb, const std::vector<std::string>& left_over) {
  if (verb.get_name() != "plan" || left_over.empty() || !verb.get_subcommands().empty()) return false;
  const auto verbs = verb_names(app);
  return std::find(verbs.begin(), verbs.end(), left_over.front()) != verbs.end();
}

}  // namespace

std::string explain_usage(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App& verb = innermost(app);
  const bool root = verb.get_parent() == nullptr;
  const auto tools = verb_names(verb);
  const char* kind = root ? "verb" : "tool";
  const auto left_over = app.remaining(/*recurse=*/true);
  std::string what = error.what();
  if (names_unplanned_verb(app, verb, left_over)) {
    what = fmt::format("graft {} cannot tell beforehand what it takes; these can: {}", left_over.front(),
                       fmt::join(tools, ", "));
  } else if (!left_over.empty()) {
    const std::string word = unknown_word(left_over);
    if (word.starts_with("-")) {
      what = fmt::format("unknown option '{}'{}", word, likely(word, option_names(verb)));
    } else if (!tools.empty()) {
      what = fmt::format("unknown {} '{}'{}", kind, word, did_you_mean(word, tools));
    } else {
      what = fmt::format("'{}' belongs to no option", word);
    }
  } else if (!tools.empty()) {
    what = fmt::format("name a {}{}", kind, did_you_mean("", tools));
  }
  const std::string command = command_name(verb);
  return fmt::format("{}{}; see {} --help", root ? "" : command.substr(std::string("graft ").size()) + ": ", what,
                     command);
}

void refuse_empty_options(const CLI::App& verb) {
  for (const CLI::Option* option : verb.get_options()) {
    const auto& given = option->results();
    if (option->get_required() && std::find(given.begin(), given.end(), "") != given.end())
      fail(Category::InvalidArgument, option->get_name(), "is empty; see {} --help", command_name(verb));
  }
  for (const CLI::App* tool : verb.get_subcommands()) refuse_empty_options(*tool);
}

std::string shell_word(const std::string& text) {
  const std::string plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
  if (!text.empty() && text.find_first_not_of(plain) == std::string::npos) return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string command_line(const CLI::App& verb) {
  std::string line = command_name(verb);
  for (const CLI::Option* option : verb.get_options()) {
    const bool is_flag = option->get_expected_min() == 0;
    const std::string name = option->get_positional() ? "" : " " + option->get_name();
    for (const auto& value : option->results()) line += is_flag ? name : name + " " + shell_word(value);
  }
  return line;
}

std::string out_of_memory_text(const std::string& verb, bool gpu) {
  const bool trains = verb == "tune" || verb == "compare";
  return fmt::format(
      "{}out of memory; use {}{}", gpu ? "the GPU is " : "",
      trains ? "a smaller train.batch_size, --set train.checkpoint_layers=true, " : "less of the input at a time, ",
      gpu ? "another GPU (--device cuda:1) or the CPU (--device cpu)" : "or a smaller model");
}

std::string settings_text() {
  std::string text;
  for (const RunField& field : run_fields())
    text += fmt::format("  {:<32} {}; {} (default: {})\n", field.name, field.doc, field.expected, field.standard);
  return text;
}

}  // namespace graft
