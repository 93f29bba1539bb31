// graft data stats: how many documents, how long, how many of them twice.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json_text.h"
#include "base/progress.h"
#include "cli/core/columns.h"
#include "cli/core/data_tools.h"
#include "corpus/survey.h"
#include "corpus/tally_file.h"
#include "report/markup.h"

namespace graft {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  std::vector<std::string> files;
  DocumentSettings documents;
  bool json = false;
};

Arguments arguments;

void declare(CLI::App& app) {
  add_documents(app, arguments.files, arguments.documents);
  app.add_flag("--json", arguments.json, "print everything as one JSON object");
}

std::string quantile_name(double part) {
  return part == 0 ? "least" : part == 1 ? "most" : part == 0.5 ? "median" : fmt::format("{:g}%", 100 * part);
}

std::vector<std::string> length_line(const char* name, const Survey::Lengths& lengths) {
  std::vector<std::string> line = {name, grouped(lengths.sum)};
  for (const double value : lengths.quantiles) line.push_back(grouped(static_cast<std::int64_t>(value)));
  return line;
}

Json length_json(const Survey::Lengths& lengths) {
  Json json = {{"sum", lengths.sum}};
  for (std::size_t q = 0; q < lengths.quantiles.size(); ++q)
    json["quantiles"][fmt::format("{:g}", kSurveyQuantiles[q])] = lengths.quantiles[q];
  return json;
}

Json lines_json(const std::vector<Tally::Line>& lines) {
  Json json = Json::object();
  for (const auto& line : lines) json[line.fate] = {{"documents", line.documents}, {"bytes", line.bytes}};
  return json;
}

Json steps_json(const std::vector<TallyStep>& steps) {
  Json json = Json::array();
  for (const auto& step : steps) {
    json.push_back(
        {{"tool", step.tool}, {"inputs", step.inputs}, {"output", step.output}, {"documents", lines_json(step.lines)}});
    for (const auto& [name, share, documents, epochs] : step.sources)
      json.back()["sources"].push_back(
          {{"name", name}, {"share", share}, {"documents", documents}, {"epochs", epochs}});
  }
  return json;
}

Json json_of(const Survey& survey, const std::vector<TallyStep>& steps) {
  return {{"words", length_json(survey.words())},
          {"bytes", length_json(survey.bytes())},
          {"documents", lines_json(survey.tally().lines())},
          {"made_by", steps_json(steps)}};
}

// What tools dropped on the way to these files; a file that was changed since has no way that is known.
std::vector<TallyStep> steps_to(const std::vector<std::filesystem::path>& files) {
  std::vector<TallyStep> steps;
  for (const auto& file : files) {
    TallyHistory history = read_tally_file(file);
    if (history.stale) {
      fmt::print(stderr, "graft: note: {} was changed since graft wrote it; what was dropped before is not told\n",
                 file.string());
      continue;
    }
    std::move(history.steps.begin(), history.steps.end(), std::back_inserter(steps));
  }
  return steps;
}

void print_sources(const std::vector<TallySource>& sources) {
  if (sources.empty()) return;
  std::vector<std::vector<std::string>> table = {{"", "weight", "documents", "epochs"}};
  for (const auto& source : sources)
    table.push_back(
        {source.name, percent(source.share), grouped(source.documents), fmt::format("{:.2f}", source.epochs)});
  print_columns(table);
}

void print_steps(const std::vector<TallyStep>& steps) {
  for (const auto& step : steps) {
    fmt::print("graft data {}: {} to {}\n", step.tool, fmt::join(step.inputs, ", "), step.output);
    print_tally(step.lines);
    print_sources(step.sources);
    fmt::print("\n");
  }
}

void print(const Survey& survey) {
  print_tally(survey.tally().lines());
  std::vector<std::string> head = {"of a document", "in all"};
  for (const double part : kSurveyQuantiles) head.push_back(quantile_name(part));
  fmt::print("\n");
  print_columns({head, length_line("words", survey.words()), length_line("bytes", survey.bytes())});
}

int run() {
  const Arguments& a = arguments;
  const ReadingTime time;
  DocumentReader reader(a.files, a.documents, "stats");
  const std::vector<TallyStep> steps = steps_to(reader.files());
  Survey survey;
  for (Document document; reader.next(document);) survey.add(document.text);
  note_garbled(reader);
  if (a.json) {
    fmt::print("{}\n", json_text(json_of(survey, steps), 2));
    return 0;
  }
  print_steps(steps);
  print(survey);
  fmt::print("read {}\n", time.told(reader.bytes()));
  return 0;
}

}  // namespace

namespace data_tools {
const Verb stats{"stats", "documents, words, lengths, repeats and empties of files; what was dropped before, and why",
                 "  graft data stats corpus/*.jsonl\n"
                 "  graft data stats book.txt --paragraphs\n"
                 "  zcat pages.jsonl.gz | graft data stats - --format jsonl --field body --json\n",
                 declare, run};
}  // namespace data_tools
}  // namespace graft
