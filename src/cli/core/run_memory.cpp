#include "cli/core/run_memory.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/memory.h"
#include "base/progress.h"

namespace graft {
namespace {

// By which a peak that has just begun anew may be above what is resident: the kernel counts pages by the processor.
constexpr std::int64_t kUncounted = std::int64_t{64} << 20;

}  // namespace

RunMemory::RunMemory(const MemoryFit& fit, std::int64_t batch_size, bool answers_between)
    : counted_(fit.counted),
      most_(fit.choice.bytes),
      batch_size_(static_cast<std::size_t>(batch_size)),
      answers_between_(answers_between) {}

void RunMemory::begin_part() {
  if (!measures()) return;
  earlier_peak_ = peak();
  begin_peak();
  apart_ = peak_memory() <= resident_memory() + kUncounted;
}

void RunMemory::end_answers() {
  const std::int64_t reached = peak_memory();
  begin_part();  // which leaves what stays: mapped weights were not all there before
  if (measures()) answers_ = std::max({std::int64_t{0}, answers_.value_or(0), reached - resident_memory()});
}

void RunMemory::begin_training() {
  begin_part();
  trains_ = measures();
}

void RunMemory::hear(const std::vector<std::int64_t>& examples) {
  if (!trains_) return;
  std::int64_t tokens = 0;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    if (i % batch_size_ == 0) tokens = 0;  // the next batch of an accumulation
    tokens += counted_.tokens.at(static_cast<std::size_t>(examples[i]));
    step_tokens_ = std::max(step_tokens_, tokens);
  }
}

void RunMemory::rest(std::int64_t to_come) {
  if (!measures()) return;
  note_step_peak();
  begin_part();
  resting_ = resident_memory();
  to_come_ = to_come;
}

void RunMemory::end_training() {
  note_step_peak();
  trains_ = false;
}

void RunMemory::note_step_peak() {
  if (trains_) step_peak_ = std::max(step_peak_, peak_memory());
}

std::optional<MemoryRates> RunMemory::rates() const {
  if (!measures() || resting_ == 0 || step_tokens_ == 0) return std::nullopt;
  MemoryRates rates;
  rates.beside = static_cast<double>(resting_ + to_come_ - counted_.standing);
  rates.token =
      static_cast<double>(std::max<std::int64_t>(0, step_peak_ - resting_)) / static_cast<double>(step_tokens_);
  if (answers_ && counted_.evaluation > 0)
    rates.answers = static_cast<double>(*answers_) / static_cast<double>(counted_.evaluation);
  return rates;
}

std::optional<std::int64_t> RunMemory::estimate(const std::optional<MemoryRates>& rates) const {
  if (most_ == 0 || !rates) return std::nullopt;
  const auto tokens = static_cast<double>(std::max(counted_.largest_tokens, step_tokens_));
  const auto standing = static_cast<double>(counted_.standing);
  const double training = rates->beside + standing + rates->token * tokens;
  // Before and behind training without the optimiser's state. One that was not measured takes all it may.
  const double answering = rates->beside + (answers_between_ ? standing : 0) +
                           rates->answers.value_or(1) * static_cast<double>(counted_.evaluation);
  if (!rates->answers && answering > training) return std::nullopt;
  const double within = std::clamp(std::max(training, answering), 0.0, static_cast<double>(most_));
  return std::max(peak(), static_cast<std::int64_t>(within));
}

std::string RunMemory::told(const std::optional<MemoryRates>& rates) const {
  if (most_ == 0) return "";
  if (const auto bytes = estimate(rates)) return fmt::format("about {}", human_bytes(static_cast<double>(*bytes)));
  return fmt::format("at most {}", human_bytes(static_cast<double>(std::max(most_, peak()))));
}

std::int64_t RunMemory::peak() const {
  return std::max(earlier_peak_, peak_memory());
}

}  // namespace graft
