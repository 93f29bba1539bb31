#include "report/run_lines.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "base/file.h"
#include "base/json_text.h"

namespace graft {
namespace {

using Json = nlohmann::ordered_json;

std::string line_of(const Json& json) {
  return json_text(json) + "\n";
}

double number_or_nan(const nlohmann::json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

std::map<std::string, double> numbers(const nlohmann::json& line, const char* key) {
  std::map<std::string, double> all;
  if (!line.contains(key)) return all;
  for (const auto& [name, value] : line.at(key).get_ref<const nlohmann::json::object_t&>())
    all[name] = number_or_nan(value);
  return all;
}

std::optional<double> optional_number(const nlohmann::json& line, const char* key) {
  if (!line.contains(key)) return std::nullopt;
  return number_or_nan(line.at(key));
}

bool is_whole(std::string_view line) {
  return nlohmann::json::accept(line);
}

}  // namespace

std::string to_line(const Metrics& metrics) {
  Json json{{"step", metrics.step}};
  if (metrics.loss) json["loss"] = *metrics.loss;
  if (!metrics.parts.empty()) json["parts"] = metrics.parts;
  if (metrics.learning_rate) json["lr"] = *metrics.learning_rate;
  if (metrics.seconds) json["seconds"] = *metrics.seconds;
  if (metrics.tokens) json["tokens"] = *metrics.tokens;
  if (!metrics.scores.empty()) json["scores"] = metrics.scores;
  if (!metrics.examples.empty()) json["examples"] = metrics.examples;
  return line_of(json);
}

std::string to_line(const TrainingExample& example) {
  return line_of(Json{{"id", example.id},
                      {"where", example.where},
                      {"label", example.label},
                      {"choices", example.choices},
                      {"prompt", example.prompt}});
}

std::string to_line(const Prediction& prediction) {
  Json json = {{"phase", prediction.phase}, {"id", prediction.id}, {"where", prediction.where}};
  if (!prediction.references.empty()) {
    json["prompt"] = prediction.text;
    json["written"] = prediction.written;
    json["output"] = prediction.output;
    json["references"] = prediction.references;
    if (!prediction.false_references.empty()) json["false_references"] = prediction.false_references;
  } else {
    json["truth"] = prediction.truth;
    json["prediction"] = prediction.prediction;
    json["choices"] = prediction.choices;
    json["probabilities"] = prediction.probabilities;
    json["text"] = prediction.text;
  }
  if (!prediction.group.empty()) json["group"] = prediction.group;
  if (!prediction.slices.empty()) json["slices"] = prediction.slices;
  return line_of(json);
}

Metrics metrics_of(const nlohmann::json& line) {
  Metrics metrics;
  metrics.step = line.at("step").get<std::int64_t>();
  metrics.loss = optional_number(line, "loss");
  metrics.parts = numbers(line, "parts");
  metrics.learning_rate = optional_number(line, "lr");
  metrics.seconds = optional_number(line, "seconds");
  if (line.contains("tokens")) metrics.tokens = line.at("tokens").get<std::int64_t>();
  metrics.scores = numbers(line, "scores");
  if (line.contains("examples")) line.at("examples").get_to(metrics.examples);
  return metrics;
}

Prediction prediction_of(const nlohmann::json& line) {
  Prediction prediction;
  line.at("phase").get_to(prediction.phase);
  line.at("id").get_to(prediction.id);
  line.at("where").get_to(prediction.where);
  if (line.contains("group")) line.at("group").get_to(prediction.group);
  if (line.contains("slices")) line.at("slices").get_to(prediction.slices);
  if (line.contains("references")) {
    line.at("prompt").get_to(prediction.text);
    line.at("output").get_to(prediction.output);
    prediction.written = line.value("written", prediction.output);  // which folders of earlier versions do not say
    line.at("references").get_to(prediction.references);
    if (line.contains("false_references")) line.at("false_references").get_to(prediction.false_references);
    return prediction;
  }
  line.at("text").get_to(prediction.text);
  line.at("choices").get_to(prediction.choices);
  for (const auto& value : line.at("probabilities")) prediction.probabilities.push_back(number_or_nan(value));
  line.at("truth").get_to(prediction.truth);
  line.at("prediction").get_to(prediction.prediction);
  return prediction;
}

void for_each_line(const std::filesystem::path& file, const std::function<void(const nlohmann::json&)>& use) {
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return;
  const std::string text = read_file(file);
  std::size_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    ++number;
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = std::string_view(text).substr(at, end - at);
    const bool last = end == text.size();
    at = end + 1;
    if (last && !is_whole(line)) return;
    try {
      use(nlohmann::json::parse(line));
    } catch (const nlohmann::json::exception& problem) {
      fail(Category::Corruption, file.string() + ":" + std::to_string(number),
           "not a line that graft wrote ({}); remove the line, or start a new run", problem.what());
    }
  }
}

void append_lines(int file, const std::filesystem::path& path, const std::string& lines) {
  struct stat status {};
  if (::fstat(file, &status) != 0) fail_write(path, "written");
  std::size_t done = 0;
  while (done < lines.size()) {
    const ssize_t count = ::write(file, lines.data() + done, lines.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int error = errno;
      // Were the cut to fail as well, repair_last_line() mends it.
      [[maybe_unused]] const int cut = ::ftruncate(file, status.st_size);
      errno = error;
      fail_write(path, "written");
    }
    done += static_cast<std::size_t>(count);
  }
}

void repair_last_line(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return;
  std::string text = read_file(file);
  if (text.empty() || text.back() == '\n') return;
  const std::size_t start = text.find_last_of('\n') + 1;  // npos + 1 is 0: the only line
  if (is_whole(std::string_view(text).substr(start))) {
    text += '\n';
  } else {
    text.resize(start);
  }
  write_file(file, text);
}

}  // namespace graft
