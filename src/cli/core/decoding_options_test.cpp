#include "cli/core/decoding_options.h"

#include <gtest/gtest.h>

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "base/error_test_support.h"
#include "generate/decode.h"

namespace graft {
namespace {

// What CLI11 says of a verb with these two options; empty where it takes them.
std::string complaint_of(const std::vector<std::string>& words, DecodingArguments& arguments) {
  CLI::App app;
  add_decoding_options(app, arguments);
  std::vector<std::string> reversed(words.rbegin(), words.rend());  // as CLI11 wants a vector
  try {
    app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    return error.what();
  }
  return "";
}

TEST(DecodingOptions, AreWhatTextsAreWrittenWith) {
  DecodingArguments arguments;
  GenerateOptions options;
  EXPECT_EQ(complaint_of({}, arguments), "");
  set_decoding(arguments, options);
  EXPECT_EQ(options.speculation.tokens, 0);
  EXPECT_EQ(options.kv_cache, KvFormat::Dense);
  EXPECT_EQ(decoding_options_text(options), "");
  EXPECT_EQ(complaint_of({"--speculate", "3", "--kv-cache", "q8"}, arguments), "");
  set_decoding(arguments, options);
  EXPECT_EQ(options.speculation.tokens, 3);
  EXPECT_FALSE(options.speculation.adapts);
  EXPECT_EQ(options.kv_cache, KvFormat::EightBit);
  EXPECT_EQ(decoding_options_text(options), " speculate 3 kv-cache q8");
  EXPECT_EQ(complaint_of({"--speculate", "auto"}, arguments), "");
  set_decoding(arguments, options);
  EXPECT_TRUE(options.speculation.adapts);
  EXPECT_EQ(decoding_options_text(options), " speculate auto kv-cache q8");
}

TEST(DecodingOptions, SlipsAreToldWithTheNearest) {
  DecodingArguments arguments;
  EXPECT_NE(complaint_of({"--speculate", "atuo"}, arguments).find("(did you mean 'auto'?)"), std::string::npos);
  const std::string far = complaint_of({"--speculate", "16"}, arguments);
  EXPECT_NE(far.find("is '16', must be off, auto or a number of tokens from 1 to 15"), std::string::npos) << far;
  EXPECT_EQ(far.find("did you mean"), std::string::npos) << far;
  EXPECT_NE(complaint_of({"--kv-cache", "q4"}, arguments), "");
}

TEST(DecodingOptions, AreRefusedWhereNothingIsWritten) {
  EXPECT_EQ(error_of([] { refuse_idle_decoding({}, "nothing is"); }), "nothing");
  EXPECT_EQ(error_of([] {
              refuse_idle_decoding({"auto", "dense"}, "the task rte has choices to compare");
            }),
            "InvalidArgument --speculate: is about writing texts, and the task rte has choices to compare; leave it "
            "out, or name a task of texts");
  EXPECT_EQ(error_of([] {
              refuse_idle_decoding({"off", "q8"}, "the task rte has choices to compare");
            }).rfind("InvalidArgument --kv-cache: is about writing texts", 0),
            0u);
}

}  // namespace
}  // namespace graft
