#include "generate/chat.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "generate/fake_tokenizer_test.h"

namespace graft {
namespace {

using ::testing::ElementsAre;

constexpr TokenId kEnd = 257;  // "<end>", special

// Bytes, </s> and one special token that the template writes.
class ChatTokenizer : public ByteTokenizer {
 public:
  explicit ChatTokenizer(std::string source) : source_(std::move(source)) {}

  std::vector<TokenId> encode(std::string_view text, bool) const override {
    std::vector<TokenId> ids;
    for (std::size_t at = 0; at < text.size();) {
      const bool end = text.substr(at).starts_with("<end>");
      ids.push_back(end ? kEnd : static_cast<unsigned char>(text[at]));
      at += end ? 5 : 1;
    }
    return ids;
  }
  std::string token(TokenId id) const override {
    return id == kEnd ? "<end>" : id == 256 ? "</s>" : ByteTokenizer::token(id);
  }
  const std::string& chat_template() const override { return source_; }

 private:
  std::string source_;
};

std::string text_of(const ChatTokenizer& tokenizer, const std::vector<std::int64_t>& ids) {
  std::string text;
  for (const auto id : ids) text += tokenizer.token(static_cast<TokenId>(id));
  return text;
}

constexpr const char* kTemplate =
    "{% for m in messages %}{{ m.role[0] }}:{{ m.content }} <end>{% endfor %}"
    "{% if add_generation_prompt %}a:{% endif %}";

TEST(Chat, KeepsTheWholeConversation) {
  const ChatTokenizer tokenizer(kTemplate);
  Chat chat(tokenizer, "be kind");
  const auto first = chat.ask("hi");
  EXPECT_EQ(text_of(tokenizer, first), "s:be kind <end>u:hi <end>a:");
  EXPECT_EQ(std::count(first.begin(), first.end(), kEnd), 2) << "the template's special tokens are special";
  chat.answer("hello");
  EXPECT_EQ(text_of(tokenizer, chat.ask("bye")), "s:be kind <end>u:hi <end>a:hello <end>u:bye <end>a:");
}

TEST(Chat, EndsWhereTheTemplateEndsAnAnswer) {
  EXPECT_THAT(Chat(ChatTokenizer(kTemplate), "").end_tokens(), ElementsAre(256, kEnd));
  // A turn that ends in plain text, and one that ends in eos_token itself, have no token of their own.
  EXPECT_THAT(Chat(ChatTokenizer("{% for m in messages %}{{ m.content }} stop <end>{% endfor %}"), "").end_tokens(),
              ElementsAre(256));
  EXPECT_THAT(Chat(ChatTokenizer("only this"), "").end_tokens(), ElementsAre(256));
}

TEST(Chat, GivesTheTemplateTheNamesOfTheTokens) {
  const ChatTokenizer tokenizer("{{ eos_token }}{{ bos_token is defined }}");
  EXPECT_EQ(text_of(tokenizer, Chat(tokenizer, "").ask("x")), "</s>False");
}

TEST(Chat, SaysWhenAModelCannotChat) {
  try {
    const Chat chat(ByteTokenizer(), "");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), Category::InvalidArgument);
    EXPECT_NE(error.message().find("no chat template"), std::string::npos);
  }
  const ChatTokenizer strict("{{ raise_exception('no system here') }}");
  EXPECT_THROW(Chat(strict, "x").ask("hi"), Error);
}

}  // namespace
}  // namespace graft
