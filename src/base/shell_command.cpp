#include "base/shell_command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>

#include "base/error.h"
#include "base/interrupt.h"

namespace graft {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kLongestLine = std::size_t{1} << 20;
constexpr int kGlance = 200;  // milliseconds between looks at Ctrl-C

// What a signal does while this lives.
class Disposition {
 public:
  Disposition(int signal, void (*handler)(int)) : signal_(signal) {
    struct sigaction action {};
    action.sa_handler = handler;
    ::sigaction(signal_, &action, &before_);
  }
  ~Disposition() { ::sigaction(signal_, &before_, nullptr); }
  Disposition(const Disposition&) = delete;
  Disposition& operator=(const Disposition&) = delete;

 private:
  int signal_;
  struct sigaction before_ {};
};

class OwnedDescriptor {
 public:
  OwnedDescriptor() = default;
  ~OwnedDescriptor() { close(); }
  OwnedDescriptor(const OwnedDescriptor&) = delete;
  OwnedDescriptor& operator=(const OwnedDescriptor&) = delete;

  void take(int descriptor) { descriptor_ = descriptor; }
  int get() const { return descriptor_; }
  bool open() const { return descriptor_ >= 0; }
  void close() {
    if (open()) ::close(descriptor_);
    descriptor_ = -1;
  }

 private:
  int descriptor_ = -1;
};

class Pipe {
 public:
  explicit Pipe(const ShellCommand& command) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
      fail(Category::Io, command.context, "the command cannot be started: {}", std::strerror(errno));
    out.take(ends[0]);
    in.take(ends[1]);
  }
  OwnedDescriptor out, in;  // what is written into `in` comes out of `out`
};

