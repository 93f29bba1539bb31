#include "data/lm_eval_documents.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/json_text.h"
#include "base/suggest.h"
#include "data/parquet.h"
#include "data/reader.h"
#include "data/split.h"
#include "data/text_lines.h"

namespace graft {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxJsonDepth = 16;  // as read_jsonl()

bool is_name(const std::string& source) {
  const auto plain = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; };
  return !source.empty() && std::isdigit(static_cast<unsigned char>(source[0])) == 0 &&
         std::all_of(source.begin(), source.end(), plain);
}

std::optional<std::int64_t> digits_of(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// A whole number, or true and false as 1 and 0, as an index.
std::optional<std::int64_t> index_of(const Json& value) {
  if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (value.is_number() && std::abs(value.get<double>()) < 1e15 &&
      std::floor(value.get<double>()) == value.get<double>())
    return static_cast<std::int64_t>(value.get<double>());
  return std::nullopt;
}

std::string text_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : json_text(value);
}

std::vector<std::string> names_of(const Json& document) {
  std::vector<std::string> names;
  for (const auto& [name, value] : document.items()) names.push_back(name);
  return names;
}

Json parsed(std::string_view line, const std::string& where) {
  const auto shallow = [&](int depth, Json::parse_event_t, Json&) {
    if (depth > kMaxJsonDepth) fail(Category::InvalidArgument, where, "is nested deeper than {} levels", kMaxJsonDepth);
    return true;
  };
  Json document = Json::parse(line.begin(), line.end(), shallow, /*allow_exceptions=*/false);
  if (document.is_discarded()) fail(Category::Corruption, where, "is not valid JSON");
  if (!document.is_object()) fail(Category::Corruption, where, "must be a JSON object");
  return document;
}

struct LmEvalDocument {
  Json json;
  std::string where;
  bool garbled = false;
};

std::vector<LmEvalDocument> documents_of(const std::filesystem::path& path) {
  const std::string format = format_of(path), name = path.string();
  if (format == "folder")
    fail(Category::InvalidArgument, name, "is a folder; documents are read from .jsonl, .csv, .tsv and .parquet files");
  std::vector<LmEvalDocument> documents;
  const auto add = [&](const RowLine& line) {
    documents.push_back({parsed(line.text, line.where), line.where, line.garbled});
  };
  if (format == "parquet") {
    ParquetReader reader(path);
    for (RowLine line; reader.next(line);) add(line);
    return documents;
  }
  const MappedFile file(path);
  if (format == "jsonl") {
    each_row(file.text(), name, add);
    return documents;
  }
  for (const auto& row : format == "csv" ? read_csv(file.text(), name) : read_tsv(file.text(), name)) {
    Json document = Json::object();
    for (const auto& [field, value] : row.fields) document[field] = value;
    documents.push_back({std::move(document), row.where, row.garbled});
  }
  return documents;
}

std::optional<std::string> single_value(const Json& value) {
  if (value.is_null() || value.is_structured()) return std::nullopt;
  return text_of(value);
}

// Every text and number in it.
Json replaced_by(const std::string& input, const Json& value) {
  if (value.is_string() || value.is_number()) return input;
  Json result = value;
  if (!value.is_structured()) return result;
  for (auto& item : result) item = replaced_by(input, item);
  return result;
}

}  // namespace

std::optional<std::string> slice_value(const Row& row, const std::string& field) {
  if (row.document == nullptr) {
    const auto found = row.fields.find(field);
    return found == row.fields.end() ? std::nullopt : std::optional(found->second);
  }
  const Json* value = row.document.get();
  if (const auto whole = value->find(field); whole != value->end()) return single_value(*whole);
  for (std::size_t at = 0; at <= field.size();) {
    const std::size_t end = std::min(field.find('.', at), field.size());
    const auto inner = value->find(field.substr(at, end - at));
    if (!value->is_object() || inner == value->end()) return std::nullopt;
    value = &*inner;
    at = end + 1;
  }
  return single_value(*value);
}

std::vector<std::string> slice_fields(const Row& row) {
  if (row.document != nullptr) return names_of(*row.document);
  std::vector<std::string> names;
  for (const auto& [name, value] : row.fields) names.push_back(name);
  return names;
}

LmEvalField::LmEvalField(const std::string& source, const std::string& context)
    : source_(source), is_name_(is_name(source)), template_(source, context) {}

