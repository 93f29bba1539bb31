#include "report/sample_report.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/file.h"
#include "base/rng.h"
#include "report/html.h"

namespace graft {
namespace {

ReportCurve decaying(const std::string& name, double start, double end, std::uint64_t seed) {
  Rng rng(seed);
  ReportCurve curve{name, {}};
  for (int step = 1; step <= 60; ++step) {
    curve.points.push_back(
        {step, std::max(0.01, end + (start - end) * std::exp(-step / 14.0) + 0.06 * start * rng.normal())});
  }
  return curve;
}

ReportEvaluation evaluation(double accuracy, double half, std::vector<std::vector<std::int64_t>> confusion) {
  ReportEvaluation result;
  result.accuracy = {accuracy, accuracy - half, accuracy + half};
  result.balanced_accuracy = ReportScore{accuracy - 0.012, accuracy - 0.012 - half, accuracy - 0.012 + half};
  result.macro_f1 = ReportScore{accuracy - 0.02, accuracy - 0.02 - half, accuracy - 0.02 + half};
  result.examples = 200;
  result.confusion = std::move(confusion);
  return result;
}

void add_mistakes(ReportData& data) {
  const std::vector<std::string> choices = {" business", " entertainment", " politics", " sport", " tech"};
  data.mistakes.push_back(
      {"5f2c",
       "business/114.txt",
       "Regulator to review broadband prices\n\nThe telecoms watchdog has opened a review of what the largest network "
       "operator "
       "may charge smaller rivals for access to its lines. Analysts expect the shares of three listed providers to "
       "move when "
       "the findings appear in the spring. Consumer groups welcomed the step and asked for a cap on fees for leaving a "
       "contract early, which they say keep households from changing to a faster connection. The operator said that it "
       "had "
       "invested heavily in rural areas and that lower prices would slow the work.",
       choices,
       {0.31, 0.01, 0.07, 0.0, 0.61},
       {0.22, 0.1, 0.18, 0.05, 0.45},
       0,
       4,
       4});
  data.mistakes.push_back(
      {"a901",
       "politics/61.txt",
       "Minister opens film festival\n\nThe culture minister used the opening night to promise tax relief for "
       "small studios.",
       choices,
       {0.02, 0.55, 0.42, 0.0, 0.01},
       {0.05, 0.35, 0.5, 0.05, 0.05},
       2,
       1,
       2});
  data.mistakes.push_back({"77de",
                           "entertainment/9.txt",
                           "Singer buys stake in football club",
                           choices,
                           {0.09, 0.2, 0.0, 0.7, 0.01},
                           {0.6, 0.2, 0.05, 0.1, 0.05},
                           1,
                           3,
                           0});
}

}  // namespace

ReportData sample_report() {
  ReportData data;
  data.model = "SmolLM2-135M-Instruct";
  data.task = "bbc_news";
  data.method = "(IA)³, T-Few losses";
  data.started = "2024-05-01 14:03 UTC";
  data.version = "0.1.0";
  data.steps = 60;
  data.labels = {"business", "entertainment", "politics", "sport", "tech"};
  data.before = evaluation(
      0.595, 0.068, {{38, 1, 3, 0, 3}, {9, 18, 4, 2, 2}, {17, 2, 16, 1, 1}, {14, 5, 4, 22, 1}, {9, 2, 0, 1, 25}});
  data.after = evaluation(0.885, 0.045,
                          {{38, 0, 3, 0, 4}, {1, 31, 1, 1, 1}, {2, 2, 33, 0, 0}, {0, 0, 1, 45, 0}, {3, 3, 0, 1, 30}});
  data.improvement = ReportScore{0.29, 0.215, 0.365};
  data.chance = 0.2;
  data.overlap = "2 of 200 held-out examples share a 13-gram with the tuning examples";
  data.loss = {decaying("total", 3.4, 1.1, 1), decaying("language model", 1.9, 0.7, 2),
               decaying("unlikelihood", 0.6, 0.15, 3), decaying("length-normalised", 0.9, 0.25, 4)};
  data.learning_rate = {"learning rate", {}};
  for (int step = 1; step <= 60; ++step) {
    data.learning_rate.points.push_back({step, step <= 6 ? 3e-3 * step / 6 : 3e-3 * (60 - step) / 54});
  }
  data.evaluations = {{"accuracy", {{0, 0.595}, {20, 0.79}, {40, 0.87}, {60, 0.885}}},
                      {"macro F1", {{0, 0.575}, {20, 0.765}, {40, 0.85}, {60, 0.865}}}};
  add_mistakes(data);
  data.cost.seconds = {
      {"load model", 0.8}, {"evaluate before", 19.2}, {"train", 108.4}, {"evaluate after", 19.5}, {"save", 0.1}};
  data.cost.tokens = 84210;
  data.cost.tokens_per_second = 777;
  data.cost.flops = 6.8e13;
  data.cost.adapter_bytes = 134656;
  data.cost.adapter_parameters = 65280;
  data.cost.base_parameters = 134515008;
  data.cost.peak_memory_bytes = 1430000000;
  data.config =
      "model: SmolLM2-135M-Instruct\ntask: bbc_news\nmethod: ia3\nsteps: 60\nbatch: 8\nlearning_rate: 0.003\nseed: 0\n";
  data.reproducibility = {
      {"graft", "0.1.0"},
      {"Base weights", "sha256 3a1f0c5d7e9b2468ace013579bdf02468ace13579bdf02468ace13579bdf0246"},
      {"Tokenizer", "sha256 9b2468ace013579bdf02468ace13579bdf02468ace13579bdf02463a1f0c5d7e"},
      {"Training examples", "sha256 0c5d7e9b2468ace013579bdf02468ace13579bdf02468ace13579bdf02463a1f"},
      {"Seeds", "sampling 0, training 0"},
      {"Machine", "2 cores, AVX2, 16 GB memory, Linux"}};
  data.commands = {
      {"Run the adapted model", "graft generate --adapter runs/bbc/adapter --prompt 'Shares fell after …'"},
      {"Check the adapter against the merged weights", "graft verify runs/bbc"},
      {"Try it with LoRA and compare", "graft tune --task bbc_news --method lora && graft runs"}};
  return data;
}

/// Written where a person finds it: open build/*/sample-report.html in a browser after a change to the drawings.
TEST(SampleReport, IsWrittenToBeLookedAt) {
  const std::string html = render_report(sample_report());
  write_file(std::string(GRAFT_BINARY_DIR) + "/sample-report.html", html);
  EXPECT_LT(html.size(), 200'000u);
}

}  // namespace graft
