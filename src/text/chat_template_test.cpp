#include "text/chat_template.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace graft {
namespace {

std::string rendered(std::string_view source) {
  return apply_chat_template(source, std::vector<ChatMessage>{{"user", "hi"}}, {}, false);
}

TEST(ChatTemplate, EqualsTheReferenceOnTemplatesOfRealModels) {
  const char* python = std::getenv("GRAFT_PEER_PYTHON");
  if (python == nullptr) GTEST_SKIP() << "GRAFT_PEER_PYTHON names no Python with transformers";
  const std::filesystem::path folder = std::filesystem::path(GRAFT_BINARY_DIR) / "golden";
  std::filesystem::create_directories(folder);
  const std::string file = (folder / "chat.json").string();
  const std::string command =
      std::string("'") + python + "' '" GRAFT_SOURCE_DIR "/tests/golden/tokenizer_chat.py' '" + file + "'";
  ASSERT_EQ(std::system(command.c_str()), 0);
  const auto cases = nlohmann::ordered_json::parse(std::ifstream(file));
  ASSERT_GT(cases.size(), 100u);
  for (const auto& golden : cases) {
    const auto run = [&] {
      return apply_chat_template(golden["template"].get<std::string>(), golden["messages"], golden["extra"],
                                 golden["add_generation_prompt"]);
    };
    if (golden.contains("error")) {
      EXPECT_THROW(run(), Error) << golden["error"] << "\n" << golden["template"];
    } else {
      EXPECT_EQ(run(), golden["expected"].get<std::string>()) << golden["messages"];
    }
  }
}

TEST(ChatTemplate, HostileTemplatesEndWithAnError) {
  const auto deep = [](std::string_view open, std::string_view close) {
    std::string source = "{{ ";
    for (int count = 0; count < 100000; ++count) source += open;
    source += "1";
    for (int count = 0; count < 100000; ++count) source += close;
    return source + " }}";
  };
  EXPECT_THROW(rendered(deep("(", ")")), Error);
  EXPECT_THROW(rendered(deep("[", "]")), Error);
  EXPECT_THROW(rendered(deep("not ", "")), Error);
  EXPECT_THROW(rendered(deep("-", "")), Error);
  EXPECT_THROW(rendered(deep("", "+1")), Error);
  EXPECT_THROW(rendered(deep("", "|trim")), Error);
  EXPECT_THROW(rendered("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"), Error);
  EXPECT_THROW(rendered("{{ 'x' * 10000000000 }}"), Error);
  EXPECT_THROW(rendered("{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}"), Error);
  EXPECT_THROW(
      rendered("{% set ns = namespace(s='xx') %}{% for a in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}"),
      Error);
}

TEST(ChatTemplate, BadTemplatesSayWhere) {
  for (const char* source : {"{{ 1 +", "{% if x %}", "{% for %}{% endfor %}", "{{ x.y.z }}", "{% nonsense %}",
                             "{{ 'a' | nofilter }}", "{{ 'a", "{# a", "{{ 1 / 0 }}", "{{ messages[0].content + 1 }}",
                             "{% endif %}", "{{ 1 is nothing }}", "{{ x() }}", "{{ raise_exception('no') }}"}) {
    EXPECT_THROW(rendered(source), Error) << source;
  }
  try {
    rendered("line one\n\n{% if messages %}\n{{ = }}");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.category(), Category::InvalidArgument);
    EXPECT_NE(error.message().find("line 4"), std::string::npos) << error.message();
  }
}

TEST(ChatTemplate, MessagesAsPairs) {
  EXPECT_EQ(
      apply_chat_template("{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}{{ bos_token }}",
                          std::vector<ChatMessage>{{"user", "a"}, {"assistant", "b"}}, {{"bos_token", "<s>"}}, true),
      "user:a;assistant:b;<s>");
}

}  // namespace
}  // namespace graft
