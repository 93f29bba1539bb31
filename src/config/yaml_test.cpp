#include "config/yaml.h"

#include <gmock/gmock.h>

#include "base/error_test_support.h"

namespace graft {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string yaml_error(const std::string& text) {
  return graft::error_of([&] { parse_yaml(text, "a.yaml"); });
}

TEST(Yaml, KeepsLinesOfKeys) {
  const auto root = parse_yaml("a: 1\nb:\n  c: [x, y]\n", "a.yaml");
  ASSERT_EQ(root.keys.size(), 2u);
  EXPECT_EQ(root.items[0].where(), "a.yaml:1");
  EXPECT_EQ(root.items[1].where(), "a.yaml:2");
  EXPECT_EQ(root.items[1].items[0].where(), "a.yaml:3");
  EXPECT_EQ(yaml_texts(root.items[1].items[0], "c"), (std::vector<std::string>{"x", "y"}));
}

TEST(Yaml, EmptyDocumentIsNull) {
  EXPECT_EQ(parse_yaml("", "a.yaml").kind, YamlNode::Kind::Null);
  EXPECT_EQ(parse_yaml("# nothing\n", "a.yaml").where(), "a.yaml");
}

TEST(Yaml, RefusesRepeatedKeys) {
  EXPECT_THAT(yaml_error("a: 1\nb: 2\na: 3\n"),
              StartsWith("InvalidArgument a.yaml:3: the key 'a' stands here a second time"));
}

TEST(Yaml, RefusesAnchorsAliasesTagsAndSecondDocuments) {
  EXPECT_THAT(yaml_error("a: &x [1]\nb: *x\n"), StartsWith("InvalidArgument a.yaml:1: anchors"));
  EXPECT_THAT(yaml_error("a: !!python/object:os.system ls\n"), HasSubstr("the tag"));
  EXPECT_THAT(yaml_error("a: 1\n---\nb: 2\n"), HasSubstr("a second document"));
  EXPECT_THAT(yaml_error("? [a, b]\n: 1\n"), HasSubstr("a key must be plain text"));
}

TEST(Yaml, RefusesABombWithoutBuildingIt) {
  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) bomb += fmt::format("a{}: &a{} [*a{}, *a{}, *a{}]\n", i, i, i - 1, i - 1, i - 1);
  EXPECT_THAT(yaml_error(bomb), StartsWith("InvalidArgument a.yaml:1: anchors"));
}

TEST(Yaml, RefusesDeepNestingInEveryStyle) {
  EXPECT_THAT(yaml_error("a: " + std::string(1000, '[') + std::string(1000, ']')),
              StartsWith("ResourceExhausted a.yaml:1: nested deeper"));
  EXPECT_THAT(yaml_error(std::string(100000, '[')), ::testing::Not("nothing"));
  EXPECT_THAT(yaml_error(std::string(100000, '{')), ::testing::Not("nothing"));
  std::string block;
  for (int i = 0; i < 200; ++i) block += std::string(static_cast<std::size_t>(i), ' ') + "a:\n";
  EXPECT_THAT(yaml_error(block), StartsWith("ResourceExhausted"));
  std::string dashes;
  for (int i = 0; i < 5000; ++i) dashes += "- ";
  EXPECT_THAT(yaml_error(dashes), StartsWith("ResourceExhausted"));
}

TEST(Yaml, RefusesHugeFilesAndBadSyntaxWithALine) {
  EXPECT_THAT(yaml_error(std::string(2 << 20, 'a')), StartsWith("ResourceExhausted a.yaml: has 2097152 bytes"));
  EXPECT_THAT(yaml_error("a: 1\nb: [1, 2\n"), StartsWith("InvalidArgument a.yaml:"));
  EXPECT_THAT(yaml_error("a: 1\n\tb: 2\n"), StartsWith("InvalidArgument a.yaml:2"));
}

TEST(Yaml, ManyKeysAreRead) {
  std::string text;
  for (int i = 0; i < 50000; ++i) text += fmt::format("key{}: {}\n", i, i);
  const auto root = parse_yaml(text, "a.yaml");
  EXPECT_EQ(root.keys.size(), 50000u);
  EXPECT_EQ(root.items[49999].where(), "a.yaml:50000");
}

TEST(Yaml, ScalarsSayWhatWasExpected) {
  const auto root = parse_yaml("a: yes\nb: 1.5\nc: [1]\nd:\n", "a.yaml");
  const auto message = [](auto run) {
    try {
      run();
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  EXPECT_EQ(message([&] { yaml_bool(root.items[0], "a"); }), "a.yaml:1: 'a' must be true or false, it is 'yes'");
  EXPECT_EQ(message([&] { yaml_integer(root.items[1], "b"); }), "a.yaml:2: 'b' must be a whole number, it is '1.5'");
  EXPECT_EQ(message([&] { yaml_text(root.items[2], "c"); }), "a.yaml:3: 'c' must be text, it is a list");
  EXPECT_EQ(message([&] { yaml_number(root.items[3], "d"); }), "a.yaml:4: 'd' must be a number, it is nothing");
  EXPECT_EQ(yaml_number(root.items[1], "b"), 1.5);
}

TEST(Yaml, QuotedTextComesBack) {
  for (const std::string text :
       {"", "a \"b\" \\c", "two\nlines\ttab", "\x01 é 日本 #: [", "null", "~", "true", " x ", "\r\n", "\x7f"}) {
    const auto root = parse_yaml("k: " + yaml_quoted(text), "a.yaml");
    EXPECT_EQ(yaml_text(root.items[0], "k"), text);
  }
}

}  // namespace
}  // namespace graft
