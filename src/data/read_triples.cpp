// Sets of triples with sentences that say them: WebNLG and DART.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "data/reader.h"
#include "data/text_lines.h"
#include "text/unicode.h"

namespace graft {
namespace {

// A value that knows where in the file it is: "dev.json: entries[3].modifiedtripleset[0]".
class Place {
 public:
  Place(const nlohmann::json& value, const std::string& file, std::string path = "")
      : value_(value), file_(file), path_(std::move(path)) {}

  Place at(const std::string& key) const {
    if (!value_.is_object()) refuse("an object");
    const auto found = value_.find(key);
    if (found == value_.end()) fail(Category::InvalidArgument, where(), "has no field '{}'", key);
    return {*found, file_, path_.empty() ? key : path_ + "." + key};
  }

  std::vector<Place> items() const {
    if (!value_.is_array()) refuse("a list");
    std::vector<Place> all;
    for (std::size_t i = 0; i < value_.size(); ++i) all.push_back({value_[i], file_, fmt::format("{}[{}]", path_, i)});
    return all;
  }

  std::string text() const {
    if (!value_.is_string()) refuse("a text");
    return value_.get<std::string>();
  }

  // The value of a map with one key, whatever that is called.
  Place only() const {
    if (!value_.is_object() || value_.size() != 1) refuse("an object with one entry");
    return {*value_.begin(), file_, path_};
  }

  std::string where() const { return path_.empty() ? file_ : file_ + ": " + path_; }

 private:
  [[noreturn]] void refuse(const char* wanted) const {
    fail(Category::InvalidArgument, where(), "must be {}, it is {}", wanted, value_.type_name());
  }

  const nlohmann::json& value_;
  const std::string& file_;
  std::string path_;
};

nlohmann::json parse(std::string_view bytes, const std::string& name, bool& garbled) {
  try {
    return nlohmann::json::parse(decode_text(bytes, name, garbled));
  } catch (const nlohmann::json::parse_error& error) {
    fail(Category::Corruption, name, "is not valid JSON: {}", error.what());
  }
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
  return text;
}

void read_entry(const Place& entry, std::vector<Row>& rows) {
  std::string triples;
  for (const Place& triple : entry.at("modifiedtripleset").items()) {
    triples += fmt::format(" | {} : {} : {}", triple.at("subject").text(), triple.at("property").text(),
                           triple.at("object").text());
  }
  for (const Place& said : entry.at("lexicalisations").items()) {
    if (said.at("comment").text() != "good") continue;
    rows.push_back({{{"triples", triples}, {"text", said.at("lex").text()}, {"category", entry.at("category").text()}},
                    said.where()});
  }
}

std::string dart_triples(const Place& example) {
  std::string triples;
  for (const Place& triple : example.at("tripleset").items()) {
    const auto parts = triple.items();
    if (parts.size() != 3)
      fail(Category::InvalidArgument, triple.where(), "has {} parts, a triple has subject, relation, object",
           parts.size());
    if (!triples.empty()) triples += " | ";
    triples += fmt::format("{} : {} : {}", parts[0].text(), lower(parts[1].text()), parts[2].text());
  }
  return triples;
}

// Which values were not UTF-8 is no longer known, but those that show it are.
void mark_garbled(std::vector<Row>& rows) {
  const auto shows = [](const auto& field) { return field.second.find(text::kReplacement) != std::string::npos; };
  for (auto& row : rows) row.garbled = std::any_of(row.fields.begin(), row.fields.end(), shows);
}

}  // namespace

std::vector<Row> read_webnlg(std::string_view bytes, const std::string& name) {
  bool garbled = false;
  const nlohmann::json file = parse(bytes, name, garbled);
  std::vector<Row> rows;
  for (const Place& entry : Place(file, name).at("entries").items()) read_entry(entry.only(), rows);
  if (garbled) mark_garbled(rows);
  return rows;
}

std::vector<Row> read_dart(std::string_view bytes, const std::string& name) {
  bool garbled = false;
  const nlohmann::json file = parse(bytes, name, garbled);
  std::vector<Row> rows;
  for (const Place& example : Place(file, name).items()) {
    const std::string triples = dart_triples(example);
    for (const Place& said : example.at("annotations").items()) {
      rows.push_back({{{"triples", triples}, {"text", said.at("text").text()}, {"source", said.at("source").text()}},
                      said.where()});
    }
  }
  if (garbled) mark_garbled(rows);
  return rows;
}

}  // namespace graft
