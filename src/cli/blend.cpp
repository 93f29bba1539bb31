// graft blend: adapters scaled, added, subtracted, interpolated, turned into LoRA or into a model.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/clock.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json_text.h"
#include "base/memory.h"
#include "base/progress.h"
#include "cli/core/job.h"
#include "cli/core/options.h"
#include "cli/core/placed_tensors.h"
#include "cli/core/verb.h"
#include "cli/core/weight_plan.h"
#include "convert/adapter_sum.h"
#include "convert/lossless_model.h"
#include "convert/merge.h"
#include "convert/merged_weights.h"
#include "eval/probe.h"
#include "eval/verify.h"
#include "nn/compute_dtype.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int kDisagree = 1;  // exit code: the form is said to be exact, and the probes differ

struct Arguments {
  std::string model, output, form = "same";
  std::vector<std::string> adapters;
  std::vector<double> factors;
  std::int64_t rank = 0, probes = 8;
  MergeOptions merge;
  bool json = false;
};

Arguments arguments;

// What was written, and how near it is to the sum.
struct Written {
  std::string form;          ///< "lora adapter", "model"
  std::int64_t values = 0;   ///< of the adapter
  std::int64_t tensors = 0;  ///< of the model
  std::string no_tokenizer;  ///< why the model has none; empty where it has
  std::optional<LowRankReport> low_rank;
  std::optional<double> moved;  ///< largest change of a probe's logit
  std::optional<double> gap;    ///< largest difference of a probe's logit to the sum in the weights
  bool exact = true;
};

std::vector<double> factors() {
  const auto& [given, adapters] = std::tie(arguments.factors, arguments.adapters);
  if (given.empty()) return std::vector<double>(adapters.size(), 1);
  if (given.size() != adapters.size())
    fail(Category::InvalidArgument, "--factor", "{} factors for {} adapters; give one for each --adapter, in order",
         given.size(), adapters.size());
  for (const double factor : given) {
    if (!std::isfinite(factor)) fail(Category::InvalidArgument, "--factor", "{} is not a finite number", factor);
  }
  return given;
}

std::string formula(const std::vector<double>& factors) {
  std::vector<std::string> terms;
  for (std::size_t i = 0; i < factors.size(); ++i)
    terms.push_back(fmt::format("{} × {}", factors[i], arguments.adapters[i]));
  return fmt::format("{}", fmt::join(terms, " + "));
}

// What all adapters tell of themselves alike stays true of their sum; seeds and scores do not.
Manifest manifest_of(const std::vector<LoadedAdapter>& adapters, const std::vector<double>& factors) {
  Manifest manifest;
  manifest.fields["blend"] = formula(factors);
  for (const char* key : {"task", "tasks", "weights", kTokenizerKey}) {
    const auto value = [key](const LoadedAdapter& one) {
      return one.manifest.is_object() ? one.manifest.value(key, std::string()) : std::string();
    };
    const std::string first = value(adapters.front());
    const bool alike =
        std::all_of(adapters.begin(), adapters.end(), [&](const auto& one) { return value(one) == first; });
    if (alike && !first.empty()) manifest.fields[key] = first;
  }
  return manifest;
}

// Of all adapters, or empty where they differ.
std::string common_method(const std::vector<LoadedAdapter>& adapters) {
  for (const auto& adapter : adapters) {
    if (adapter.method != adapters.front().method) return "";
  }
  return adapters.front().method;
}

std::unique_ptr<Adapter> same_method(const Model& model, const std::vector<LoadedAdapter>& adapters,
                                     const std::vector<Summand>& summands) {
  const std::string method = common_method(adapters);
  auto sum = exact_sum(model, method, summands);
  if (sum != nullptr) return sum;
  const char* instead = "write it as LoRA of some rank (--as lora --rank 16) or as a whole model (--as model)";
  if (method.empty())
    fail(Category::Unsupported, "--adapter", "adapters of several methods have no sum in one of them; {}", instead);
  fail(Category::Unsupported, "--adapter", "these {} adapters have no sum that is one too; {}", method, instead);
}

