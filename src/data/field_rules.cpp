#include "data/field_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "base/error.h"
#include "config/yaml.h"
#include "data/split.h"
#include "data/task.h"
#include "data/template.h"
#include "data/unicode.h"
#include "text/unicode.h"

namespace graft {
namespace {

constexpr std::size_t kMostTurnBytes = std::size_t{1} << 27;  // of all rows that the turns of one row make

FieldParts read_parts(const YamlNode& node, const std::string& field) {
  YamlMap map(node, "parts '" + field + "'");
  FieldParts parts;
  parts.field = field;
  parts.mark = map.text("at", "");
  if (const YamlNode* from_end = map.find("from_end")) parts.from_end = yaml_bool(*from_end, "from_end");
  parts.at_character = map.text("at_character", "");
  parts.skip = map.text("skip", "");
  parts.into = yaml_texts(map.at("into"), "into");
  map.finish();
  const std::string where = node.where();
  if (parts.mark.empty() == parts.at_character.empty()) {
    fail(Category::InvalidArgument, where,
         "the parts of '{}' need 'at' (a text to cut at) or 'at_character' (the field that tells the place), one of "
         "them",
         field);
  }
  if (!parts.mark.empty() && !parts.skip.empty())
    fail(Category::InvalidArgument, where, "'skip' goes with 'at_character'; what 'at' finds is always left out");
  if (parts.from_end && parts.mark.empty())
    fail(Category::InvalidArgument, where, "'from_end' goes with 'at'; leave it out");
  const std::set<std::string> distinct(parts.into.begin(), parts.into.end());
  const bool fits = parts.mark.empty() ? parts.into.size() == 2 : parts.into.size() >= 2;
  if (!fits || distinct.size() != parts.into.size()) {
    fail(Category::InvalidArgument, where, "'into' needs {} different names, e.g. [before, after]",
         parts.mark.empty() ? "two" : "two or more");
  }
  return parts;
}

Turns read_turns(const YamlNode& node) {
  YamlMap map(node, "turns");
  Turns turns;
  const YamlNode& fields = yaml_map(map.at("fields"), "fields");
  for (std::size_t i = 0; i < fields.keys.size(); ++i)
    turns.fields[fields.keys[i]] = yaml_text(fields.items[i], fields.keys[i]);
  turns.earlier = map.text("earlier", "");
  map.finish();
  if (turns.fields.empty())
    fail(Category::InvalidArgument, node.where(), "'turns' names no list; write fields: {{question: questions}}");
  if (turns.fields.count("earlier") > 0)
    fail(Category::InvalidArgument, fields.where(),
         "'earlier' is what the turns before make; name this field otherwise");
  for (const auto& name : TextTemplate(turns.earlier, node.where() + ": earlier").fields()) {
    if (turns.fields.count(name) > 0) continue;
    fail(Category::InvalidArgument, node.where(), "'earlier' uses '{}', which is none of the fields of a turn", name);
  }
  return turns;
}

Spans read_spans(const YamlNode& node, const std::string& into) {
  YamlMap map(node, "spans '" + into + "'");
  Spans spans;
  spans.into = into;
  spans.text = yaml_text(map.at("text"), "text");
  spans.places = yaml_text(map.at("places"), "places");
  spans.first = yaml_text(map.at("first"), "first");
  spans.last = yaml_text(map.at("last"), "last");
  map.finish();
  return spans;
}

std::map<std::string, double> read_thresholds(const YamlNode& node) {
  std::map<std::string, double> thresholds;
  yaml_map(node, "thresholds");
  for (std::size_t i = 0; i < node.keys.size(); ++i) {
    const double least = yaml_number(node.items[i], node.keys[i]);
    if (!std::isfinite(least))
      fail(Category::InvalidArgument, node.items[i].where(), "the threshold of '{}' is {}; write a finite number",
           node.keys[i], least);
    thresholds[node.keys[i]] = least;
  }
  return thresholds;
}

Pairs read_pairs(const YamlNode& node) {
  YamlMap map(node, "pairs");
  Pairs pairs;
  pairs.by = yaml_text(map.at("by"), "by");
  pairs.same = yaml_texts(map.at("same"), "same");
  pairs.fields = yaml_texts(map.at("fields"), "fields");
  map.finish();
  if (pairs.same.empty() || pairs.fields.empty())
    fail(Category::InvalidArgument, node.where(),
         "'pairs' needs the fields that the rows of a pair have alike (same: [story]) and those that each brings "
         "(fields: [sentence])");
  return pairs;
}

// As many turns as the lists have items.
std::size_t count_turns(const Turns& turns, const Row& row) {
  const auto& first = *turns.fields.begin();
  const std::size_t count = list_of(row, first.second).size();
  for (const auto& [name, list] : turns.fields) {
    const std::size_t other = list_of(row, list).size();
    if (other == count) continue;
    fail(Category::InvalidArgument, row.where,
         "the list '{}' has {} items and '{}' has {}; each turn needs one of both", first.second, count, list, other);
  }
  if (count == 0) fail(Category::InvalidArgument, row.where, "the list '{}' is empty or absent", first.second);
  return count;
}

std::size_t row_bytes(const Row& row) {
  std::size_t bytes = 0;
  for (const auto& [name, value] : row.fields) bytes += name.size() + value.size();
  return bytes;
}

void add_turns(const Turns& turns, Row row, std::vector<Row>& made) {
  const std::size_t count = count_turns(turns, row);
  std::map<std::string, std::vector<std::string>> items;
  for (const auto& [name, list] : turns.fields) items[name] = list_of(row, list);
  for (const auto& [name, list] : turns.fields)
    for (std::size_t i = 0; i < count; ++i) row.fields.erase(fmt::format("{}.{}", list, i));
  const TextTemplate told(turns.earlier, row.where + ": earlier");
  std::string earlier;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Row turn = row;
    turn.where = fmt::format("{} turn {}", row.where, i + 1);
    for (const auto& [name, texts] : items) turn.fields[name] = texts[i];
    turn.fields["earlier"] = earlier;
    earlier += told.render([&turn](const std::string& name) { return turn.fields.at(name); });
    // Each turn holds the row and all turns before it: a long list would take memory without end.
    bytes += row_bytes(turn);
    if (bytes > kMostTurnBytes)
      fail(Category::InvalidArgument, row.where, "its {} turns make rows of more than {} bytes together; divide it",
           count, kMostTurnBytes);
    made.push_back(std::move(turn));
  }
}

[[noreturn]] void lacks_mark(const FieldParts& rule, const Row& row) {
  fail(Category::InvalidArgument, row.where, "'{}' has too few '{}' to be cut into {} parts", rule.field, rule.mark,
       rule.into.size());
}

std::vector<std::string> cut_at_marks(const FieldParts& rule, const Row& row) {
  std::string text = row.fields.at(rule.field);
  std::vector<std::string> parts;
  while (parts.size() + 1 < rule.into.size()) {
    const std::size_t at = rule.from_end ? text.rfind(rule.mark) : text.find(rule.mark);
    if (at == std::string::npos) lacks_mark(rule, row);
    const std::string before = text.substr(0, at), after = text.substr(at + rule.mark.size());
    parts.push_back(rule.from_end ? after : before);
    text = rule.from_end ? before : after;
  }
  parts.push_back(text);
  if (rule.from_end) std::reverse(parts.begin(), parts.end());
  return parts;
}

// The byte where code point `count` of valid UTF-8 begins.
std::size_t byte_of(const std::string& source, std::size_t count) {
  std::size_t at = 0;
  for (std::size_t i = 0; i < count && at < source.size(); ++i)
    at += text::utf8_length(static_cast<unsigned char>(source[at]));
  return std::min(at, source.size());
}

std::vector<std::string> cut_at_character(const FieldParts& rule, const Row& row) {
  const std::string& text = row.fields.at(rule.field);
  const std::string& place = row.fields.at(rule.at_character);
  std::size_t count = 0;
  const auto [end, error] = std::from_chars(place.data(), place.data() + place.size(), count);
  const bool number = error == std::errc() && end == place.data() + place.size();
  const std::size_t skipped = rule.skip.empty() ? 0 : text::code_points(row.fields.at(rule.skip));
  const std::size_t length = text::code_points(text);
  if (!number || count > length || skipped > length - count) {
    fail(Category::InvalidArgument, row.where, "'{}' is '{}', which is no place in '{}' ({} characters)",
         rule.at_character, place, rule.field, length);
  }
  return {text.substr(0, byte_of(text, count)), text.substr(byte_of(text, count + skipped))};
}

// Fields "answers.text.0", "answers.text.1", … by what stands in front of the number.
std::size_t numbered_fields(const Row& row, const std::string& prefix) {
  std::size_t count = 0;
  for (auto at = row.fields.lower_bound(prefix); at != row.fields.end() && at->first.starts_with(prefix); ++at)
    count += at->first.size() > prefix.size() &&
             at->first.find_first_not_of("0123456789", prefix.size()) == std::string::npos;
  return count;
}

void add_parts(const FieldParts& rule, const std::string& format, Row& row) {
  for (const std::string& field : {rule.field, rule.at_character, rule.skip}) {
    if (!field.empty()) require_field(row, field, format);
  }
  const auto parts = rule.mark.empty() ? cut_at_character(rule, row) : cut_at_marks(rule, row);
  for (std::size_t i = 0; i < parts.size(); ++i) row.fields[rule.into[i]] = parts[i];
}

// A row that is to be answered may lack the field, or have nothing in it.
void apply_threshold(const std::string& field, double least, Row& row) {
  const auto found = row.fields.find(field);
  if (found == row.fields.end() || is_blank(found->second)) return;
  std::string& told = found->second;
  double value = 0;
  const auto [end, error] = std::from_chars(told.data(), told.data() + told.size(), value);
  if (error != std::errc() || end != told.data() + told.size() || std::isnan(value))
    fail(Category::InvalidArgument, row.where, "'{}' is '{}', and the task compares it with {}; it must be a number",
         field, told, least);
  told = value >= least ? "1" : "0";
}

std::size_t place_of(const Row& row, const std::string& field, std::size_t length) {
  const std::string& told = row.fields.at(field);
  std::size_t place = 0;
  const auto [end, error] = std::from_chars(told.data(), told.data() + told.size(), place);
  if (error != std::errc() || end != told.data() + told.size() || place >= length)
    fail(Category::InvalidArgument, row.where, "'{}' is '{}', which is no place in a text of {} characters", field,
         told, length);
  return place;
}

// Whether the row has an item of a list of objects.
bool has_item(const Row& row, const std::string& prefix) {
  const auto at = row.fields.lower_bound(prefix);
  return at != row.fields.end() && at->first.starts_with(prefix);
}

// A row without places has the list itself, as flat forms of the data do.
void add_spans(const Spans& rule, const std::string& format, Row& row) {
  if (!has_item(row, rule.places + ".")) return;
  require_field(row, rule.text, format);
  const std::string& text = row.fields.at(rule.text);
  const std::size_t length = text::code_points(text);
  std::vector<std::string> found;
  std::set<std::string> known;
  for (std::size_t i = 0; has_item(row, fmt::format("{}.{}.", rule.places, i)); ++i) {
    const std::string first = fmt::format("{}.{}.{}", rule.places, i, rule.first);
    const std::string last = fmt::format("{}.{}.{}", rule.places, i, rule.last);
    require_field(row, first, format);
    require_field(row, last, format);
    const std::size_t begin = place_of(row, first, length), end = place_of(row, last, length);
    if (end < begin)
      fail(Category::InvalidArgument, row.where, "'{}' is {}, in front of '{}', which is {}", last, end, first, begin);
    const std::size_t from = byte_of(text, begin);
    const std::string span = text.substr(from, byte_of(text, end + 1) - from);
    if (known.insert(span).second) found.push_back(span);
  }
  for (std::size_t i = 0; i < found.size(); ++i) row.fields[fmt::format("{}.{}", rule.into, i)] = found[i];
}

// Pairs in the order of their first rows.
std::vector<Row> paired_rows(const Pairs& rule, const std::string& format, std::vector<Row> rows) {
  std::vector<Row> made;
  std::map<std::vector<std::string>, std::size_t> places;
  for (auto& row : rows) {
    std::vector<std::string> key;
    for (const auto& field : rule.same) {
      require_field(row, field, format);
      key.push_back(row.fields.at(field));
    }
    require_field(row, rule.by, format);
    const std::string which = row.fields.at(rule.by);
    std::map<std::string, std::string> brought;
    for (const auto& field : rule.fields) {
      require_field(row, field, format);
      brought[field + "." + which] = row.fields.at(field);
      row.fields.erase(field);
    }
    row.fields.erase(rule.by);
    const std::string where = row.where;  // of a first row it is moved with it
    const auto [at, fresh] = places.emplace(key, made.size());
    if (fresh) made.push_back(std::move(row));
    Row& pair = made[at->second];
    for (const auto& [name, value] : brought) {
      if (pair.fields.emplace(name, value).second) continue;
      fail(Category::InvalidArgument, where, "is the second row of a pair whose '{}' is '{}'; the first is {}", rule.by,
           which, pair.where);
    }
  }
  return made;
}

}  // namespace

