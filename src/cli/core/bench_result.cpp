#include "cli/core/bench_result.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/progress.h"
#include "cli/core/evaluation.h"

namespace graft {
namespace {

using Json = nlohmann::ordered_json;

template <typename Of>
ReportScore quartiles_over(const std::vector<BenchSample>& samples, const Of& of) {
  std::vector<double> values;
  for (const auto& sample : samples) values.push_back(of(sample));
  return quartiles_of(values);
}

template <typename Of>
double mean_over(const std::vector<BenchSample>& samples, const Of& of) {
  double sum = 0;
  for (const auto& sample : samples) sum += of(sample);
  return sum / static_cast<double>(samples.size());
}

Json quartiles_json(const ReportScore& of) {
  return {{"median", of.value}, {"first_quartile", of.low}, {"third_quartile", of.high}};
}

Json row_json(const BenchRow& row) {
  Json json = {{"name", row.name}, {"what", row.what}, {"repetitions", row.repetitions}};
  if (row.repetitions == 0) {
    json["not_made"] = row.not_made;
    return json;
  }
  for (const auto& rate : row.rates) json["per_second"][rate.unit] = quartiles_json(rate.per_second);
  json["seconds"] = quartiles_json(row.seconds);
  json["flops"] = row.flops;
  json["bytes_read"] = row.bytes;
  json["share_of_limit"] = row.share;
  json["bound"] = row.computing ? "computing" : "reading";
  json["peak_memory_bytes"] = row.peak_memory;
  return json;
}

Json machine_json(const MachineLimits& machine) {
  const auto measured = [](const std::optional<ReportScore>& of) { return of ? quartiles_json(*of) : Json(); };
  return {{"float32_flops", quartiles_json(machine.float32)},
          {"bfloat16_flops", measured(machine.bfloat16)},
          {"eight_bit_flops", measured(machine.eight_bit)},
          {"read_bytes", quartiles_json(machine.reading)}};
}

// Four digits, whatever the size: "1130", "26.4", "0.213".
std::string digits(double value) {
  if (value >= 100) return fmt::format("{:.0f}", value);
  return value >= 10 ? fmt::format("{:.1f}", value) : fmt::format("{:.3g}", value);
}

std::string between(const ReportScore& of, double unit = 1) {
  return fmt::format("{}–{}", digits(of.low / unit), digits(of.high / unit));
}

constexpr double kGiga = 1e9;

std::vector<std::string> limit_line(const std::string& what, const ReportScore& of, const char* unit) {
  return {what, fmt::format("{} {}", digits(of.value / kGiga), unit), between(of, kGiga)};
}

std::vector<std::string> first_line(const BenchRow& row) {
  const auto& rate = row.rates.front();
  return {row.what,
          fmt::format("{} {}/s", digits(rate.per_second.value), rate.unit),
          between(rate.per_second),
          fmt::format("{} s", digits(row.seconds.value)),
          digits(row.flops / kGiga),
          digits(row.bytes / kGiga),
          fmt::format("{:.0f}%", 100 * row.share),
          row.computing ? "computing" : "reading",
          human_bytes(static_cast<double>(row.peak_memory)),
          std::to_string(row.repetitions)};
}

}  // namespace

double least_seconds(const BenchWork& work, const MachineRate& rate) {
  return std::max(work.flops / rate.flops, work.bytes / rate.bytes);
}

bool bound_by_computing(const BenchWork& work, const MachineRate& rate) {
  return work.flops / rate.flops > work.bytes / rate.bytes;
}

BenchRow bench_row(const std::string& name, const std::string& what, const std::vector<std::string>& units,
                   const std::vector<BenchSample>& samples, const MachineRate& rate) {
  BenchRow row;
  row.name = name;
  row.what = what;
  for (std::size_t u = 0; u < units.size(); ++u) {
    const auto per_second = [u](const BenchSample& sample) { return sample.counts[u] / sample.seconds; };
    row.rates.push_back({units[u], quartiles_over(samples, per_second)});
  }
  row.seconds = quartiles_over(samples, [](const BenchSample& sample) { return sample.seconds; });
  row.flops = mean_over(samples, [](const BenchSample& sample) { return sample.work.flops; });
  row.bytes = mean_over(samples, [](const BenchSample& sample) { return sample.work.bytes; });
  const auto share = [&rate](const BenchSample& sample) { return least_seconds(sample.work, rate) / sample.seconds; };
  row.share = quartiles_over(samples, share).value;
  row.computing = bound_by_computing({row.flops, row.bytes}, rate);
  row.repetitions = static_cast<std::int64_t>(samples.size());
  return row;
}

nlohmann::ordered_json bench_json(const BenchResult& result) {
  Json json = {{"model", result.model},
               {"dtype", result.dtype},
               {"device", result.device},
               {"threads", result.threads},
               {"written_weights", result.written_weights},
               {"tuned_weights", result.tuned_weights},
               {"machine", machine_json(result.machine)},
               {"rows", Json::array()}};
  for (const auto& row : result.rows) json["rows"].push_back(row_json(row));
  return json;
}

std::vector<std::vector<std::string>> machine_table(const MachineLimits& machine) {
  std::vector<std::vector<std::string>> lines = {{"the machine", "median", "quartiles"}};
  lines.push_back(limit_line("products in float32", machine.float32, "GFLOP/s"));
  if (machine.bfloat16) lines.push_back(limit_line("products in bfloat16", *machine.bfloat16, "GFLOP/s"));
  if (machine.eight_bit) lines.push_back(limit_line("products of 8-bit blocks", *machine.eight_bit, "GFLOP/s"));
  lines.push_back(limit_line("reading memory", machine.reading, "GB/s"));
  return lines;
}

std::vector<std::vector<std::string>> bench_table(const std::vector<BenchRow>& rows) {
  const std::vector<std::string> head = {"the model", "median",       "quartiles", "seconds",     "GFLOP",
                                         "GB read",   "of the limit", "bound by",  "peak memory", "times"};
  std::vector<std::vector<std::string>> lines = {head};
  for (const auto& row : rows) {
    if (row.repetitions == 0) continue;
    lines.push_back(first_line(row));
    for (std::size_t r = 1; r < row.rates.size(); ++r) {
      std::vector<std::string> line(head.size());
      line[1] = fmt::format("{} {}/s", digits(row.rates[r].per_second.value), row.rates[r].unit);
      line[2] = between(row.rates[r].per_second);
      lines.push_back(line);
    }
  }
  return lines;
}

std::string bounds_text(const std::vector<BenchRow>& rows) {
  std::vector<std::string> computing, reading, parts;
  for (const auto& row : rows) {
    if (row.repetitions > 0) (row.computing ? computing : reading).push_back(row.what);
  }
  if (!computing.empty()) parts.push_back(fmt::format("bound by computing: {}", fmt::join(computing, ", ")));
  if (!reading.empty()) parts.push_back(fmt::format("bound by reading memory: {}", fmt::join(reading, ", ")));
  return fmt::format("{}", fmt::join(parts, "; "));
}

}  // namespace graft