// Told before anything is summed, with the adapter's place.
void refuse_unmergeable(const Model& model, const std::string& path, const Adapter& adapter) {
  try {
    adapter.merged(0, model.parameters().value(0));
  } catch (const Error& error) {
    throw error.within(path);
  }
}

// Of the model's tensors, as its files hold them.
std::int64_t bytes_in_files(const fs::path& model) {
  const ModelFiles files = open_model_files(model);
  std::int64_t bytes = 0;
  for (const TensorInfo& info : files.weights->tensors()) bytes += static_cast<std::int64_t>(info.bytes);
  return bytes;
}

class Blend {
 public:
  Blend(const Model& model, const std::vector<LoadedAdapter>& adapters, const std::vector<double>& factors)
      : model_(model), adapters_(adapters), factors_(factors), summands_(summands()), sum_(summands_) {
    for (const LoadedAdapter& adapter : adapters) changed_.merge(merged_parameters(model, *adapter.adapter));
  }

  Written write() const { return arguments.form == "model" ? write_model() : write_adapter(); }

  // Adds what write() takes, with a part of it made.
  void foretell(WorkPlan& plan) const {
    if (arguments.form == "model") {
      const auto writer = open_merged(model_, arguments.model, sum_, arguments.output, arguments.merge);
      add_weights(plan, "merging", writer->work(changed_), arguments.output);
      add_smaller_files(plan, "--dtype bfloat16", 2 * model_.parameters().elements());
    } else if (arguments.form == "lora") {
      add_tensors(plan, "reducing", low_rank_work(model_, sum_, changed_, arguments.rank));
      add_files(plan, arguments.output, bytes_in_files(arguments.model), low_rank_bytes());
    } else {
      foretell_sum(plan);
    }
    if (arguments.probes > 0) foretell_probes(plan);
  }

 private:
  // It is small, and made.
  void foretell_sum(WorkPlan& plan) const {
    const auto began = Clock::now();
    const auto sum = same_method(model_, adapters_, summands_);
    plan.parts.push_back({"adding", seconds_since(began), fmt::format("{} adapters", adapters_.size())});
    const std::int64_t bytes = adapter_bytes(*sum);
    plan.memory = std::max(plan.memory, peak_memory() + bytes);  // as they are written
    add_files(plan, arguments.output, arguments.probes > 0 ? bytes_in_files(arguments.model) : 0, bytes);
  }

  // Of a LoRA file with the changed maps.
  std::int64_t low_rank_bytes() const {
    constexpr std::int64_t kWideBytes = 4;
    std::int64_t values = 0;
    for (const std::int64_t index : changed_) {
      const auto shape = model_.parameters().store(index).shape();
      values += std::min({arguments.rank, shape[0], shape[1]}) * (shape[0] + shape[1]);
    }
    return values * kWideBytes;
  }

  // The sum in the weights, and the passes through the base, the sum and what was written.
  void foretell_probes(WorkPlan& plan) const {
    const TensorEstimate merging = estimate_tensors(merging_work(model_, sum_, changed_));
    probe_logits(model_, nullptr, arguments.probes);  // the first lays out the weights
    begin_peak();
    const auto began = Clock::now();
    probe_logits(model_, nullptr, arguments.probes);
    const double seconds = merging.seconds + 3 * seconds_since(began);
    plan.parts.push_back({"probing", seconds, fmt::format("{} random texts, in 3 ways", arguments.probes)});
    // A model that was written is read again, in fp32.
    const std::int64_t read_again = arguments.form == "model" ? 4 * model_.parameters().elements() : 0;
    const std::int64_t without = plan.memory;
    plan.memory = std::max({without, merging.memory, peak_memory() + merged_bytes(model_, changed_) + read_again});
    if (!plan.fits_memory() && without < plan.memory)
      plan.changes.push_back({"--probes 0", without, plan.has_room_for(without)});
  }

  std::vector<Summand> summands() const {
    std::vector<Summand> result;
    for (std::size_t i = 0; i < adapters_.size(); ++i) result.push_back({adapters_[i].adapter.get(), factors_[i]});
    return result;
  }

