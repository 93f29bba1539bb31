#include "data/expand.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "config/yaml.h"
#include "data/task.h"

namespace graft {
namespace {

constexpr std::size_t kMostExpandedBytes = std::size_t{1} << 27;  // of all rows that the items of one row make

using Fields = std::map<std::string, std::string>;

std::optional<std::size_t> item_number(std::string_view text) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "qas.answers.0.text" as "qas.answers.text", and what it had in numbers: ".0".
std::pair<std::string, std::string> without_numbers(const std::string& name) {
  std::pair<std::string, std::string> result;
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t end = std::min(name.find('.', at), name.size());
    const std::string_view part = std::string_view(name).substr(at, end - at);
    if (item_number(part)) {
      result.second += "." + std::string(part);
    } else {
      result.first += (at == 0 ? "" : ".") + std::string(part);
    }
    at = end + 1;
  }
  return result;
}

// Takes the items of a list out of the row: the fields of each, under the list's name without a number.
std::map<std::size_t, Fields> take_items(const std::string& list, Row& row) {
  std::map<std::size_t, Fields> items;
  const std::string prefix = list + ".";
  auto at = row.fields.lower_bound(prefix);
  while (at != row.fields.end() && at->first.starts_with(prefix)) {
    const std::string_view rest = std::string_view(at->first).substr(prefix.size());
    const std::size_t end = std::min(rest.find('.'), rest.size());
    const auto number = item_number(rest.substr(0, end));
    if (!number)
      fail(Category::InvalidArgument, row.where, "'{}' is no list, it has a field '{}'; correct 'expand' of the task",
           list, rest);
    items[*number][list + std::string(rest.substr(end))] = std::move(at->second);
    at = row.fields.erase(at);
  }
  return items;
}

class Expansion {
 public:
  Expansion(const Expand& rule, std::vector<Row>& made) : rule_(rule), made_(made) {
    for (const auto& [name, source] : rule.fields) names_[source] = name;
  }

  void add(Row row) {
    where_ = row.where;
    bytes_ = 0;
    if (rule_.lists.empty()) return finish(std::move(row));
    auto items = take_items(rule_.lists.front(), row);
    if (items.empty()) return finish(std::move(row));
    add_items(row, items, 0, "");
  }

 private:
  // `path` are the numbers of the items that the row is of already, as they are told.
  void add_items(const Row& row, std::map<std::size_t, Fields>& items, std::size_t level, const std::string& path) {
    for (auto& [number, fields] : items) {
      const std::string place = fmt::format("{}{}{}", path, path.empty() ? "" : ".", number + 1);
      Row item{row.fields, fmt::format("{} item {}", where_, place)};
      for (auto& [name, value] : fields) item.fields[name] = std::move(value);
      fields.clear();
      if (level + 1 == rule_.lists.size()) {
        finish(std::move(item));
        continue;
      }
      const std::string& list = rule_.lists[level + 1];
      auto deeper = take_items(list, item);
      if (deeper.empty())
        fail(Category::InvalidArgument, item.where, "the list '{}' is empty or absent; fill it in, or remove the item",
             list);
      add_items(item, deeper, level + 1, place);
    }
  }

  // Each row holds what stands around its item: a long list would take memory without end.
  void finish(Row row) {
    Fields named;
    for (auto& [field, value] : row.fields) {
      const auto [plain, numbers] = without_numbers(field);
      const auto found = names_.find(plain);
      bytes_ += field.size() + value.size();
      named[found == names_.end() ? field : found->second + numbers] = std::move(value);
    }
    if (bytes_ > kMostExpandedBytes)
      fail(Category::InvalidArgument, where_, "its items make rows of more than {} bytes together; divide it",
           kMostExpandedBytes);
    row.fields = std::move(named);
    made_.push_back(std::move(row));
  }

  const Expand& rule_;
  std::vector<Row>& made_;
  Fields names_;  // name in the file → name in the made row
  std::string where_;
  std::size_t bytes_ = 0;
};

}  // namespace

Expand expand_of(const YamlNode& node) {
  YamlMap map(node, "expand");
  Expand rule;
  const YamlNode* fields = map.find("fields");
  const YamlNode* lists = fields == nullptr ? &map.at("lists") : map.find("lists");
  if (lists != nullptr) rule.lists = yaml_texts(*lists, "lists");
  if (fields != nullptr) {
    yaml_map(*fields, "fields");
    for (std::size_t i = 0; i < fields->keys.size(); ++i)
      rule.fields[fields->keys[i]] = yaml_text(fields->items[i], fields->keys[i]);
  }
  map.finish();
  if (lists != nullptr && rule.lists.empty())
    fail(Category::InvalidArgument, node.where(), "'expand' names no list; write lists: [questions]");
  for (std::size_t i = 1; i < rule.lists.size(); ++i) {
    if (!rule.lists[i].starts_with(rule.lists[i - 1] + "."))
      fail(Category::InvalidArgument, node.where(),
           "the list '{}' is not within '{}', the one before it; write {}.NAME, from outside to inside", rule.lists[i],
           rule.lists[i - 1], rule.lists[i - 1]);
  }
  std::set<std::string> sources;
  for (const auto& [name, source] : rule.fields) {
    if (!sources.insert(source).second)
      fail(Category::InvalidArgument, node.where(), "'{}' is given two names; keep one of them", source);
  }
  return rule;
}

std::vector<Row> expand_rows(const Expand& rule, std::vector<Row> rows) {
  std::vector<Row> made;
  Expansion expansion(rule, made);
  for (auto& row : rows) expansion.add(std::move(row));
  return made;
}

}  // namespace graft
