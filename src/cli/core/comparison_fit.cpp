#include "cli/core/comparison_fit.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include "adapters/core/combination.h"
#include "base/error.h"
#include "cli/core/in_context_run.h"
#include "cli/core/job.h"
#include "cli/core/tune_settings.h"

namespace graft {
namespace {

using Misfits = std::vector<std::pair<std::string, Error>>;  // by variant, in the plan's order

// Tasks, seeds and numbers of examples have no say in whether a variant fits.
class VariantFits {
 public:
  /// What the run's variant is refused for.
  const std::optional<Error>& refusal(const PlannedRun& run) {
    const Model& outline = outline_of(run.config);
    const auto [place, fresh] = refusals_.try_emplace(fmt::format("{}\n{}", run.variant, base_key(run.config)));
    if (fresh) place->second = tried(run.config, outline);
    return place->second;
  }

 private:
  const Model& outline_of(const RunConfig& config) {
    std::unique_ptr<Model>& outline = outlines_[base_key(config)];
    if (outline == nullptr) {
      ModelFiles files = open_model_files(config.model.path);
      outline = outline_model(files.config, weight_format(config.model.weights), std::move(files.weights));
    }
    return *outline;
  }

  static std::optional<Error> tried(const RunConfig& config, const Model& outline) {
    try {
      make(config, outline);
    } catch (const Error& error) {
      return error;
    }
    return std::nullopt;
  }

  static void make(const RunConfig& config, const Model& outline) {
    if (is_in_context(config)) {
      in_context_settings(config);
      return;
    }
    if (!config.method.start_from.empty()) return refuse_absent_start(config);
    const auto adapter = counted_adapter(config, outline);
    if (MethodChoice(config.method.name).has_adapter_file()) adapter->peft_tensors();
  }

  static void refuse_absent_start(const RunConfig& config) {
    if (std::filesystem::exists(start_of(config))) return;
    fail(Category::NotFound, "method.start_from",
         "{} is not there; name an adapter with --start-from, or leave the variant out", start_of(config).string());
  }

  std::map<std::string, std::unique_ptr<Model>> outlines_;
  std::map<std::string, std::optional<Error>> refusals_;
};

[[noreturn]] void refuse_misfits(const Misfits& misfits, bool others) {
  const char* way_out = others ? "; mend that, or let --skip-unfitting run the rest and tell why in the report" : "";
  const auto& [first, error] = misfits.front();
  if (misfits.size() == 1) fail(error.category(), fmt::format("variant {}", first), "{}{}", error.what(), way_out);
  std::vector<std::string> all;
  for (const auto& [variant, refusal] : misfits) all.push_back(fmt::format("{}: {}", variant, refusal.what()));
  fail(error.category(), "", "{} variants do not fit. {}{}", misfits.size(), fmt::join(all, ". "), way_out);
}

}  // namespace

FittingRuns fitting_runs(const std::vector<PlannedRun>& plan, bool skip) {
  VariantFits fits;
  FittingRuns result;
  Misfits misfits;
  for (const auto& run : plan) {
    const std::optional<Error>& refusal = fits.refusal(run);
    if (!refusal) {
      result.runs.push_back(run);
      continue;
    }
    result.left_out[run.config.run.output] = refusal->what();
    const bool told =
        std::any_of(misfits.begin(), misfits.end(), [&run](const auto& misfit) { return misfit.first == run.variant; });
    if (!told) misfits.emplace_back(run.variant, *refusal);
  }
  if (!misfits.empty() && (!skip || result.runs.empty())) refuse_misfits(misfits, !result.runs.empty());
  for (const auto& [variant, refusal] : misfits)
    std::fprintf(stderr, "graft: note: variant %s is left out: %s\n", variant.c_str(), refusal.what());
  return result;
}

}  // namespace graft
