#include "corpus/tally_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/file.h"
#include "base/json_text.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
// Keeps fates in the order in which they came.
using TallyJson = nlohmann::ordered_json;

constexpr const char* kTallyKind = "graft data tally";

TallyJson json_of(const TallyStep& step) {
  TallyJson documents = TallyJson::object();
  for (const auto& line : step.lines) documents[line.fate] = {{"documents", line.documents}, {"bytes", line.bytes}};
  TallyJson json = {{"tool", step.tool}, {"inputs", step.inputs}, {"output", step.output}, {"documents", documents}};
  for (const auto& source : step.sources) {
    json["sources"].push_back(
        {{"name", source.name}, {"share", source.share}, {"documents", source.documents}, {"epochs", source.epochs}});
  }
  return json;
}

TallyStep step_of(const TallyJson& json) {
  TallyStep step;
  json.at("tool").get_to(step.tool);
  json.at("inputs").get_to(step.inputs);
  json.at("output").get_to(step.output);
  for (const auto& [fate, counts] : json.at("documents").items())
    step.lines.push_back({fate, counts.at("documents").get<std::int64_t>(), counts.at("bytes").get<std::int64_t>()});
  for (const auto& source : json.value("sources", TallyJson::array())) {
    step.sources.push_back({source.at("name").get<std::string>(), source.at("share").get<double>(),
                            source.at("documents").get<std::int64_t>(), source.at("epochs").get<double>()});
  }
  return step;
}

std::uint64_t size_of_file(const fs::path& file) {
  std::error_code failed;
  const std::uintmax_t size = fs::file_size(file, failed);
  return failed ? 0 : size;
}

// Several inputs may have a step in common.
void add_steps(const std::vector<TallyStep>& more, std::vector<TallyStep>& steps) {
  for (const auto& step : more) {
    const auto same = [&step](const TallyStep& known) { return json_of(known) == json_of(step); };
    if (std::none_of(steps.begin(), steps.end(), same)) steps.push_back(step);
  }
}

}  // namespace

fs::path tally_file_of(const fs::path& documents) {
  fs::path file = documents;
  file += ".tally";
  return file;
}

TallyHistory read_tally_file(const fs::path& documents) {
  const fs::path file = tally_file_of(documents);
  std::error_code ignored;
  if (!fs::exists(file, ignored)) return {};
  const TallyJson json = TallyJson::parse(read_file(file), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("kind") || json.at("kind") != kTallyKind)
    fail(Category::Corruption, file.string(), "is no tally that graft data wrote; remove or rename it");
  try {
    TallyHistory history;
    for (const auto& step : json.at("steps")) {
      history.steps.push_back(step_of(step));
      if (history.steps.back().lines.empty())
        fail(Category::Corruption, file.string(), "steps[{}]: has no documents; remove the file",
             history.steps.size() - 1);
    }
    history.stale = json.at("bytes").get<std::uint64_t>() != size_of_file(documents);
    return history;
  } catch (const nlohmann::json::exception& error) {
    fail(Category::Corruption, file.string(), "is no tally that graft data wrote: {}; remove it", error.what());
  }
}

TallyFile::TallyFile(fs::path output, const std::vector<fs::path>& inputs) : output_(std::move(output)) {
  read_tally_file(output_);  // what is no tally is not overwritten
  for (const auto& input : inputs) {
    inputs_.push_back(input.string());
    const TallyHistory history = read_tally_file(input);
    if (!history.stale) add_steps(history.steps, earlier_);
  }
}

void TallyFile::write(const std::string& tool, const Tally& tally, const std::vector<TallySource>& sources) const {
  TallyJson steps = TallyJson::array();
  for (const auto& step : earlier_) steps.push_back(json_of(step));
  steps.push_back(json_of({tool, inputs_, output_.string(), tally.lines(), sources}));
  const TallyJson json = {
      {"kind", kTallyKind}, {"graft", GRAFT_VERSION}, {"bytes", size_of_file(output_)}, {"steps", steps}};
  write_file(tally_file_of(output_), json_text(json, 2) + "\n");
}

}  // namespace graft
