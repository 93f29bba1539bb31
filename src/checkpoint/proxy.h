// Which proxy the environment names for an address, as curl's manual has it (section ENVIRONMENT).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace graft {

/// Where a connection goes.
struct HostPort {
  std::string host;  ///< a name or an address; IPv6 without brackets
  int port = 0;      ///< 1 to 65535
};

/// Reads "host", "host:port", "[IPv6]" and "[IPv6]:port"; nothing of anything else.
std::optional<HostPort> host_port(std::string_view text, int default_port);

/// An HTTP proxy.
struct Proxy {
  HostPort at;
  std::string credentials;  ///< the value of Proxy-Authorization ("Basic …"); empty: none
  std::string variable;     ///< whose value names it, for messages, e.g. "https_proxy"
  std::string shown;        ///< that value without user and password, for messages
};

/// The value of a variable of the environment; empty: it is not set, or empty.
using EnvironmentLookup = std::function<std::string(const char* name)>;

/// The proxy for requests to `target`; nothing: none. Of https it is https_proxy, HTTPS_PROXY, all_proxy or ALL_PROXY,
/// else http_proxy, all_proxy or ALL_PROXY: the first that is set. HTTP_PROXY is not read, which a web server sets from
/// a header of whoever asks. A value is [http://][user:password@]host[:port], user and password with %XX for special
/// characters, the port 80 where there is none. No proxy where no_proxy, else NO_PROXY, has `target` among its
/// entries, between commas or spaces: "*", a domain with all below it ("example.com", ".example.com",
/// "*.example.com"), an address, or a block of addresses ("10.0.0.0/8", "fd00::/8"); with ":port" of that port only.
/// Names are not resolved. Throws Unsupported for a proxy that is not http://, InvalidArgument for a malformed value.
std::optional<Proxy> proxy_for(bool https, const HostPort& target, const EnvironmentLookup& lookup);

/// For an answer by which `proxy` itself refuses to connect to `host`: throws InvalidArgument (407: no user and
/// password, or wrong ones; another that forbids), Io (500 and above; 0: not an answer of HTTP).
[[noreturn]] void fail_refused(const Proxy& proxy, const std::string& host, int status);

}  // namespace graft
