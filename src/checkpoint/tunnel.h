// HTTPS through an HTTP proxy.
#pragma once

#include <httplib.h>

#include <memory>

#include "checkpoint/proxy.h"

namespace graft {

/// A client of `target` for one request, whose TLS goes through the tunnel that `proxy` makes for CONNECT (RFC 9110,
/// section 9.3.6); the proxy's credentials are told to the proxy alone. Where the proxy cannot be reached, the
/// request's result has httplib's error. One that refuses the tunnel is told in two ways, as httplib's version has it:
/// the request throws as fail_refused() says, or its result is the proxy's answer, which no handler of the request is
/// given.
std::unique_ptr<httplib::ClientImpl> tunnel_client(const HostPort& target, const Proxy& proxy);

}  // namespace graft
