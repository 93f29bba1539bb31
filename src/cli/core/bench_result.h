// What `graft bench` found: how fast each kind of work is, beside the least time that the machine needs for it.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "report/html.h"

namespace graft {

/// What some work needs at the least, however it is done.
struct BenchWork {
  double flops = 0;  ///< of matrix products, two a multiply-add
  double bytes = 0;  ///< that have to be read from memory
};

/// What a machine does in a second.
struct MachineRate {
  double flops = 0;
  double bytes = 0;
};

/// The roofline (Williams, Waterman and Patterson 2009): what takes longer, computing or reading, while the other goes
/// on beside it.
double least_seconds(const BenchWork& work, const MachineRate& rate);

/// Whether it is computing, and not reading, that takes longer.
bool bound_by_computing(const BenchWork& work, const MachineRate& rate);

/// One repetition.
struct BenchSample {
  double seconds = 0;
  BenchWork work;
  std::vector<double> counts;  ///< of what was done, one for each unit of the row
};

/// What the repetitions of one kind of work say. `low` and `high` are quartiles, `value` is the median.
struct BenchRow {
  std::string name;  ///< as --only takes it: "decode_16"
  std::string what;  ///< as a person reads it: "write 16 texts"
  struct Rate {
    std::string unit;  ///< "tokens"
    ReportScore per_second;
  };
  std::vector<Rate> rates;
  ReportScore seconds;           ///< of a repetition
  double flops = 0;              ///< of a repetition, mean
  double bytes = 0;              ///< likewise
  double share = 0;              ///< of the machine's limit that is reached: least seconds by seconds, median
  bool computing = false;        ///< that is what bounds it; else reading
  std::int64_t repetitions = 0;  ///< 0: not made
  std::int64_t peak_memory = 0;  ///< bytes resident, weights included
  std::string not_made;          ///< why, where there are none
};

/// Rates and shares of one or more samples.
BenchRow bench_row(const std::string& name, const std::string& what, const std::vector<std::string>& units,
                   const std::vector<BenchSample>& samples, const MachineRate& rate);

/// What of the machine itself was measured, in FLOP/s and bytes/s.
struct MachineLimits {
  ReportScore float32;                   ///< products of the model's shapes
  std::optional<ReportScore> bfloat16;   ///< likewise, where the machine multiplies it or the model computes in it
  std::optional<ReportScore> eight_bit;  ///< of blocks of 8 bits with inputs of 8 bits, where graft has a kernel
  ReportScore reading;                   ///< of memory beyond the caches, all threads
};

struct BenchResult {
  std::string model, dtype, device;
  std::string written_weights;  ///< of the rows that write; empty: no such row
  std::string tuned_weights;    ///< of the others
  std::int64_t threads = 0;
  MachineLimits machine;
  std::vector<BenchRow> rows;
};

nlohmann::ordered_json bench_json(const BenchResult& result);

/// The tables of a person, one of the machine and one of the rows, as print_columns() takes them.
std::vector<std::vector<std::string>> machine_table(const MachineLimits& machine);
std::vector<std::vector<std::string>> bench_table(const std::vector<BenchRow>& rows);

/// "bound by computing: (IA)³ step; by reading memory: write one text". Empty where no row was made.
std::string bounds_text(const std::vector<BenchRow>& rows);

}  // namespace graft
