#include "checkpoint/proxy.h"

#include <arpa/inet.h>
#include <openssl/evp.h>
#include <strings.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstddef>
#include <initializer_list>
#include <utility>

#include "base/error.h"

namespace graft {
namespace {

// As Python's and Go's programs take it; curl alone has 1080.
constexpr int kUsualProxyPort = 80;

struct ProxySetting {
  std::string variable, value;  // both empty: none is set
};

struct IpAddress {
  std::array<unsigned char, 16> bytes{};
  std::size_t bits = 0;  // 32 or 128; 0: not an address
};

IpAddress ip_address(const std::string& text) {
  IpAddress address;
  if (::inet_pton(AF_INET, text.c_str(), address.bytes.data()) == 1) {
    address.bits = 32;
  } else if (::inet_pton(AF_INET6, text.c_str(), address.bytes.data()) == 1) {
    address.bits = 128;
  }
  return address;
}

bool begin_alike(const IpAddress& one, const IpAddress& other, std::size_t bits) {
  if (one.bits == 0 || one.bits != other.bits) return false;
  for (std::size_t bit = 0; bit < bits; ++bit) {
    const unsigned mask = 0x80u >> (bit % 8);
    if ((one.bytes[bit / 8] & mask) != (other.bytes[bit / 8] & mask)) return false;
  }
  return true;
}

bool is_host_name(const std::string& text) {
  constexpr std::string_view kNever = "/?#@:[]\\";
  return !text.empty() && std::none_of(text.begin(), text.end(), [&](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte <= 0x20 || byte == 0x7F || kNever.find(c) != std::string_view::npos;
  });
}

// The host itself or one below it.
bool is_of_domain(std::string_view host, std::string_view domain) {
  if (host.ends_with('.')) host.remove_suffix(1);
  if (domain.ends_with('.')) domain.remove_suffix(1);
  if (domain.empty() || host.size() < domain.size()) return false;
  const std::size_t before = host.size() - domain.size();
  const bool same = std::equal(domain.begin(), domain.end(), host.begin() + static_cast<std::ptrdiff_t>(before),
                               [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); });
  return same && (before == 0 || host[before - 1] == '.');
}

bool is_in_block(const std::string& block, const IpAddress& address) {
  const std::size_t slash = block.find('/');
  const IpAddress first = ip_address(block.substr(0, slash));
  const char* const end = block.data() + block.size();
  std::size_t bits = 0;
  const auto [read, error] = std::from_chars(block.data() + slash + 1, end, bits);
  return error == std::errc() && read == end && bits <= first.bits && begin_alike(first, address, bits);
}

// What nobody can read is passed over, as every program does that shares the variable.
bool is_exempted_by(std::string entry, const HostPort& target) {
  if (entry == "*") return true;
  const IpAddress address = ip_address(target.host);
  if (entry.find('/') != std::string::npos) return is_in_block(entry, address);
  if (entry.starts_with("*.")) entry.erase(0, 1);
  if (entry.starts_with('.')) entry.erase(0, 1);
  // An IPv6 address without brackets has colons of its own.
  const bool bare = ip_address(entry).bits == 128;
  const std::optional<HostPort> place = bare ? HostPort{entry, 0} : host_port(entry, 0);
  if (!place || (place->port != 0 && place->port != target.port)) return false;
  const IpAddress own = ip_address(place->host);
  if (own.bits != 0) return begin_alike(own, address, own.bits);
  return address.bits == 0 && is_of_domain(target.host, place->host);
}

bool is_exempted(const std::string& entries, const HostPort& target) {
  constexpr std::string_view kBetween = ", \t\r\n";
  std::size_t begin = entries.find_first_not_of(kBetween);
  while (begin != std::string::npos) {
    const std::size_t end = std::min(entries.find_first_of(kBetween, begin), entries.size());
    if (is_exempted_by(entries.substr(begin, end - begin), target)) return true;
    begin = entries.find_first_not_of(kBetween, end);
  }
  return false;
}

std::string percent_decoded(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned byte = 0;
    if (text[i] == '%' && i + 2 < text.size()) {
      const char* const end = text.data() + i + 3;
      const auto [read, error] = std::from_chars(text.data() + i + 1, end, byte, 16);
      if (error == std::errc() && read == end) {
        plain += static_cast<char>(byte);
        i += 2;
        continue;
      }
    }
    plain += text[i];
  }
  return plain;
}