  Written write_adapter() const {
    Written written;
    std::unique_ptr<Adapter> blended;
    if (arguments.form == "lora") {
      blended = low_rank_sum(model_, sum_, arguments.rank, written.low_rank.emplace());
      written.exact = false;
    } else {
      blended = same_method(model_, adapters_, summands_);
    }
    AtomicFolder folder(arguments.output);
    save_adapter(folder.path(), *blended, model_, manifest_of(adapters_, factors_));
    const LoadedAdapter loaded = load_adapter(folder.path(), model_);
    written.form = loaded.method + " adapter";
    written.values = trainable_elements(*loaded.adapter);
    probe(written, model_, loaded.adapter.get());
    folder.commit();
    return written;
  }

  Written write_model() const {
    Written written;
    written.form = "model";
    written.exact = false;  // rounded to the dtype of the file
    const MergeReport report = open_merged(model_, arguments.model, sum_, arguments.output, arguments.merge)->write();
    written.tensors = static_cast<std::int64_t>(report.tensors);
    written.no_tokenizer = report.no_tokenizer;
    if (arguments.probes > 0) probe(written, *load_model(arguments.output, {at::kFloat, compute_device()}), nullptr);
    return written;
  }

  // The file that was written, beside the sum in the weights.
  void probe(Written& written, const Model& with, const SiteHooks* hooks) const {
    if (arguments.probes == 0) return;
    const MergedWeights in_weights(model_, sum_);
    const at::Tensor want = probe_logits(model_, &in_weights, arguments.probes);
    written.moved = largest_gap(want, probe_logits(model_, nullptr, arguments.probes));
    written.gap = largest_gap(want, probe_logits(with, hooks, arguments.probes));
  }

  const Model& model_;
  const std::vector<LoadedAdapter>& adapters_;
  const std::vector<double>& factors_;
  std::vector<Summand> summands_;
  AdapterSum sum_;
  std::set<std::int64_t> changed_;  // parameters
};

Json json_of(const Written& written, const std::vector<double>& factors, bool passed) {
  Json all = {{"output", arguments.output}, {"form", written.form}};
  for (std::size_t i = 0; i < factors.size(); ++i)
    all["summands"].push_back({{"adapter", arguments.adapters[i]}, {"factor", factors[i]}});
  if (written.values > 0) all["values"] = written.values;
  if (written.low_rank) {
    all["low_rank"] = {{"rank", arguments.rank},
                       {"maps", written.low_rank->maps},
                       {"lost", written.low_rank->lost},
                       {"worst", written.low_rank->worst},
                       {"worst_map", written.low_rank->worst_map}};
  }
  if (written.gap) all["probes"] = {{"texts", arguments.probes}, {"moved", *written.moved}, {"gap", *written.gap}};
  all["passed"] = passed;
  return all;
}

void print(const Written& written, const std::vector<double>& factors, double tolerance, bool passed) {
  const std::string size = written.values > 0 ? fmt::format("{} values", grouped(written.values))
                                              : fmt::format("{} tensors", grouped(written.tensors));
  fmt::print("{}: {}, {}: {}\n", arguments.output, written.form, size, formula(factors));
  if (written.low_rank) {
    fmt::print("rank {} over {} maps loses {:.2e} of the change's norm; most in {}: {:.2e}\n", arguments.rank,
               written.low_rank->maps, written.low_rank->lost, written.low_rank->worst_map, written.low_rank->worst);
  }
  if (!written.no_tokenizer.empty()) fmt::print("{}\n", no_tokenizer_text(written.no_tokenizer, arguments.output));
  if (!written.gap) return;
  fmt::print("{} random texts: the sum moves a logit by up to {:.2e}; what was written is within {:.2e} of it\n",
             arguments.probes, *written.moved, *written.gap);
  if (!passed) fmt::print("NOT equal: more than {:.2e} away\n", tolerance);
}

// What run() and plan() begin with.
struct Opened {
  std::vector<double> factors;
  std::unique_ptr<Model> model;
  WeightFormat asked = WeightFormat::Dense;  // of its weights, where they have room in it
  std::vector<LoadedAdapter> adapters;

  Blend blend() const { return Blend(*model, adapters, factors); }
};

