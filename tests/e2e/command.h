// Runs the built `graft` as a user does: another process, its own working folder, its exit status and what it printed.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace graft::e2e {

/// A folder of its own for each test, which everyone may read; removed with it.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path file(const std::string& name, std::string_view content) const;

 private:
  std::filesystem::path path_;
};

struct Limits {
  rlim_t file_bytes = RLIM_INFINITY;  ///< no file may grow beyond: what a full disk looks like to a program
  bool as_nobody = false;             ///< drop root's power to write everywhere
  double seconds = 120;               ///< then it is killed and timed_out
  bool terminal = false;              ///< standard input is a terminal that nobody types on; else there is none
};

struct Outcome {
  int code = -1;   ///< exit status, -1 where a signal ended it
  int signal = 0;  ///< that signal
  bool timed_out = false;
  std::int64_t peak_bytes = 0;  ///< largest resident set
  std::string out, err;

  /// Lines of standard error that complain: "graft: …", notes left out.
  std::vector<std::string> complaints() const;
};

/// One `graft` in folder `where`; killed when destroyed while it runs.
class Running {
 public:
  Running(const std::filesystem::path& where, const std::vector<std::string>& arguments, Limits limits = {});
  ~Running();
  Running(const Running&) = delete;

  bool alive();
  /// Whether it has a handler of its own for that signal by now (Linux tells).
  bool catches(int signal) const;
  void send(int signal) const;
  /// Waits for the end.
  Outcome wait();

 private:
  void reap(int options);

  Limits limits_;
  pid_t pid_ = -1;
  int out_ = -1, err_ = -1, terminal_ = -1;
  bool ended_ = false;
  Outcome outcome_;
};

/// Runs to the end.
Outcome graft(const std::filesystem::path& where, const std::vector<std::string>& arguments, Limits limits = {});

/// The lines of a text file.
std::vector<std::string> lines_of(const std::filesystem::path& file);

/// Temporary files below `folder`.
std::vector<std::filesystem::path> leftovers(const std::filesystem::path& folder);

/// Fails the test unless the command ended by itself with `code` and complained in exactly one line that holds every
/// one of `parts`.
void expect_refused(const Outcome& outcome, int code, const std::vector<std::string>& parts);

}  // namespace graft::e2e
