#include "checkpoint/tunnel.h"

#include <sys/socket.h>
#include <sys/types.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "base/error.h"
#include "base/interrupt.h"

namespace graft {
namespace {

// Asks for the tunnel itself: httplib 0.11 (Debian 12) waits for ever where the proxy answers with "Connection: close",
// and takes every refusal but 407 for a tunnel. `Tls` is httplib::SSLClient.
template <typename Tls>
class TunnelClient final : public Tls {
 public:
  TunnelClient(const HostPort& target, Proxy proxy) : Tls(target.host, target.port), tunnel_(std::move(proxy)) {}

 private:
  bool create_and_connect_socket(typename Tls::Socket& socket, httplib::Error& error) override {
    // Only while it connects: a client that has a proxy would ask for a tunnel by itself.
    this->proxy_host_ = tunnel_.at.host;
    this->proxy_port_ = tunnel_.at.port;
    const bool reached = this->Tls::ClientImpl::create_and_connect_socket(socket, error);
    this->proxy_host_.clear();
    if (!reached) return false;
    const std::string head = send_whole(socket.sock, request()) ? answer_head(socket.sock) : "";
    if (interrupted()) {
      error = httplib::Error::Canceled;
      return false;
    }
    const int status = status_in(head);
    if (status < 200 || status > 299) fail_refused(tunnel_, this->host_, status);
    return true;
  }

  std::string request() const {
    std::string head = fmt::format("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\nUser-Agent: graft/{1}\r\n",
                                   this->host_and_port_, GRAFT_VERSION);
    if (!tunnel_.credentials.empty()) head += "Proxy-Authorization: " + tunnel_.credentials + "\r\n";
    return head + "\r\n";
  }

  static bool send_whole(int socket, std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent < 0 && errno == EINTR && !interrupted()) continue;
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  // Byte by byte, as what follows is not of the proxy. Empty where the connection ends, or nothing comes, before the
  // end.
  static std::string answer_head(int socket) {
    constexpr std::size_t kLongest = 65536;
    std::string head;
    while (!head.ends_with("\r\n\r\n") && !head.ends_with("\n\n")) {
      char byte = 0;
      const ssize_t received = ::recv(socket, &byte, 1, 0);
      if (received < 0 && errno == EINTR && !interrupted()) continue;
      if (received <= 0 || head.size() == kLongest) return "";
      head += byte;
    }
    return head;
  }

  // Of "HTTP/1.1 200 Connection established"; 0: it is not HTTP.
  static int status_in(const std::string& head) {
    const std::size_t space = head.find(' ');
    if (!head.starts_with("HTTP/") || space == std::string::npos) return 0;
    int status = 0;
    std::from_chars(head.data() + space + 1, head.data() + head.size(), status);
    return status;
  }

  const Proxy tunnel_;
};

// Writes the headers of requests, and the credentials among the first one's, which asks for the tunnel: httplib by
// itself (set_proxy_basic_auth) sends them on to the target. Copies share what is left to tell.
class ProxyHeaders {
 public:
  explicit ProxyHeaders(const std::string& credentials) : left_(std::make_shared<std::string>(credentials)) {}

  ssize_t operator()(httplib::Stream& stream, const httplib::Headers& headers) const {
    std::string lines;
    for (const auto& [name, value] : headers) lines += name + ": " + value + "\r\n";
    const std::string told = std::exchange(*left_, "");
    if (!told.empty()) lines += "Proxy-Authorization: " + told + "\r\n";
    return stream.write(lines + "\r\n");
  }

 private:
  std::shared_ptr<std::string> left_;
};

// From 0.16 on (Debian 13 has 0.18) nothing can be derived from the class, and the way that is built into it tells
// refusals and does not wait.
template <typename Tls>
std::unique_ptr<httplib::ClientImpl> client_through(const HostPort& target, const Proxy& proxy) {
  if constexpr (std::is_final_v<Tls>) {
    auto client = std::make_unique<Tls>(target.host, target.port);
    client->set_proxy(proxy.at.host, proxy.at.port);
    client->set_header_writer(ProxyHeaders(proxy.credentials));
    return client;
  } else {
    return std::make_unique<TunnelClient<Tls>>(target, proxy);
  }
}

}  // namespace

std::unique_ptr<httplib::ClientImpl> tunnel_client(const HostPort& target, const Proxy& proxy) {
  return client_through<httplib::SSLClient>(target, proxy);
}

}  // namespace graft