Opened open_summands() {
  const Arguments& a = arguments;
  refuse_occupied(a.output);
  Opened opened;
  opened.factors = factors();
  if (a.form == "lora" && a.rank == 0)
    fail(Category::InvalidArgument, "--rank", "is needed with --as lora: how many ranks each map's update may have");
  if (a.form != "lora" && a.rank != 0) fail(Category::InvalidArgument, "--rank", "goes with --as lora only");
  opened.asked = weight_format(a.merge.weights);
  // What blocks hold is exact in fp32 alone, and so is what the probes are to show.
  const bool exact = opened.asked != WeightFormat::Dense || a.probes > 0;
  const auto dtype = exact ? at::kFloat : lossless_dtype(*open_model_files(a.model).weights);
  opened.model = load_lossless(a.model, {dtype, compute_device(), opened.asked});
  tell_fallen_back(*opened.model);
  for (const auto& path : a.adapters) {
    opened.adapters.push_back(load_adapter(path, *opened.model));
    const LoadedAdapter& loaded = opened.adapters.back();
    refuse_other_tokenizer_beside(a.model, loaded);
    refuse_unmergeable(*opened.model, path, *loaded.adapter);
    tell_placed(path, loaded.method, loaded.tensors);
  }
  return opened;
}

void plan(bool json) {
  const auto began = Clock::now();
  const Opened opened = open_summands();
  WorkPlan plan = begin_weight_plan(*opened.model, opened.asked, seconds_since(began));
  opened.blend().foretell(plan);
  print_plan(plan, json);
}

int run() {
  const Arguments& a = arguments;
  const Opened opened = open_summands();
  const Written written = opened.blend().write();
  // Of logits that the sum moves far, a share of the way.
  const double tolerance = verify_tolerance(at::kFloat) * std::max(1.0, written.moved.value_or(0));
  const bool passed = !written.exact || !written.gap || *written.gap <= tolerance;
  if (a.json) {
    fmt::print("{}\n", json_text(json_of(written, opened.factors, passed), 2));
  } else {
    print(written, opened.factors, tolerance, passed);
  }
  return passed ? 0 : kDisagree;
}

void declare(CLI::App& app) {
  Arguments& a = arguments;
  app.add_option("--model", a.model, "base model: folder or .gguf file")->required();
  app.add_option("--adapter", a.adapters, std::string(kAdapterFiles) + "; several times, or several after it")
      ->required();
  app.add_option("--factor", a.factors, "of each adapter, in order; may be negative (default: 1 each)");
  app.add_option("--output", a.output, "new folder")->required();
  app.add_option("--as", a.form,
                 "same: an adapter of their own method, exactly; lora: any methods as LoRA of rank --rank; model: the "
                 "whole model")
      ->check(CLI::IsMember({"same", "lora", "model"}))
      ->capture_default_str();
  app.add_option("--rank", a.rank, "with --as lora: ranks of each map's update")->check(count_from(1));
  app.add_option(
      "--dtype", a.merge.dtype,
      "with --as model: float32, bfloat16 or float16 (default: as the base, bfloat16 where it is quantised)");
  app.add_option("--weights", a.merge.weights,
                 "as the adapters' runs kept their base (model.weights): packed, or blocks of a type")
      ->check(weights_name())
      ->capture_default_str();
  add_device_option(app);
  app.add_option("--probes", a.probes, "random texts on which what was written is held to the sum; 0: none")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_flag("--json", a.json, "as one JSON object");
}

}  // namespace

namespace cli {
extern const Verb blend;
const Verb blend{"blend",
                 "scale, add, subtract and interpolate adapters; turn any of them into LoRA",
                 "  graft blend --model m.gguf --adapter runs/a/adapter --factor 0.5 --output half\n"
                 "  graft blend --model m.gguf --adapter runs/a/adapter runs/b/adapter --factor 0.7 0.3 --output both\n"
                 "  graft blend --model m.gguf --adapter runs/ia3/adapter --as lora --rank 32 --output as-lora\n"
                 "  graft blend --model m.gguf --adapter runs/a/adapter runs/ia3/adapter --as model --output merged\n"
                 "Exit code 0: written; 1: written, and the random texts differ from an exact sum.\n",
                 declare,
                 run,
                 plan};
}  // namespace cli
}  // namespace graft
