#include "corpus/source_mix.h"

#include <cmath>
#include <set>

#include "base/error.h"

namespace graft {
namespace {

double weight_of(const std::string& text, const std::string& whole) {
  std::size_t end = 0;
  double weight = 0;
  try {
    weight = std::stod(text, &end);
  } catch (const std::exception&) {
    end = 0;
  }
  if (end == text.size() && end > 0 && std::isfinite(weight) && weight > 0) return weight;
  fail(Category::InvalidArgument, "--source " + whole, "'{}' is no weight above 0; write NAME=FILE:WEIGHT", text);
}

}  // namespace

MixSource mix_source_of(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0)
    fail(Category::InvalidArgument, "--source " + text, "has no name; write NAME=FILE:WEIGHT");
  MixSource source;
  source.name = text.substr(0, equals);
  std::string path = text.substr(equals + 1);
  if (const std::size_t colon = path.rfind(':'); colon != std::string::npos) {
    source.weight = weight_of(path.substr(colon + 1), text);
    path.resize(colon);
  }
  if (path.empty()) fail(Category::InvalidArgument, "--source " + text, "names no file; write NAME=FILE:WEIGHT");
  source.paths = {path};
  return source;
}

SourceMix::SourceMix(std::vector<MixSource> sources, const DocumentSettings& settings) : settings_(settings) {
  if (sources.empty()) fail(Category::InvalidArgument, "--source", "name at least one: NAME=FILE:WEIGHT");
  std::set<std::string> names;
  for (auto& source : sources) {
    if (!names.insert(source.name).second)
      fail(Category::InvalidArgument, "--source " + source.name, "is named twice; give every source a name of its own");
    if (!(source.weight > 0)) fail(Category::InvalidArgument, "--source " + source.name, "needs a weight above 0");
    weights_ += source.weight;
    auto reader = std::make_unique<DocumentReader>(source.paths, settings_);
    refuse_pipes(*reader);
    states_.push_back({std::move(source), std::move(reader), 0, 0, 0});
  }
}

std::size_t SourceMix::next(Document& document) {
  std::size_t behind = 0;
  const auto progress = [&](std::size_t s) {
    return static_cast<double>(states_[s].amount) / states_[s].source.weight;
  };
  for (std::size_t s = 1; s < states_.size(); ++s) {
    if (progress(s) < progress(behind)) behind = s;
  }
  State& state = states_[behind];
  if (!state.reader->next(document)) {
    ++state.passes;
    state.reader = std::make_unique<DocumentReader>(state.source.paths, settings_);
    state.reader->next(document);  // a source without documents was refused at the end of its first pass
  }
  ++state.documents;
  return behind;
}

std::vector<std::filesystem::path> SourceMix::files() const {
  std::vector<std::filesystem::path> files;
  for (const State& state : states_)
    files.insert(files.end(), state.reader->files().begin(), state.reader->files().end());
  return files;
}

void SourceMix::count(std::size_t source, std::int64_t amount) {
  states_[source].amount += amount;
}

std::vector<SourceMix::Part> SourceMix::parts() const {
  std::vector<Part> parts;
  for (const State& state : states_) {
    const auto whole = static_cast<double>(state.reader->total_bytes());
    const double epochs = static_cast<double>(state.passes) + static_cast<double>(state.reader->bytes()) / whole;
    parts.push_back({state.source.name, state.source.weight / weights_, state.documents, state.amount, epochs});
  }
  return parts;
}

}  // namespace graft