Json LmEvalField::value(const Json& document, const std::string& where) const {
  if (const auto field = document.find(source_); field != document.end()) return *field;
  if (is_name_) return nullptr;
  try {
    return template_.render(document);
  } catch (const Error& error) {
    throw error.within(where);
  }
}

std::vector<Row> LmEvalDocuments::rows(const std::filesystem::path& file) const {
  std::vector<Row> rows;
  for (auto& document : documents_of(file)) {
    const std::size_t before = rows.size();
    add_rows(document.json, document.where, rows);
    for (std::size_t made = before; made < rows.size(); ++made) rows[made].garbled = document.garbled;
    if (!templates_.rolls) rows.back().document = std::make_shared<const Json>(std::move(document.json));
  }
  return rows;
}

std::vector<std::string> LmEvalDocuments::content_free_prompts(const Row& row,
                                                               const std::vector<std::string>& inputs) const {
  if (row.fields.count("continuation") > 0)
    fail(Category::InvalidArgument, row.where,
         "the choices are what is read, with nothing in front of them that could "
         "be emptied; leave --calibrate out");
  std::vector<Json> emptied(inputs.size(), *row.document);
  for (const auto& name : names_of(*row.document)) {
    if (templates_.text.source().find(name) == std::string::npos) continue;
    std::vector<Json> tried = emptied;
    try {
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        tried[i][name] = replaced_by(inputs[i], tried[i][name]);
        prompt_of(tried[i], row.where);
      }
    } catch (const Error&) {
      continue;  // something is looked up by it
    }
    emptied = std::move(tried);
  }
  std::vector<std::string> prompts;
  for (const auto& document : emptied) prompts.push_back(prompt_of(document, row.where));
  return prompts;
}

void LmEvalDocuments::add_document(const Json& document, const std::string& where, std::vector<Row>& rows) const {
  const Json text = templates_.target.value(document, where);
  if (text.is_null()) {
    fail(Category::InvalidArgument, where, "the document has no field '{}', which doc_to_target names{}",
         templates_.target.source(), did_you_mean(templates_.target.source(), names_of(document)));
  }
  rows.push_back({{{"document", text_of(text)}}, where});
}

// Each choice is a context of the one target.
void LmEvalDocuments::add_partial(std::int64_t label, const Json& document, const std::string& where,
                                  std::vector<Row>& rows) const {
  if (!templates_.choice) {
    fail(Category::Unsupported, where,
         "doc_to_text gives the number {} of a choice, so that choices are what is read; the same ones for every "
         "document are no contexts of it",
         label);
  }
  const auto choices = choices_of(document, where);
  if (label < 0 || label >= static_cast<std::int64_t>(choices.size())) {
    fail(Category::InvalidArgument, where, "doc_to_text gives {}, but there are {} choices (counted from 0)", label,
         choices.size());
  }
  const Json target = templates_.target.value(document, where);
  if (!target.is_string() || target.get<std::string>().empty()) {
    fail(Category::InvalidArgument, where,
         "doc_to_text gives the number of a choice, so doc_to_target must give the text behind it; it gives {}",
         target.is_null() ? "nothing" : text_of(target));
  }
  Row row{{{"prompt", ""}, {"continuation", templates_.delimiter + target.get<std::string>()}}, where};
  for (std::size_t c = 0; c < choices.size(); ++c) row.fields["choices." + std::to_string(c)] = choices[c];
  row.fields["label"] = std::to_string(label);
  rows.push_back(std::move(row));
}

// Nothing where the text is what is read. (A field that holds digits as text is text there too.)
std::optional<std::int64_t> LmEvalDocuments::choice_that_is_read(const Json& document, const std::string& where) const {
  if (templates_.writes || (!templates_.choice && templates_.fixed_choices.empty())) return std::nullopt;
  const Json text = templates_.text.value(document, where);
  if (!text.is_string()) return index_of(text);
  return document.contains(templates_.text.source()) ? std::nullopt : digits_of(text.get<std::string>());
}

void LmEvalDocuments::add_rows(const Json& document, const std::string& where, std::vector<Row>& rows) const {
  if (templates_.rolls) return add_document(document, where, rows);
  if (const auto read = choice_that_is_read(document, where)) return add_partial(*read, document, where, rows);
  Row row{{{"prompt", prompt_of(document, where)}}, where};
  const auto choices = choices_of(document, where);
  if (templates_.writes) {
    add_targets(targets_of(document, choices, where), row);
    rows.push_back(std::move(row));
    return;
  }
  if (templates_.choice) {
    for (std::size_t c = 0; c < choices.size(); ++c)
      row.fields["choices." + std::to_string(c)] = templates_.delimiter + choices[c];
  }
  add_label(document, choices, row);
  rows.push_back(std::move(row));
}

