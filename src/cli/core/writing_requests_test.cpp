#include "cli/core/writing_requests.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>

#include "base/error_test_support.h"
#include "base/file.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class WritingRequests : public ::testing::Test {
 protected:
  ~WritingRequests() override { std::filesystem::remove(file_); }

  std::vector<WritingRequest> read(const std::string& lines, bool messages = false) const {
    write_file(file_, lines);
    return read_requests_file(file_.string(), {encode, messages}, writers_);
  }

  std::string refused(const std::string& lines, bool messages = false) const {
    return error_of([&] { read(lines, messages); });
  }

  static std::vector<std::int64_t> encode(const std::string& text) { return {text.begin(), text.end()}; }

  const Writers writers_ = Writers({"polite=runs/a", "rude=runs/b"}, false);
  const std::filesystem::path file_ =
      std::filesystem::temp_directory_path() / ("graft-requests-" + std::to_string(::getpid()) + ".jsonl");
};

std::vector<std::int32_t> slots_of(const std::vector<WritingRequest>& requests) {
  std::vector<std::int32_t> slots;
  for (const auto& request : requests) slots.push_back(request.slot);
  return slots;
}

std::vector<std::size_t> numbers_of(const std::vector<WritingRequest>& requests) {
  std::vector<std::size_t> numbers;
  for (const auto& request : requests) numbers.push_back(request.number);
  return numbers;
}

TEST_F(WritingRequests, APromptThatNamesNobodyIsEverybodys) {
  const auto requests = read("\"ab\"\n\n[1, 2, 3]\n");
  EXPECT_THAT(slots_of(requests), ElementsAre(0, 1, 0, 1));
  EXPECT_THAT(numbers_of(requests), ElementsAre(0, 0, 1, 1));
  EXPECT_EQ(requests[0].text, "ab");
  EXPECT_THAT(requests[0].ids, ElementsAre('a', 'b'));
  EXPECT_EQ(requests[2].text, "");
  EXPECT_THAT(requests[3].ids, ElementsAre(1, 2, 3));
  EXPECT_THAT(requests[2].where, HasSubstr(".jsonl:3"));
  EXPECT_TRUE(several_writers(requests));
}

TEST_F(WritingRequests, ALineNamesItsAdapterOrTheBase) {
  const auto requests = read(R"({"prompt": "a", "adapter": "rude"}
{"adapter": "base", "prompt": [7]}
{"prompt": "c"}
)");
  EXPECT_THAT(slots_of(requests), ElementsAre(1, -1, 0, 1));
  EXPECT_THAT(numbers_of(requests), ElementsAre(0, 1, 2, 2));
  EXPECT_THAT(requests[1].ids, ElementsAre(7));
  EXPECT_FALSE(several_writers(read(R"({"prompt": "a", "adapter": "rude"})")));
}

TEST_F(WritingRequests, ByteOrderMarkAndWindowsLineEndsAreFine) {
  const auto requests = read("\xEF\xBB\xBF\"ab\"\r\n\r\n[1, 2]\r\n\r\n");
  EXPECT_THAT(numbers_of(requests), ElementsAre(0, 0, 1, 1));
  EXPECT_EQ(requests[0].text, "ab");
  EXPECT_THAT(requests[2].ids, ElementsAre(1, 2));
  EXPECT_THAT(requests[2].where, HasSubstr(".jsonl:3"));
}

TEST_F(WritingRequests, OnePromptGoesToEveryWriter) {
  const auto requests = requests_for("--prompt", "ab", {encode}, Writers({"runs/a"}, true));
  EXPECT_THAT(slots_of(requests), ElementsAre(-1, 0));
  EXPECT_THAT(numbers_of(requests), ElementsAre(0, 0));
  EXPECT_EQ(requests[1].where, "--prompt");
}

TEST_F(WritingRequests, SlipsNameTheLine) {
  EXPECT_THAT(refused(""), HasSubstr("holds no prompt"));
  EXPECT_THAT(refused("\"a\"\n7\n"), HasSubstr(".jsonl:2: must be a JSON string or a list of token ids"));
  EXPECT_THAT(refused("{\"text\": \"a\"}"), HasSubstr(".jsonl:1: must be a JSON string"));
  EXPECT_THAT(refused("{\"prompt\": 7}"), HasSubstr("must be a JSON string"));
  EXPECT_THAT(refused("{\"prompt\": \"a\", \"adaptor\": \"rude\"}"),
              HasSubstr("unknown key 'adaptor' (did you mean 'adapter'?)"));
  EXPECT_THAT(refused("{\"prompt\": \"a\", \"adapter\": \"rud\"}"),
              HasSubstr("'rud' is none of the adapters (did you mean 'rude'?)"));
  EXPECT_THAT(refused("{\"prompt\": \"a\", \"adapter\": null}"), HasSubstr("'adapter' must be the name of one"));
}

TEST_F(WritingRequests, AMessageIsNoListOfTokens) {
  EXPECT_EQ(read("\"hello\"", true).size(), 2u);
  EXPECT_THAT(refused("[1, 2]", true), HasSubstr("must be a JSON string: a message to put to --chat"));
}

}  // namespace
}  // namespace graft
