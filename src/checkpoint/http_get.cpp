#include "checkpoint/http_get.h"

#include <httplib.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/interrupt.h"
#include "checkpoint/proxy.h"
#include "checkpoint/tunnel.h"

namespace graft {
namespace {

constexpr int kMostRedirects = 10;
constexpr int kConnectSeconds = 20, kReadSeconds = 60;
constexpr std::size_t kLargestBody = 64'000'000;

struct Url {
  std::string origin;  // scheme://host:port
  std::string path;    // with the query
  bool https = false;
  HostPort to;
};

// Without user and password, which no address has that graft connects to.
std::string shown_origin(const std::string& origin) {
  const std::size_t at = origin.rfind('@');
  return at == std::string::npos ? origin : origin.substr(0, origin.find("://") + 3) + "***" + origin.substr(at);
}

Url split(const std::string& url, const char* setting) {
  const std::size_t scheme = url.find("://");
  if (scheme == std::string::npos || (!url.starts_with("http://") && !url.starts_with("https://"))) {
    fail(Category::InvalidArgument, url, "is not an http or https address; check {}", setting);
  }
  const std::size_t end = std::min(url.find_first_of("/?", scheme + 3), url.size());
  Url parts;
  parts.origin = url.substr(0, end);
  parts.path = url.substr(end);
  if (!parts.path.starts_with('/')) parts.path.insert(0, "/");
  parts.https = url.starts_with("https:");
  const auto to = host_port(std::string_view(parts.origin).substr(scheme + 3), parts.https ? 443 : 80);
  if (!to)
    fail(Category::InvalidArgument, shown_origin(parts.origin), "is not an address graft can connect to; check {}",
         setting);
  parts.to = *to;
  return parts;
}

std::string variable_or_empty(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

void take_headers(const httplib::Response& response, HttpReply& reply) {
  for (const auto& [key, value] : response.headers) {
    const std::string known = lower(key);
    if (known.starts_with("x-linked-") && reply.headers.contains(known)) continue;
    reply.headers[known] = value;
  }
}

std::unique_ptr<httplib::ClientImpl> client_for(const Url& url, const std::optional<Proxy>& proxy) {
  std::unique_ptr<httplib::ClientImpl> client;
  if (!url.https) {
    client = std::make_unique<httplib::ClientImpl>(url.to.host, url.to.port);
    if (proxy) client->set_proxy(proxy->at.host, proxy->at.port);
  } else if (proxy) {
    client = tunnel_client(url.to, *proxy);
  } else {
    client = std::make_unique<httplib::SSLClient>(url.to.host, url.to.port);
  }
  client->set_connection_timeout(kConnectSeconds);
  client->set_read_timeout(kReadSeconds);
  client->set_url_encode(false);
  return client;
}

httplib::Headers headers_for(const Url& url, const std::string& token, std::uint64_t from,
                             const std::optional<Proxy>& proxy) {
  httplib::Headers headers = {{"User-Agent", "graft/" GRAFT_VERSION}};
  if (!token.empty()) headers.emplace("Authorization", "Bearer " + token);
  if (from > 0) headers.emplace("Range", fmt::format("bytes={}-", from));
  // Of https it is the tunnel that tells them.
  if (proxy && !url.https && !proxy->credentials.empty()) headers.emplace("Proxy-Authorization", proxy->credentials);
  return headers;
}

[[noreturn]] void fail_unanswered(const Url& url, const char* setting, const std::optional<Proxy>& proxy, bool began,
                                  httplib::Error error) {
  const std::string why = httplib::to_string(error);
  if (proxy && (error == httplib::Error::Connection || error == httplib::Error::ConnectionTimeout)) {
    fail(Category::Io, proxy->variable,
         "the proxy {} cannot be reached ({}); check the variable and the network, list {} in no_proxy if it can be "
         "reached without, or set HF_HUB_OFFLINE=1 to use the cache",
         proxy->shown, why, url.to.host);
  }
  if (error == httplib::Error::SSLServerVerification) {
    fail(Category::Io, url.origin,
         "shows a certificate that this machine does not trust ({}); where a proxy reads along, name the file of its "
         "certificate in SSL_CERT_FILE, else check {}",
         why, setting);
  }
  fail(Category::Io, url.origin, "{}{} ({}); check the network and {}, or set HF_HUB_OFFLINE=1 to use the cache",
       began ? "broke off" : "cannot be reached", proxy ? " through the proxy of " + proxy->variable : "", why,
       setting);
}

HttpReply get_once(const HttpRequest& request, const Url& url, const std::string& token, HttpReply reply) {
  const std::optional<Proxy> proxy = proxy_for(url.https, url.to, variable_or_empty);
  const auto client = client_for(url, proxy);
  reply.body.clear();
  bool began = false, streaming = false;
  const auto begin = [&](const httplib::Response& response) {
    began = true;
    reply.status = response.status;
    take_headers(response, reply);
    streaming = (response.status == 200 || response.status == 206) && request.receive != nullptr;
    return !streaming || !request.begin || request.begin(reply);
  };
  const auto receive = [&](const char* data, std::size_t size) {
    if (interrupted()) return false;
    if (streaming) return request.receive({data, size});
    if (reply.body.size() + size > kLargestBody) return false;
    reply.body.append(data, size);
    return true;
  };
  const auto headers = headers_for(url, token, request.from, proxy);
  const httplib::Result result = client->Get(url.path, headers, begin, receive);
  if (interrupted()) fail(Category::Cancelled, url.origin, "interrupted; the same command goes on where it stopped");
  if (!result) fail_unanswered(url, request.setting, proxy, began, result.error());
  const bool no_tunnel = url.https && !began && result->status > 299;
  if (proxy && (no_tunnel || (!url.https && reply.status == 407))) fail_refused(*proxy, url.to.host, result->status);
  return reply;
}

}  // namespace

HttpReply http_get(const HttpRequest& request) {
  Url url = split(request.url, request.setting);
  const std::string own_origin = url.origin;
  HttpReply reply;
  for (int i = 0; i <= kMostRedirects; ++i) {
    reply = get_once(request, url, url.origin == own_origin ? request.token : "", std::move(reply));
    if (reply.status < 300 || reply.status >= 400 || !reply.headers.contains("location")) return reply;
    const std::string& next = reply.headers["location"];
    if (next.starts_with("/") && !next.starts_with("//")) {
      url.path = next;
      continue;
    }
    const Url target = split(next, request.setting);
    if (url.origin.starts_with("https:") && !target.origin.starts_with("https:")) {
      fail(Category::Io, request.url, "redirects from https to an unprotected address");
    }
    url = target;
  }
  fail(Category::Io, request.url, "redirects more than {} times", kMostRedirects);
}

std::string url_encoded(std::string_view text, bool keep_slashes) {
  std::string out;
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool plain = std::isalnum(byte) != 0 || std::string_view("-._~").find(c) != std::string_view::npos;
    if (plain || (c == '/' && keep_slashes)) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", byte);
    }
  }
  return out;
}

}  // namespace graft
