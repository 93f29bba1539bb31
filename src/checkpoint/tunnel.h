// HTTPS through an HTTP proxy.
#pragma once

#include <httplib.h>

#include "checkpoint/proxy.h"

namespace graft {

/// A client of `target` whose TLS goes through the tunnel that `proxy` makes for CONNECT (RFC 9110, section 9.3.6); the
/// proxy's credentials are told to the proxy alone. httplib's own way (set_proxy) sends them on to the target, and that
/// of Debian 12 (0.11) waits for ever where the proxy answers with "Connection: close", and takes every refusal but 407
/// for a tunnel. Requests throw as fail_refused() says; where the proxy cannot be reached, their result has httplib's
/// error.
class TunnelClient final : public httplib::SSLClient {
 public:
  TunnelClient(const HostPort& target, Proxy proxy);

 private:
  bool create_and_connect_socket(Socket& socket, httplib::Error& error) override;

  const Proxy tunnel_;
};

}  // namespace graft
