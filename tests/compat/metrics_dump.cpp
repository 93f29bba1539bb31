// graft_metrics_dump scores|time [REPEATS] < cases, graft_metrics_dump stems < words
// One case a line: a JSON list of two, the hypothesis and the list of its references. A string of the form "hex:…"
// stands for those bytes. scores: one JSON object, of each variant the corpus value and those of the cases. time: of
// each metric the seconds of every run.
#include <iostream>
#include <nlohmann/json.hpp>

#include "base/clock.h"
#include "base/error.h"
#include "metric_variants.h"
#include "statistics/porter.h"
#include "statistics/text_metric.h"

namespace {

using graft::TextCases;
using nlohmann::json;

std::string bytes_of(const std::string& text) {
  if (!text.starts_with("hex:")) return text;
  std::string bytes;
  for (std::size_t at = 4; at + 1 < text.size(); at += 2)
    bytes.push_back(static_cast<char>(std::stoi(text.substr(at, 2), nullptr, 16)));
  return bytes;
}

struct Cases {
  std::vector<std::string> hypotheses;
  std::vector<std::vector<std::string>> references;
};

Cases read() {
  Cases cases;
  for (std::string line; std::getline(std::cin, line);) {
    const json row = json::parse(line);
    cases.hypotheses.push_back(bytes_of(row[0]));
    auto& references = cases.references.emplace_back();
    for (const auto& reference : row[1]) references.push_back(bytes_of(reference));
  }
  return cases;
}

void scores(const TextCases& cases) {
  json all;
  for (const auto& [name, scores_of] : graft::metric_variants()) all[name] = scores_of(cases);
  std::cout << all.dump() << '\n';
}

void time(const TextCases& cases, int repeats) {
  json all;
  for (const graft::TextMetric& metric : graft::text_metrics()) {
    std::vector<double> seconds;
    for (int repeat = 0; repeat < repeats; ++repeat) {
      const auto start = graft::Clock::now();
      metric.score(cases);
      seconds.push_back(graft::seconds_since(start));
    }
    all[metric.name] = seconds;
  }
  std::cout << all.dump() << '\n';
}

void stems() {
  for (std::string word; std::getline(std::cin, word);) std::cout << graft::porter_stem(word) << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const std::string mode = argv[1];
  try {
    if (mode == "stems") return stems(), 0;
    const Cases cases = read();
    if (mode == "scores") scores({cases.hypotheses, cases.references});
    if (mode == "time") time({cases.hypotheses, cases.references}, argc > 2 ? std::stoi(argv[2]) : 3);
  } catch (const graft::Error& error) {
    std::cerr << error.what() << '\n';
    return graft::exit_code(error.category());
  }
}
