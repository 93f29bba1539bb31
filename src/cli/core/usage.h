// What is wrong with a command line, in one line.
#pragma once

#include <string>

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace graft {

/// The error of app.parse() as one line: an unknown verb or option with the nearest known one, else what CLI11 says; and
/// whose --help to read.
std::string explain_usage(const CLI::App& app, const CLI::ParseError& error);

}  // namespace graft
