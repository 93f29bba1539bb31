// The limits of one rendering, and that values which share their memory still are Python's.
#include "text/jinja_arena.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/error_test_support.h"
#include "text/chat_template.h"
#include "text/document_template.h"

namespace graft {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string rendered_alone(const std::string& source) {
  return apply_chat_template(source, std::vector<ChatMessage>{}, {}, false);
}

std::string nested_ifs(int count, const std::string& inside) {
  std::string source = inside;
  for (int level = 0; level < count; ++level) source = "{% if 1 %}" + source + "{% endif %}";
  return source;
}

// Each would take the stack, gigabytes or hours.
TEST(TemplateLimits, HostileTemplatesEndAtALimit) {
  const std::string keep = "{% set ns = namespace(x='ab', l=[1]) %}", million = "{% set s = 'x' * 1000000 %}";
  const std::string forever = "{% for i in range(100000) %}";
  const std::string doubled = keep + "{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}";
  for (const std::string& source : {
           // texts
           keep + "{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
           keep + "{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
           keep + "{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] | join %}{% endfor %}",
           keep + "{% for i in range(99) %}{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}{% endfor %}",
           std::string("{{ 'x' * 10000000000 }}"),
           million + "{{ ([s] * 1000) | join }}",
           million + "{{ s.join([s] * 1000) }}",
           million + "{{ ([s] * 1000) | string }}",
           million + "{{ s.replace('x', s) }}",
           million + "{{ s.replace('x', 'x\n') | indent(1000, blank=true) }}",
           million + forever + "{{ s }}{% endfor %}",
           million + forever + "{% filter upper %}{{ s }}{% endfilter %}{% endfor %}",
           million + "{% macro f() %}{{ s }}{% endmacro %}" + forever + "{% set x = f() %}{% endfor %}",
           // lists
           std::string("{{ [1] * 10000000000 }}"),
           std::string("{{ range(1000000000000) | length }}"),
           std::string("{{ range(0, -1000000000000, -1) | length }}"),
           million + million + "{% for c in s * 9 %}{% endfor %}",
           million + "{{ s.replace('x', 'x,').split(',') + (s * 9).split('x') | length }}",
           "{% set r = range(9999) %}" + forever + "{% set x = r[1:] %}{% endfor %}",
           keep + forever + "{% set ns.l = ns.l + [i] %}{% endfor %}",
           // walks
           doubled + "{{ ns.l | string | length }}",
           doubled + "{{ ns.l | tojson(indent=64) | length }}",
           doubled + "{% set a = ns.l %}{% set ns.l = [1] %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}" +
               "{% endfor %}{{ a == ns.l }}",
           // work
           forever + forever + "{% endfor %}{% endfor %}",
           million + forever + "{% set x = 'y' in s %}{% endfor %}",
           million + "{% set t = 'x' * 1000000 %}" + forever + "{% set x = s == t %}{% endfor %}",
           million + "{% set t = 'x' * 1000000 %}{{ ([s, t] * 100000) | sort | length }}",
           million + "{% set d = {s: 1} %}{% set t = 'x' * 1000000 %}" + forever + "{% set x = d[t] %}{% endfor %}",
           million + forever + "{% set x = s.strip() | length %}{% endfor %}",
           million + forever + "{% set x = s[i] %}{% endfor %}",
           million + forever + "{% set x = s.startswith(s) %}{% endfor %}",
           "{% set r = range(9999) %}" + forever + "{% set x = -1 in r %}{% endfor %}",
           "{% set r = range(9999) %}" + forever + "{% set x = r | select('odd') | first %}{% endfor %}",
           std::string("{{ range(9999) | map('string') | map('list') | unique | list | length }}"),
           // the stack
           std::string("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
           "{% macro f() %}" + nested_ifs(150, "{{ [[[[[[[[f()]]]]]]]] }}") + "{% endmacro %}{{ f() }}",
           std::string("{% macro f() %}{% call f() %}{% endcall %}{% endmacro %}{{ f() }}"),
       }) {
    EXPECT_THAT(error_of([&] { rendered_alone(source); }), StartsWith("ResourceExhausted chat template: stopped "))
        << source;
  }
}

TEST(TemplateLimits, AnExpressionIsOnlySoHigh) {
  std::string chains = "1";
  for (const char* link : {"|int", " * 1", " + 1", " ~ 1", " == 1", " and 1", " or 1"}) {
    for (int count = 0; count < 150; ++count) chains += link;
    chains = "(" + chains + ")";
  }
  EXPECT_THAT(error_of([&] { rendered_alone("{{ " + chains + " }}"); }),
              HasSubstr("an expression is nested too deep, or a chain of it too long"));
  std::string sum = "0";
  for (int count = 0; count < 300; ++count) sum += " + 1";
  EXPECT_EQ(rendered_alone("{{ " + sum + " }}"), "300");
}

TEST(TemplateLimits, AValueMayBeNestedButIsWalkedOnlySoDeep) {
  const std::string nested = "{% set ns = namespace(x=0) %}{% for i in range(100000) %}{% set ns.x = [ns.x] %}";
  EXPECT_EQ(rendered_alone(nested + "{% endfor %}{{ ns.x | length }}"), "1");
  const std::string itself = "{% set ns = namespace(x=1, y=2) %}{% set ns.x = [ns] %}";
  EXPECT_EQ(rendered_alone(itself + "{{ ns.x[0].x[0].y }}"), "2");
  for (const char* walk : {"{{ ns.x }}", "{{ ns.x | tojson }}", "{{ [[]] + ns.x == [[]] + ns.x }}", "{{ [ns] }}"}) {
    for (const std::string& value : {nested + "{% endfor %}", itself}) {
      EXPECT_THAT(error_of([&] { rendered_alone(value + walk); }),
                  HasSubstr("InvalidArgument chat template: a value is nested more than 100 deep"))
          << value << walk;
    }
  }
}

TEST(TemplateLimits, AnErrorNamesTheTemplateAndTheLimit) {
  const DocumentTemplate endless("{% for a in x * 9999 %}{% for b in x * 9999 %}{% endfor %}{% endfor %}", "t.yaml:3");
  EXPECT_EQ(error_of([&] {
              endless.render({{"x", {1}}});
            }),
            "ResourceExhausted t.yaml:3: stopped after 2000000 steps, the limit of one rendering; does a loop of it "
            "multiply itself?");
  EXPECT_EQ(
      error_of([] { rendered_alone("{{ 'x' * 100000000 }}"); }),
      "ResourceExhausted chat template: stopped after 64 MiB of text and lists, the limit of one rendering; does a "
      "text or list of it multiply itself?");
  const std::string refused = error_of([] { rendered_alone("{{ raise_exception('x' * 1000000) }}"); });
  EXPECT_THAT(refused, StartsWith("InvalidArgument chat template: the template refuses: xxx"));
  EXPECT_LT(refused.size(), 2000u);
}

// In linear time: a plain search compares each of a million places with half a million letters.
TEST(TemplateLimits, ATextThatRepeatsItselfIsSearchedAtOnce) {
  EXPECT_EQ(rendered_alone("{{ ('a' * 1000000).find('a' * 500000 ~ 'b') }}"), "-1");
  EXPECT_EQ(rendered_alone("{{ ('ab ' * 100000).split() | length }}"), "100000");
  EXPECT_EQ(rendered_alone("{{ range(100000) | map('string') | unique | list | length }}"), "100000");
}

TEST(TemplateLimits, ALongConversationIsFarFromThem) {
  std::vector<ChatMessage> messages;
  for (int turn = 0; turn < 1000; ++turn) {
    messages.push_back({"user", " How? " + std::string(1000, 'q')});
    messages.push_back({"assistant", "<think>hm</think>\n\n" + std::string(1000, 'a') + "\n"});
  }
  const std::filesystem::path seeds = GRAFT_SOURCE_DIR "/tests/fuzz/corpus/chat_template_fuzz";
  for (const char* name : {"chatml", "gemma", "llama3", "mistral", "mixed", "qwen", "zephyr"}) {
    std::stringstream source;
    source << std::ifstream(seeds / name).rdbuf();
    const std::string text =
        apply_chat_template(source.str(), messages, {{"bos_token", "<s>"}, {"eos_token", "</s>"}}, true);
    EXPECT_GT(text.size(), 2'000'000u) << name;
  }
}

TEST(TemplateValues, ArePythons) {
  const std::pair<const char*, const char*> cases[] = {
      {"{{ 'aé日b'[1:3] }}|{{ 'aé日b'[::-1] }}|{{ 'aé日bcd'[::2] }}|{{ 'aé日bcd'[4:0:-2] }}", "é日|b日éa|a日c|c日"},
      {"{{ 'abc'[3:1] }}|{{ 'é日'[-1] }}|{{ 'abc'[5:] }}|{{ 'abc'[-9:-1] }}|{{ 'é'[1] is defined }}", "|日||ab|False"},
      {"{{ [1,2,3,4][::-2] }}|{{ [1,2][::9999999999] }}|{{ [1,2][::-9999999999] }}", "[4, 2]|[1]|[2]"},
      {"{{ ' a\u00a0b \n c '.split() }}|{{ ' a b  c '.split(none, 1) }}", "['a', 'b', 'c']|['a', 'b  c ']"},
      {"{{ 'a,b,,c'.split(',', 2) }}|{{ ''.split() }}|{{ ''.split(',') }}", "['a', 'b', ',c']|[]|['']"},
      {"{{ 'xxabxx'.strip('x') }}|{{ '  é '.lstrip() }}|{{ '  '.strip() }}|{{ 'éaé'.rstrip('é') }}", "ab|é ||éa"},
      {"{{ 'aXbX'.replace('X', 'yy') }}|{{ 'aXbX'.replace('X', '', 1) }}|{{ 'éa'.find('a') }}", "ayybyy|abX|1"},
      {"{{ [1, '1', 1.0, true, none, 'a', none, '1'] | unique | list }}", "[1, '1', None, 'a']"},
      {"{{ 'abc' | first }}{{ 'abc' | last }}{{ 'héy' | reverse }}{{ [] | first is defined }}", "acyéhFalse"},
      {"{{ [1,2] | reverse | list }}|{{ {'a': 1} | list }}|{{ {'b': 1, 'a': 2} | dictsort | map('last') | list }}",
       "[2, 1]|['a']|[2, 1]"},
      {"{% for x in 'ab' %}{{ loop.index }}{{ loop.revindex0 }}{{ loop.first }}{{ loop['last'] }}"
       "{{ loop.cycle('p', 'q') }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}",
       "11TrueFalsepb;20FalseTrueqa;"},
      {"{{ 'ab' * 3 }}|{{ [1] * 2 }}|{{ 'ab' * -1 }}|{{ [1] + [2] }}|{{ 'a' ~ 1 ~ [2, 'b'] }}|{{ '' * 5 }}",
       "ababab|[1, 1]||[1, 2]|a1[2, 'b']|"},
      {"{{ 'a\nb\n\nc' | indent(2) }}|{{ 'a\n\nb' | indent(1, true, true) }}", "a\n  b\n\n  c| a\n \n b"},
      {"{{ 'ÀÉ' | lower }}|{{ 'strasse DIES' | title }}|{{ 'éA' | capitalize }}", "àé|Strasse Dies|Éa"},
      {"{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}"
       "{% for x in [1] %}{{ f(3) }}{{ x }}{% endfor %}",
       "32101"},
      {"{{ {'a': {'b': 1}} == {'a': {'b': 1.0}} }}|{{ [1] in [[1]] }}|{{ 'a' in {'a': 1} }}|{{ '' in '' }}",
       "True|True|True|True"},
      {"{{ [{'a': 2, 'n': 'x'}, {'a': 1, 'n': 'y'}] | sort(attribute='a') | map(attribute='n') | join('-') }}", "y-x"},
      {"{{ [\"it's\", 'q\"', 'a\\\\', '\x01'] }}", "[\"it's\", 'q\"', 'a\\\\', '\\x01']"},
      {"{{ ['\t\x1f\"\\\\é', {'a': []}, {}] | tojson }}", "[\"\\t\\u001f\\\"\\\\é\", {\"a\": []}, {}]"},
      {"{{ [1, {'a': 2}] | tojson(indent=1) }}", "[\n 1,\n {\n  \"a\": 2\n }\n]"},
  };
  for (const auto& [source, expected] : cases) EXPECT_EQ(rendered_alone(source), expected) << source;
}

}  // namespace
}  // namespace graft
