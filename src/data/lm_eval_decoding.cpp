#include "data/lm_eval_decoding.h"

#include <utility>

#include "base/error.h"
#include "data/lm_eval_yaml.h"

namespace graft {
namespace {

constexpr std::int64_t kStandardTokens = 256;  // max_gen_toks of its models

std::vector<std::string> stops_of(const YamlNode& until) {
  std::vector<std::string> stops;
  for (const YamlNode* item : items_of(until)) {
    stops.push_back(yaml_text(*item, "until"));
    if (stops.back().empty())
      fail(Category::InvalidArgument, item->where(), "a text of 'until' is empty; leave it out");
  }
  return stops;
}

void read_arguments(const YamlNode& arguments, Decoding& decoding) {
  YamlMap known(arguments, "generation_kwargs");
  if (const YamlNode* until = given(known, "until")) decoding.stop = stops_of(*until);
  if (const YamlNode* most = given(known, "max_gen_toks")) {
    decoding.max_new_tokens = yaml_integer(*most, "max_gen_toks");
    if (decoding.max_new_tokens < 1)
      fail(Category::InvalidArgument, most->where(), "'max_gen_toks' is {}, must be at least 1",
           decoding.max_new_tokens);
  }
  const YamlNode* sample = given(known, "do_sample");
  if (sample != nullptr && !is_off(*sample)) refuse(*sample, "do_sample", "draws the text; graft decodes greedily");
  const YamlNode* temperature = given(known, "temperature");
  if (temperature != nullptr && yaml_number(*temperature, "temperature") != 0 && sample == nullptr)
    refuse(*temperature, "temperature", "draws the text; graft decodes greedily");
  known.finish();
}

std::vector<TextFilter> steps_of(const YamlNode& filter) {
  YamlMap known(filter, "filter_list");
  known.find("name");
  std::vector<TextFilter> steps;
  for (const YamlNode* step : items_of(known.at("filter"))) {
    YamlMap one(*step, "filter");
    const YamlNode& function = one.at("function");
    const std::string name = yaml_text(function, "function");
    if (name == "remove_whitespace") {
      steps.push_back(without_outer_space());
    } else if (name == "regex") {
      const YamlNode* select = given(one, "group_select");
      const std::string pattern = text_or(one, "regex_pattern", R"(#### (\-?[0-9\.\,]+))");
      steps.push_back(matched(pattern, select == nullptr ? 0 : yaml_integer(*select, "group_select"),
                              text_or(one, "fallback", "[invalid]"), context_of(*step, "regex")));
    } else if (name != "take_first") {
      refuse(function, "filter_list: " + name, "changes the text before it is compared");
    }
    one.finish();
  }
  return steps;
}

}  // namespace

void read_lm_eval_decoding(const YamlNode* arguments, const YamlNode* filters, const std::string& separator,
                           Decoding& decoding) {
  decoding.max_new_tokens = kStandardTokens;
  decoding.stop.clear();
  if (!separator.empty()) decoding.stop = {separator};
  if (arguments != nullptr) read_arguments(*arguments, decoding);
  if (filters == nullptr) return;
  if (filters->kind != YamlNode::Kind::List)
    fail(Category::InvalidArgument, filters->where(), "'filter_list' must be a list: - filter: [{{function: …}}]");
  for (const YamlNode& filter : filters->items) {
    auto steps = steps_of(filter);
    if (&filter == &filters->items.front()) decoding.filters = std::move(steps);
  }
}

// The harness leaves out what matches before anything else.
bool read_lm_eval_ignored(const std::string& key, const YamlNode& value, Decoding& decoding) {
  if (key == "regexes_to_ignore") {
    std::vector<TextFilter> first;
    for (const YamlNode* item : items_of(value))
      first.push_back(without_matches(yaml_text(*item, key), context_of(value, key)));
    decoding.compared.insert(decoding.compared.begin(), first.begin(), first.end());
    return true;
  }
  if (key != "ignore_case" && key != "ignore_punctuation" && key != "ignore_numbers") return false;
  if (value.scalar != "True" && !yaml_bool(value, key)) return true;
  decoding.compared.push_back(key == "ignore_case"          ? in_lower_case()
                              : key == "ignore_punctuation" ? without_punctuation()
                                                            : without_digits());
  return true;
}

}  // namespace graft
