#include "command.h"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "base/file.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr uid_t kNobody = 65534;
constexpr rlim_t kMostMemory = 16ULL << 30;  // a claim of petabytes must not reach the machine

const std::string kProgram = std::string(GRAFT_BINARY_DIR) + "/bin/graft";

// Not bounded by a limit on the size of files, as standard error must stay whole.
std::pair<int, int> pipe_ends() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  return {ends[0], ends[1]};
}

int memory_file() {
  const int file = ::memfd_create("output", MFD_CLOEXEC);
  if (file < 0) throw std::runtime_error("no file for the output");
  return file;
}

// The other end of a terminal, whose name ptsname() tells.
int terminal_end() {
  const int end = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (end < 0 || ::grantpt(end) != 0 || ::unlockpt(end) != 0) throw std::runtime_error("no terminal");
  return end;
}

std::string content(int file) {
  std::string text(static_cast<std::size_t>(::lseek(file, 0, SEEK_END)), '\0');
  if (::pread(file, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
    throw std::runtime_error("the output cannot be read");
  return text;
}

bool limit(__rlimit_resource_t what, rlim_t value) {
  const rlimit both{value, value};
  return value == RLIM_INFINITY || ::setrlimit(what, &both) == 0;
}

// Runs in the child: only calls that are safe between fork and exec.
[[noreturn]] void become(const char* where, char* const* arguments, const Limits& limits, const char* in, int out,
                         int err) {
  // Below the test that watches it, so that the test wakes in time.
  [[maybe_unused]] const int nice = ::nice(5);
  const bool placed = ::dup2(out, STDOUT_FILENO) >= 0 && ::dup2(err, STDERR_FILENO) >= 0 &&
                      ::dup2(::open(in, O_RDONLY | O_NOCTTY), STDIN_FILENO) >= 0 && ::chdir(where) == 0;
  const bool limited = limit(RLIMIT_FSIZE, limits.file_bytes) && limit(RLIMIT_AS, kMostMemory) && limit(RLIMIT_CORE, 0);
  const bool dropped =
      !limits.as_nobody || (::setgroups(0, nullptr) == 0 && ::setgid(kNobody) == 0 && ::setuid(kNobody) == 0);
  if (placed && limited && dropped) ::execv(arguments[0], arguments);
  ::_exit(127);
}

}  // namespace

Folder::Folder() {
  std::string name = (fs::temp_directory_path() / "graft-e2e-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
  path_ = name;
  fs::permissions(path_,
                  fs::perms::group_read | fs::perms::group_exec | fs::perms::others_read | fs::perms::others_exec,
                  fs::perm_options::add);
}

Folder::~Folder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

fs::path Folder::file(const std::string& name, std::string_view content) const {
  write_file(path_ / name, content);
  return path_ / name;
}

std::vector<std::string> Outcome::complaints() const {
  std::vector<std::string> found;
  std::istringstream lines(err);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("graft: ") && !line.starts_with("graft: note: ")) found.push_back(line);
  }
  return found;
}

Running::Running(const fs::path& where, const std::vector<std::string>& arguments, Limits limits)
    : limits_(limits), out_(memory_file()) {
  const auto [err, err_in] = pipe_ends();
  err_ = err;
  std::vector<std::string> all = {kProgram};
  all.insert(all.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  for (auto& argument : all) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  ::setenv("OMP_NUM_THREADS", "1", 1);  // the models are too small for more
  // No test finds what another has kept.
  const char* cache = std::getenv("GRAFT_TEST_CACHE");
  ::setenv("XDG_CACHE_HOME", cache != nullptr ? cache : fs::absolute(where / ".cache").c_str(), 1);
  if (limits_.terminal) terminal_ = terminal_end();
  const std::string in = terminal_ >= 0 ? ::ptsname(terminal_) : "/dev/null";
  pid_ = ::fork();
  if (pid_ == 0) become(where.c_str(), pointers.data(), limits_, in.c_str(), out_, err_in);
  ::close(err_in);
  if (pid_ < 0) throw std::runtime_error("no process");
}

Running::~Running() {
  if (!ended_) {
    send(SIGKILL);
    reap(0);
  }
  ::close(out_);
  ::close(err_);
  if (terminal_ >= 0) ::close(terminal_);
}

void Running::reap(int options) {
  int status = 0;
  rusage usage{};
  const pid_t ended = ::wait4(pid_, &status, options, &usage);
  if (ended != pid_) return;
  ended_ = true;
  if (WIFEXITED(status)) outcome_.code = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) outcome_.signal = WTERMSIG(status);
  outcome_.peak_bytes = static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
}

bool Running::alive() {
  if (!ended_) reap(WNOHANG);
  return !ended_;
}

bool Running::catches(int signal) const {
  std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
  const std::string caught = "SigCgt:";  // proc(5): a mask, signal 1 is its lowest bit
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(caught))
      return (std::stoull(line.substr(caught.size()), nullptr, 16) >> (signal - 1) & 1) != 0;
  }
  return false;
}

void Running::send(int signal) const {
  if (!ended_) ::kill(pid_, signal);
}

Outcome Running::wait() {
  const auto deadline = Clock::now() + std::chrono::duration<double>(limits_.seconds);
  while (alive()) {
    if (Clock::now() > deadline && !outcome_.timed_out) {
      outcome_.timed_out = true;
      send(SIGKILL);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  outcome_.out = content(out_);
  // What it wrote fits the pipe: nothing reads while it runs.
  char buffer[1 << 12];
  for (ssize_t count; (count = ::read(err_, buffer, sizeof buffer)) > 0;)
    outcome_.err.append(buffer, static_cast<std::size_t>(count));
  return outcome_;
}

Outcome graft(const fs::path& where, const std::vector<std::string>& arguments, Limits limits) {
  return Running(where, arguments, limits).wait();
}

std::vector<std::string> lines_of(const std::filesystem::path& file) {
  std::vector<std::string> lines;
  std::istringstream in(read_file(file));
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::vector<fs::path> leftovers(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.path().filename().string().find(".tmp-") != std::string::npos) found.push_back(entry.path());
  }
  return found;
}

void expect_refused(const Outcome& outcome, int code, const std::vector<std::string>& parts) {
  EXPECT_FALSE(outcome.timed_out);
  EXPECT_EQ(outcome.signal, 0);
  EXPECT_EQ(outcome.code, code) << outcome.err;
  const auto complaints = outcome.complaints();
  ASSERT_EQ(complaints.size(), 1u) << outcome.err;
  EXPECT_TRUE(outcome.err.ends_with(complaints.front() + "\n"))
      << "the complaint is not the last line: " << outcome.err;
  for (const auto& part : parts) EXPECT_NE(complaints.front().find(part), std::string::npos) << complaints.front();
}

}  // namespace graft::e2e
