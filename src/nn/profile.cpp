#include "nn/profile.h"

#include <torch/csrc/autograd/profiler_kineto.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "base/error.h"

namespace graft {
namespace {

namespace profiler = torch::autograd::profiler;
using torch::profiler::impl::ActivityType;
using torch::profiler::impl::ProfilerConfig;
using torch::profiler::impl::ProfilerState;

bool recording = false;

std::set<ActivityType> activities() {
  std::set<ActivityType> wanted = {ActivityType::CPU};
  if (at::hasCUDA()) wanted.insert(ActivityType::CUDA);
  return wanted;
}

class Table {
 public:
  void add(const profiler::KinetoEvent& event, double seconds) {
    ProfileLine& line = lines_[event.name()];
    ++line.calls;
    line.seconds += seconds;
    line.flops += static_cast<double>(event.flops());
  }

  /// Time that an operation inside `outer` has to itself.
  void take_away(const profiler::KinetoEvent& outer, double seconds) { lines_[outer.name()].seconds -= seconds; }

  std::vector<ProfileLine> sorted() {
    std::vector<ProfileLine> result;
    for (auto& [name, line] : lines_) {
      line.operation = name;
      result.push_back(line);
    }
    std::sort(result.begin(), result.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
    return result;
  }

 private:
  std::map<std::string, ProfileLine> lines_;
};

double seconds_of(const profiler::KinetoEvent& event) {
  return static_cast<double>(event.durationNs()) * 1e-9;
}

// Operations of one thread in the order in which they began: those that an operation called lie inside it.
void add_thread(std::vector<const profiler::KinetoEvent*>& events, Table& table) {
  std::sort(events.begin(), events.end(), [](const auto* a, const auto* b) {
    return a->startNs() != b->startNs() ? a->startNs() < b->startNs() : a->durationNs() > b->durationNs();
  });
  std::vector<const profiler::KinetoEvent*> open;
  for (const auto* event : events) {
    while (!open.empty() && open.back()->endNs() <= event->startNs()) open.pop_back();
    if (!open.empty()) table.take_away(*open.back(), seconds_of(*event));
    table.add(*event, seconds_of(*event));
    open.push_back(event);
  }
}

// LibTorch reports no failure.
void save(profiler::ProfilerResult& result, const std::filesystem::path& trace) {
  const std::filesystem::path part = trace.string() + ".part.json";
  std::error_code absent;
  std::filesystem::remove(part, absent);
  result.save(part.string());
  std::error_code failed;
  std::filesystem::rename(part, trace, failed);
  if (failed) fail(Category::Io, trace.string(), "the profile cannot be written: {}", failed.message());
}

}  // namespace

Profile::Profile() {
  if (recording) fail(Category::Internal, "profile", "another profile is being recorded");
  ::setenv("KINETO_LOG_LEVEL", "99", /*overwrite=*/0);  // it would tell of its own beginning and end
  const ProfilerConfig config(ProfilerState::KINETO, /*report_input_shapes=*/true, /*profile_memory=*/false,
                              /*with_stack=*/false, /*with_flops=*/true);
  profiler::prepareProfiler(config, activities());
  profiler::enableProfiler(config, activities());
  recording = true;
}

Profile::~Profile() {
  if (!recording_) return;
  profiler::disableProfiler();
  recording = false;
}

std::vector<ProfileLine> Profile::end(const std::filesystem::path& trace) {
  const auto result = profiler::disableProfiler();
  recording = recording_ = false;
  Table table;
  std::map<std::uint64_t, std::vector<const profiler::KinetoEvent*>> threads;
  for (const auto& event : result->events()) {
    if (event.deviceType() == c10::DeviceType::CPU) {
      threads[event.startThreadId()].push_back(&event);
    } else {
      table.add(event, seconds_of(event));
    }
  }
  for (auto& [thread, events] : threads) add_thread(events, table);
  save(*result, trace);
  return table.sorted();
}

}  // namespace graft
