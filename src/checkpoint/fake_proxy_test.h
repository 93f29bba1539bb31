// An HTTP proxy for tests, on this machine.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace graft::testing {

/// Leads every connection, one at a time, to a port of this machine, whatever host is asked for.
class FakeProxy {
 public:
  /// `refusal`: what it says to everything instead, where that is not empty.
  explicit FakeProxy(int target, std::string refusal = "")
      : target_(target), refusal_(std::move(refusal)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in place = port_here(0);
    auto* const address = reinterpret_cast<sockaddr*>(&place);
    socklen_t size = sizeof(place);
    if (::bind(listener_, address, size) != 0 || ::listen(listener_, 8) != 0 ||
        ::getsockname(listener_, address, &size) != 0)
      throw std::runtime_error("no port for the proxy");
    port_ = ntohs(place.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~FakeProxy() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
  }

  FakeProxy(const FakeProxy&) = delete;

  std::string place() const { return "127.0.0.1:" + std::to_string(port_); }
  /// The heads of all requests so far.
  std::vector<std::string> heads() const {
    const std::lock_guard lock(mutex_);
    return heads_;
  }

 private:
  static sockaddr_in port_here(int port) {
    sockaddr_in place{};
    place.sin_family = AF_INET;
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    place.sin_port = htons(static_cast<std::uint16_t>(port));
    return place;
  }

  static void send_to(int socket, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
  }

  static std::string head_from(int socket) {
    std::string head;
    char byte = 0;
    while (!head.ends_with("\r\n\r\n") && ::recv(socket, &byte, 1, 0) == 1) head += byte;
    return head;
  }

  // As the server itself is asked: "GET /path", not "GET http://host/path".
  static std::string without_host(const std::string& head) {
    const std::size_t host = head.find("://") + 3;
    return head.substr(0, head.find(' ') + 1) + head.substr(head.find('/', host));
  }

  // Until one of them has ended.
  static void relay(int client, int server) {
    std::array<char, 4096> bytes{};
    for (;;) {
      std::array<pollfd, 2> ends = {pollfd{client, POLLIN, 0}, pollfd{server, POLLIN, 0}};
      if (::poll(ends.data(), ends.size(), -1) < 0) return;
      for (std::size_t i = 0; i < ends.size(); ++i) {
        if (ends[i].revents == 0) continue;
        const ssize_t received = ::recv(ends[i].fd, bytes.data(), bytes.size(), 0);
        if (received <= 0) return;
        send_to(ends[1 - i].fd, {bytes.data(), static_cast<std::size_t>(received)});
      }
    }
  }

  void serve() {
    for (;;) {
      const int client = ::accept(listener_, nullptr, nullptr);
      if (client < 0) return;
      answer(client);
      ::close(client);
    }
  }

  void answer(int client) {
    const std::string head = head_from(client);
    if (head.empty()) return;
    {
      const std::lock_guard lock(mutex_);
      heads_.push_back(head);
    }
    if (!refusal_.empty()) return send_to(client, refusal_);
    const int server = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in place = port_here(target_);
    if (::connect(server, reinterpret_cast<const sockaddr*>(&place), sizeof(place)) == 0) {
      // As old proxies say it, which httplib's own tunnel waits for ever over.
      if (head.starts_with("CONNECT ")) {
        send_to(client, "HTTP/1.0 200 Connection Established\r\n\r\n");
      } else {
        send_to(server, without_host(head));
      }
      relay(client, server);
    }
    ::close(server);
  }

  const int target_;
  const std::string refusal_;
  const int listener_;
  int port_ = 0;
  mutable std::mutex mutex_;  // of heads_
  std::vector<std::string> heads_;
  std::thread thread_;
};

}  // namespace graft::testing