// Of a child: what we ignore or catch is what it finds as usual, and a group of its own, which is ended as a whole.
class Attributes {
 public:
  Attributes() {
    ::posix_spawnattr_init(&attributes_);
    ::posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
    ::posix_spawnattr_setpgroup(&attributes_, 0);
    sigset_t usual;
    sigemptyset(&usual);
    for (const int signal : {SIGPIPE, SIGXFSZ, SIGCHLD, SIGINT, SIGTERM}) sigaddset(&usual, signal);
    ::posix_spawnattr_setsigdefault(&attributes_, &usual);
  }
  ~Attributes() { ::posix_spawnattr_destroy(&attributes_); }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  const posix_spawnattr_t* get() const { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

class Child {
 public:
  explicit Child(const ShellCommand& command) : to_(command), from_(command) {
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, to_.out.get(), STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, from_.in.get(), STDOUT_FILENO);
    std::string shell = "sh", option = "-c", text = command.text;
    const std::array<char*, 4> arguments = {shell.data(), option.data(), text.data(), nullptr};
    const Attributes attributes;
    const int error = ::posix_spawn(&pid_, "/bin/sh", &actions, attributes.get(), arguments.data(), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    if (error != 0) {
      pid_ = -1;
      fail(Category::Io, command.context, "/bin/sh cannot be started: {}", std::strerror(error));
    }
    to_.out.close();
    from_.in.close();
    for (const int end : {to_.in.get(), from_.out.get()}) ::fcntl(end, F_SETFL, ::fcntl(end, F_GETFL) | O_NONBLOCK);
  }
  ~Child() {
    if (pid_ >= 0) end_group();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  OwnedDescriptor& input() { return to_.in; }
  OwnedDescriptor& output() { return from_.out; }

  // How it ended; nothing while it runs. What it left running is ended, too.
  std::optional<int> status() {
    siginfo_t ended{};
    if (::waitid(P_PID, static_cast<id_t>(pid_), &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == 0)
      return std::nullopt;
    return end_group();
  }

 private:
  // The group goes before its first process is waited for: until then no other can have its number.
  int end_group() {
    int status = 0;
    ::kill(-pid_, SIGKILL);
    while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return status;
  }

  Pipe to_, from_;
  pid_t pid_ = -1;
};

class Exchange {
 public:
  Exchange(const ShellCommand& command, const std::string& input, std::size_t at_most,
           const std::function<void(std::size_t)>& on_lines)
      : command_(command), input_(input), at_most_(at_most), on_lines_(on_lines), child_(command) {}

  std::vector<std::string> run() {
    if (input_.empty()) child_.input().close();
    while (child_.output().open() && lines_.size() <= at_most_) {
      stop_if_interrupted("scoring");
      std::array<pollfd, 2> ends = {pollfd{child_.output().get(), POLLIN, 0}, pollfd{child_.input().get(), POLLOUT, 0}};
      if (::poll(ends.data(), ends.size(), kGlance) < 0 && errno != EINTR)
        fail(Category::Io, command_.context, "the command cannot be waited for: {}", std::strerror(errno));
      if (ends[1].revents != 0) write();
      if (ends[0].revents != 0) read();
      refuse_silence("neither reads nor answers");
    }
    if (lines_.size() > at_most_) return lines_;
    child_.input().close();
    wait();
    if (!rest_.empty()) lines_.push_back(rest_);  // the last line may lack its end
    return lines_;
  }

 private:
  void write() {
    const ssize_t count = ::write(child_.input().get(), input_.data() + written_, input_.size() - written_);
    if (count > 0) {
      written_ += static_cast<std::size_t>(count);
      heard_ = Clock::now();
    }
    const bool later = count < 0 && (errno == EAGAIN || errno == EINTR);
    // A command may end without reading all: what it answered, and how it ended, tells whether that was right.
    if (written_ == input_.size() || (count < 0 && !later)) child_.input().close();
  }

  void read() {
    std::array<char, 65536> bytes;
    const ssize_t count = ::read(child_.output().get(), bytes.data(), bytes.size());
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) return child_.output().close();
    heard_ = Clock::now();
    rest_.append(bytes.data(), static_cast<std::size_t>(count));
    std::size_t start = 0;
    for (std::size_t end; (end = rest_.find('\n', start)) != std::string::npos; start = end + 1)
      lines_.push_back(rest_.substr(start, end - start));
    rest_.erase(0, start);
    if (rest_.size() > kLongestLine)
      fail(Category::Io, command_.context,
           "the command answers with a line of more than 1 MiB; it must be one short line for each text");
    if (on_lines_) on_lines_(lines_.size());
  }

  void wait() {
    for (;;) {
      if (const auto status = child_.status()) return refuse_failure(*status);
      stop_if_interrupted("scoring");
      refuse_silence("does not end");
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  // On one line, as an error is.
  std::string told() const {
    std::string text = command_.text;
    std::replace(text.begin(), text.end(), '\n', ' ');
    return text;
  }

  void refuse_failure(int status) const {
    if (WIFSIGNALED(status))
      fail(Category::Io, command_.context, "the command was ended by signal {} (lines answered: {}): {}",
           WTERMSIG(status), lines_.size(), told());
    if (WEXITSTATUS(status) != 0)
      fail(Category::Io, command_.context, "the command ended with exit status {} (lines answered: {}): {}",
           WEXITSTATUS(status), lines_.size(), told());
  }

  void refuse_silence(const char* what) const {
    const double silent = std::chrono::duration<double>(Clock::now() - heard_).count();
    if (silent > command_.patience)
      fail(Category::Io, command_.context, "the command {} for {:g} seconds (lines answered: {}) and was ended: {}",
           what, command_.patience, lines_.size(), told());
  }

  const ShellCommand& command_;
  const std::string& input_;
  std::size_t at_most_;
  const std::function<void(std::size_t)>& on_lines_;
  Disposition written_to_{SIGPIPE, SIG_IGN};  // a command that has ended then shows as an error of write()
  Disposition waited_for_{SIGCHLD, SIG_DFL};  // ignored, as whoever started us may leave it, no end has a status
  Child child_;
  std::size_t written_ = 0;
  std::string rest_;
  std::vector<std::string> lines_;
  Clock::time_point heard_ = Clock::now();
};

}  // namespace

std::vector<std::string> lines_through(const ShellCommand& command, const std::string& input, std::size_t at_most,
                                       const std::function<void(std::size_t)>& on_lines) {
  return Exchange(command, input, at_most, on_lines).run();
}

}  // namespace graft