// RFC 7617.
std::string basic_credentials(std::string_view user_and_password) {
  const std::size_t colon = std::min(user_and_password.find(':'), user_and_password.size());
  const std::string_view password = user_and_password.substr(std::min(colon + 1, user_and_password.size()));
  const std::string plain = percent_decoded(user_and_password.substr(0, colon)) + ":" + percent_decoded(password);
  std::string encoded(4 * ((plain.size() + 2) / 3) + 1, '\0');  // with the null behind it
  const int length =
      EVP_EncodeBlock(reinterpret_cast<unsigned char*>(encoded.data()),
                      reinterpret_cast<const unsigned char*>(plain.data()), static_cast<int>(plain.size()));
  encoded.resize(static_cast<std::size_t>(length));
  return "Basic " + encoded;
}

ProxySetting first_set(std::initializer_list<const char*> variables, const EnvironmentLookup& lookup) {
  for (const char* variable : variables) {
    std::string value = lookup(variable);
    if (!value.empty()) return {variable, std::move(value)};
  }
  return {};
}

Proxy proxy_of(const ProxySetting& setting, const std::string& target) {
  const std::string& value = setting.value;
  // A "://" behind another colon is of a password.
  const std::size_t mark = value.find("://"), at = value.rfind('@');
  const bool has_scheme = mark != std::string::npos && mark == value.find(':');
  const std::string scheme = has_scheme ? value.substr(0, mark) : "http";
  const std::size_t begin = has_scheme ? mark + 3 : 0;
  const bool has_user = at != std::string::npos && at >= begin;
  const std::size_t host = has_user ? at + 1 : begin;
  Proxy proxy;
  proxy.variable = setting.variable;
  proxy.shown = value.substr(0, begin) + (has_user ? "***@" : "") + value.substr(host);
  if (::strcasecmp(scheme.c_str(), "http") != 0) {
    fail(Category::Unsupported, setting.variable,
         "names the proxy {}, but graft knows http:// proxies only (for https addresses, too); name such a one, or "
         "list {} in no_proxy if it can be reached without",
         proxy.shown, target);
  }
  const std::size_t end = std::min(value.find_first_of("/?#", host), value.size());
  const std::optional<HostPort> place = host_port(std::string_view(value).substr(host, end - host), kUsualProxyPort);
  if (!place) {
    fail(Category::InvalidArgument, setting.variable,
         "'{}' is not the address of a proxy; write it as http://host:port or http://user:password@host:port, with %XX "
         "for special characters of user and password",
         proxy.shown);
  }
  proxy.at = *place;
  if (has_user) proxy.credentials = basic_credentials(std::string_view(value).substr(begin, at - begin));
  return proxy;
}

}  // namespace

std::optional<HostPort> host_port(std::string_view text, int default_port) {
  HostPort place{"", default_port};
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    place.host = text.substr(1, end - 1);
    port = text.substr(end + 1);
    if (ip_address(place.host).bits != 128) return std::nullopt;
  } else {
    const std::size_t end = std::min(text.find(':'), text.size());
    place.host = text.substr(0, end);
    port = text.substr(end);
    if (!is_host_name(place.host)) return std::nullopt;
  }
  if (port.empty() || port == ":") return place;
  const char* const end = port.data() + port.size();
  const auto [read, error] = std::from_chars(port.data() + 1, end, place.port);
  if (port.front() != ':' || error != std::errc() || read != end) return std::nullopt;
  if (place.port < 1 || place.port > 65535) return std::nullopt;
  return place;
}

std::optional<Proxy> proxy_for(bool https, const HostPort& target, const EnvironmentLookup& lookup) {
  const ProxySetting setting = https ? first_set({"https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}, lookup)
                                     : first_set({"http_proxy", "all_proxy", "ALL_PROXY"}, lookup);
  if (setting.value.empty()) return std::nullopt;
  if (is_exempted(first_set({"no_proxy", "NO_PROXY"}, lookup).value, target)) return std::nullopt;
  return proxy_of(setting, target.host);
}

void fail_refused(const Proxy& proxy, const std::string& host, int status) {
  if (status == 0) {
    fail(Category::Io, proxy.variable,
         "the proxy {} does not answer as an HTTP proxy does; check the variable's host and port", proxy.shown);
  }
  if (status == 407 && proxy.credentials.empty()) {
    fail(Category::InvalidArgument, proxy.variable,
         "the proxy {} asks for a user and a password (407); write them into the variable: "
         "http://user:password@host:port, with %XX for special characters",
         proxy.shown);
  }
  if (status == 407) {
    fail(Category::InvalidArgument, proxy.variable,
         "the proxy {} does not accept the user and the password in the variable (407); check them (%XX stands for "
         "special characters), and whether it takes Basic authentication, the only kind that graft has",
         proxy.shown);
  }
  fail(status >= 500 ? Category::Io : Category::InvalidArgument, proxy.variable,
       "the proxy {} does not connect to {} ({}); ask whoever runs it to allow that, or list {} in no_proxy if it can "
       "be reached without",
       proxy.shown, host, status, host);
}

}  // namespace graft
