// Where the time goes: a trace of every operation, and a table of them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace graft {

/// What all calls of one operation took together.
struct ProfileLine {
  std::string operation;  ///< LibTorch's name ("aten::mm"), or "graft::…" for one of ours
  std::int64_t calls = 0;
  double seconds = 0;  ///< without the operations that it called
  double flops = 0;    ///< of matrix products, as LibTorch counts them; 0: not counted
};

/// Records the operations of this thread, and those of a GPU, from when it is made until end(). One at a time.
class Profile {
 public:
  /// Throws Internal where another is recording.
  Profile();
  Profile(const Profile&) = delete;
  /// Forgets what was recorded, where end() was not called.
  ~Profile();

  /// Writes the trace in Chrome's trace format, which ui.perfetto.dev opens, and returns the operations, those that
  /// took longest first. Throws Io where the file cannot be written.
  std::vector<ProfileLine> end(const std::filesystem::path& trace);

 private:
  bool recording_ = true;
};

}  // namespace graft