// The first is what a demonstration shows; all are references.
void LmEvalDocuments::add_targets(const std::vector<std::string>& targets, Row& row) const {
  row.fields["target"] = targets.empty() ? "" : templates_.delimiter + targets.front();
  if (targets.size() < 2) return;
  for (std::size_t t = 0; t < targets.size(); ++t)
    row.fields[fmt::format("{}.{}", kLmEvalTargets, t)] = templates_.delimiter + targets[t];
}

std::string LmEvalDocuments::prompt_of(const Json& document, const std::string& where) const {
  const Json text = templates_.text.value(document, where);
  if (text.is_null()) {
    fail(Category::InvalidArgument, where, "the document has no field '{}', which doc_to_text names{}",
         templates_.text.source(), did_you_mean(templates_.text.source(), names_of(document)));
  }
  if (!text.is_string())
    fail(Category::Unsupported, where, "doc_to_text gives {}, which is neither a text nor a choice", text_of(text));
  return text.get<std::string>();
}

std::vector<std::string> LmEvalDocuments::choices_of(const Json& document, const std::string& where) const {
  if (!templates_.choice) return templates_.fixed_choices;
  Json list = templates_.choice->value(document, where);
  if (list.is_string()) {
    const auto literal = python_literal(list.get<std::string>());
    if (literal) list = *literal;
  }
  if (!list.is_array() || list.empty()) {
    fail(Category::InvalidArgument, where, "doc_to_choice must give a list of texts, it gives {}",
         list.is_null() ? "nothing: the document has no field '" + templates_.choice->source() + "'" : text_of(list));
  }
  std::vector<std::string> choices;
  for (const auto& item : list) choices.push_back(text_of(item));
  return choices;
}

// Left out where the document carries none: a negative one too.
void LmEvalDocuments::add_label(const Json& document, const std::vector<std::string>& choices, Row& row) const {
  const Json target = templates_.target.value(document, row.where);
  const bool none = target.is_null() || (target.is_string() && target.get<std::string>().empty());
  if (none) return;
  auto index = index_of(target);
  if (target.is_string()) {
    const std::string text = target.get<std::string>();
    const auto found = std::find(choices.begin(), choices.end(), text);
    // A number that a template gives counts choices, also where they are numbers themselves.
    const bool counts = !document.contains(templates_.target.source()) && digits_of(text).has_value();
    if (found != choices.end() && !counts) {
      index = found - choices.begin();
    } else {
      index = digits_of(text);
    }
    if (!index) {
      fail(Category::InvalidArgument, row.where, "the target '{}' is none of the choices{}", text,
           did_you_mean(text, choices));
    }
  }
  if (!index) {
    fail(Category::Unsupported, row.where, "doc_to_target gives {}; graft takes one choice or its number",
         text_of(target));
  }
  if (*index < 0) return;
  if (*index >= static_cast<std::int64_t>(choices.size())) {
    fail(Category::InvalidArgument, row.where, "the target is {}, but there are {} choices (counted from 0)", *index,
         choices.size());
  }
  row.fields["label"] = templates_.choice ? std::to_string(*index) : choices[static_cast<std::size_t>(*index)];
}

std::vector<std::string> LmEvalDocuments::targets_of(const Json& document, const std::vector<std::string>& choices,
                                                     const std::string& where) const {
  Json target = templates_.target.value(document, where);
  if (target.is_null()) return {};
  // What a template gives may be written as a list; what a field holds is a text.
  if (target.is_string() && !document.contains(templates_.target.source())) {
    const std::string text = target.get<std::string>();
    if (text.starts_with('[') && text.ends_with(']')) {
      const auto literal = python_literal(text);
      if (literal) target = *literal;
    }
  }
  if (target.is_array()) {
    std::vector<std::string> texts;
    for (const auto& item : target) texts.push_back(text_of(item));
    return texts;
  }
  const auto index = target.is_string() ? digits_of(target.get<std::string>()) : index_of(target);
  if (choices.empty() || !index) return {text_of(target)};
  if (*index < 0 || *index >= static_cast<std::int64_t>(choices.size())) {
    fail(Category::InvalidArgument, where, "the target is {}, but there are {} choices (counted from 0)", *index,
         choices.size());
  }
  return {choices[static_cast<std::size_t>(*index)]};
}

}  // namespace graft