FieldRules field_rules_of(YamlMap& task) {
  FieldRules rules;
  if (const YamlNode* node = task.find("expand")) rules.expand = expand_of(*node);
  if (const YamlNode* node = task.find("spans")) {
    yaml_map(*node, "spans");
    for (std::size_t i = 0; i < node->keys.size(); ++i)
      rules.spans.push_back(read_spans(node->items[i], node->keys[i]));
  }
  if (const YamlNode* node = task.find("pairs")) rules.pairs = read_pairs(*node);
  if (const YamlNode* node = task.find("turns")) rules.turns = read_turns(*node);
  if (const YamlNode* node = task.find("defaults")) {
    yaml_map(*node, "defaults");
    for (std::size_t i = 0; i < node->keys.size(); ++i)
      rules.defaults[node->keys[i]] = yaml_text(node->items[i], node->keys[i]);
  }
  if (const YamlNode* node = task.find("thresholds")) rules.thresholds = read_thresholds(*node);
  if (const YamlNode* node = task.find("parts")) {
    yaml_map(*node, "parts");
    for (std::size_t i = 0; i < node->keys.size(); ++i)
      rules.parts.push_back(read_parts(node->items[i], node->keys[i]));
  }
  return rules;
}

void make_fields(const FieldRules& rules, const std::string& format, std::vector<Row>& rows) {
  if (rules.expand) rows = expand_rows(*rules.expand, std::move(rows));
  if (rules.turns) {
    std::vector<Row> made;
    for (auto& row : rows) add_turns(*rules.turns, std::move(row), made);
    rows = std::move(made);
  }
  for (auto& row : rows) {
    for (const auto& rule : rules.spans) add_spans(rule, format, row);
    for (const auto& [field, value] : rules.defaults) row.fields.try_emplace(field, value);
    for (const auto& [field, least] : rules.thresholds) apply_threshold(field, least, row);
    for (const auto& rule : rules.parts) add_parts(rule, format, row);
  }
  if (rules.pairs) rows = paired_rows(*rules.pairs, format, std::move(rows));
}

std::vector<std::string> list_of(const Row& row, const std::string& field) {
  std::vector<std::string> items;
  for (auto found = row.fields.find(field + ".0"); found != row.fields.end();
       found = row.fields.find(fmt::format("{}.{}", field, items.size())))
    items.push_back(found->second);
  if (numbered_fields(row, field + ".") != items.size())
    fail(Category::InvalidArgument, row.where,
         "item {} of the list '{}' (counted from 0) is null; fill it in or remove it", items.size(), field);
  return items;
}

}  // namespace graft
