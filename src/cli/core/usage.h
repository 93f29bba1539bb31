// Command lines as text: what is wrong with one, in one line, and how one is written.
#pragma once

#include <string>

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace graft {

/// The error of app.parse() as one line: an unknown verb or option with the nearest known one, else what CLI11 says;
/// and whose --help to read.
std::string explain_usage(const CLI::App& app, const CLI::ParseError& error);

/// Throws InvalidArgument for a required option of `verb` that was given an empty text, as `--output "$unset"` does.
void refuse_empty_options(const CLI::App& verb);

/// `text` as one word of a shell: quoted where it must be.
std::string shell_word(const std::string& text);

/// What the user typed for a verb, to be typed again.
std::string command_line(const CLI::App& verb);

/// That memory ran out in this verb, a GPU's own or the machine's, and what takes less of it there.
std::string out_of_memory_text(const std::string& verb, bool gpu);

/// Every setting of a run with its range and default, a line each.
std::string settings_text();

}  // namespace graft
