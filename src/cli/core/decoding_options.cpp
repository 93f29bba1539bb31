#include "cli/core/decoding_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <utility>

#include "arch/core/model.h"
#include "base/error.h"
#include "base/suggest.h"
#include "generate/decode.h"

namespace graft {
namespace {

CLI::Validator speculate_setting() {
  const auto refuse = [](const std::string& text) -> std::string {
    try {
      speculation_of(text);
    } catch (const Error& error) {
      const std::string close = nearest(text, {"off", "auto"});
      return error.message() + (close.empty() ? "" : fmt::format(" (did you mean '{}'?)", close));
    }
    return "";
  };
  return CLI::Validator(refuse, "", "speculate");
}

}  // namespace

void add_decoding_options(CLI::App& app, DecodingArguments& arguments) {
  app.add_option("--speculate", arguments.speculate,
                 "tokens that followed the same words earlier in the text are proposed and verified together, so that "
                 "what repeats its prompt is written faster: off, auto, or at most so many at a time (1 to 15)")
      ->check(speculate_setting())
      ->capture_default_str();
  app.add_option("--kv-cache", arguments.kv_cache,
                 "how keys and values of what was read are kept while a text is written: dense, as they are; q8, in 8 "
                 "bits: half of bfloat16's memory for long texts and large batches, at a small error")
      ->check(CLI::IsMember({"dense", "q8"}))
      ->capture_default_str();
}

void set_decoding(const DecodingArguments& arguments, GenerateOptions& options) {
  options.speculation = speculation_of(arguments.speculate);
  options.kv_cache = kv_format(arguments.kv_cache);
}

void drop_idle_speculation(const Model& model, GenerateOptions& options) {
  if (options.speculation.tokens == 0) return;
  const std::string obstacle = speculation_obstacle(model, options);
  if (obstacle.empty()) return;
  fmt::print(stderr, "graft: note: --speculate is off: {}\n", obstacle);
  options.speculation = {};
}

void refuse_idle_decoding(const DecodingArguments& arguments, const std::string& why) {
  const DecodingArguments standard{};
  const std::pair<const char*, bool> asked[] = {{"--speculate", arguments.speculate != standard.speculate},
                                                {"--kv-cache", arguments.kv_cache != standard.kv_cache}};
  for (const auto& [option, given] : asked) {
    if (given)
      fail(Category::InvalidArgument, option, "is about writing texts, and {}; leave it out, or name a task of texts",
           why);
  }
}

std::string decoding_options_text(const GenerateOptions& options) {
  std::string text;
  const SpeculationOptions& speculation = options.speculation;
  if (speculation.tokens > 0)
    text += fmt::format(" speculate {}", speculation.adapts ? "auto" : std::to_string(speculation.tokens));
  if (options.kv_cache == KvFormat::EightBit) text += " kv-cache q8";
  return text;
}

}  // namespace graft
