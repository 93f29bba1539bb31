// --speculate and --kv-cache: how texts are written faster or in less memory, for every verb that writes some.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace graft {

class Model;
struct GenerateOptions;

struct DecodingArguments {
  std::string speculate = "off", kv_cache = "dense";
};

void add_decoding_options(CLI::App& app, DecodingArguments& arguments);

/// Throws as speculation_of() and kv_format().
void set_decoding(const DecodingArguments& arguments, GenerateOptions& options);

/// Where nothing would be proposed with such options: says why on standard error, and turns speculation off in them.
void drop_idle_speculation(const Model& model, GenerateOptions& options);

/// Throws InvalidArgument where one of them was asked for and no text is written: `why` says so ("the task rte has
/// choices to compare").
void refuse_idle_decoding(const DecodingArguments& arguments, const std::string& why);

/// The two as they change what is written, for what is kept by it: " speculate 3 kv-cache q8", and nothing where both
/// are as they are without being asked for.
std::string decoding_options_text(const GenerateOptions& options);

}  // namespace graft
