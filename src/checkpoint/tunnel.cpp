#include "checkpoint/tunnel.h"

#include <sys/socket.h>
#include <sys/types.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"

namespace graft {
namespace {

constexpr std::size_t kLongestAnswer = 65536;

bool send_whole(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR && !interrupted()) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

// Byte by byte, as what follows is not of the proxy. Empty where the connection ends, or nothing comes, before the end.
std::string answer_head(int socket) {
  std::string head;
  while (!head.ends_with("\r\n\r\n") && !head.ends_with("\n\n")) {
    char byte = 0;
    const ssize_t received = ::recv(socket, &byte, 1, 0);
    if (received < 0 && errno == EINTR && !interrupted()) continue;
    if (received <= 0 || head.size() == kLongestAnswer) return "";
    head += byte;
  }
  return head;
}

// Of "HTTP/1.1 200 Connection established"; 0: it is not HTTP.
int status_in(const std::string& head) {
  const std::size_t space = head.find(' ');
  if (!head.starts_with("HTTP/") || space == std::string::npos) return 0;
  int status = 0;
  std::from_chars(head.data() + space + 1, head.data() + head.size(), status);
  return status;
}

}  // namespace

TunnelClient::TunnelClient(const HostPort& target, Proxy proxy)
    : httplib::SSLClient(target.host, target.port), tunnel_(std::move(proxy)) {}

bool TunnelClient::create_and_connect_socket(Socket& socket, httplib::Error& error) {
  // Only while it connects: a client that has a proxy would ask for a tunnel by itself.
  proxy_host_ = tunnel_.at.host;
  proxy_port_ = tunnel_.at.port;
  const bool reached = ClientImpl::create_and_connect_socket(socket, error);
  proxy_host_.clear();
  if (!reached) return false;
  std::string request =
      fmt::format("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\nUser-Agent: graft/{1}\r\n", host_and_port_, GRAFT_VERSION);
  if (!tunnel_.credentials.empty()) request += "Proxy-Authorization: " + tunnel_.credentials + "\r\n";
  request += "\r\n";
  const std::string head = send_whole(socket.sock, request) ? answer_head(socket.sock) : "";
  if (interrupted()) {
    error = httplib::Error::Canceled;
    return false;
  }
  const int status = status_in(head);
  if (status < 200 || status > 299) fail_refused(tunnel_, host_, status);
  return true;
}

}  // namespace graft
