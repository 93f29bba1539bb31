#include "checkpoint/http_get.h"

#include <httplib.h>

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/interrupt.h"

namespace graft {
namespace {

constexpr int kMostRedirects = 10;
constexpr int kConnectSeconds = 20, kReadSeconds = 60;
constexpr std::size_t kLargestBody = 64'000'000;

struct Url {
  std::string origin;  // scheme://host:port
  std::string path;    // with the query
};

Url split(const std::string& url, const char* setting) {
  const std::size_t scheme = url.find("://");
  if (scheme == std::string::npos || (!url.starts_with("http://") && !url.starts_with("https://"))) {
    fail(Category::InvalidArgument, url, "is not an http or https address; check {}", setting);
  }
  const std::size_t slash = url.find_first_of("/?", scheme + 3);
  if (slash == std::string::npos) return {url, "/"};
  return {url.substr(0, slash), url[slash] == '/' ? url.substr(slash) : "/" + url.substr(slash)};
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

HttpReply get_once(const HttpRequest& request, const Url& url, const std::string& token, HttpReply reply) {
  httplib::Client client(url.origin);
  if (!client.is_valid()) fail(Category::InvalidArgument, url.origin, "is not an address graft can connect to");
  client.set_connection_timeout(kConnectSeconds);
  client.set_read_timeout(kReadSeconds);
  client.set_url_encode(false);
  httplib::Headers headers = {{"User-Agent", "graft/" GRAFT_VERSION}};
  if (!token.empty()) headers.emplace("Authorization", "Bearer " + token);
  if (request.from > 0) headers.emplace("Range", fmt::format("bytes={}-", request.from));
  reply.body.clear();
  bool streaming = false;
  const auto begin = [&](const httplib::Response& response) {
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
  const httplib::Result result = client.Get(url.path, headers, begin, receive);
  if (interrupted()) fail(Category::Cancelled, url.origin, "interrupted; the same command goes on where it stopped");
  if (!result) {
    fail(Category::Io, url.origin, "{} ({}); check the network and {}, or set HF_HUB_OFFLINE=1 to use the cache",
         reply.status == 0 ? "cannot be reached" : "broke off", httplib::to_string(result.error()), request.setting);
  }
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
