// HTTP GET with redirects, for the hub client.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>

namespace graft {

struct HttpReply {
  int status = 0;
  std::string body;                            ///< of replies that `receive` did not take
  std::map<std::string, std::string> headers;  ///< lower-case names, of all replies on the way, later ones first in
                                               ///< rank; an x-linked-… header of the first reply stays
};

struct HttpRequest {
  std::string url;                      ///< absolute
  std::string token;                    ///< for the host of `url` only
  std::uint64_t from = 0;               ///< first byte wanted (Range), 0: all
  const char* setting = "HF_ENDPOINT";  ///< where the address came from, for messages
  /// Called once before the body of a 200 or 206 reply; false stops.
  std::function<bool(const HttpReply&)> begin = {};
  /// Pieces of that body; false stops. Without it the body is collected (at most 64 MB).
  std::function<bool(std::string_view)> receive = {};
};

/// Follows up to ten redirects, each through the proxy that the environment names for it (proxy_for). Throws Io when
/// the host cannot be reached, InvalidArgument for a malformed URL, and what proxy_for and fail_refused throw. A
/// connection that breaks off in the middle of a body throws Io as well, after `receive` got the first part.
HttpReply http_get(const HttpRequest& request);

/// Percent-encodes everything but letters, digits and "-._~" (and "/" where `keep_slashes`).
std::string url_encoded(std::string_view text, bool keep_slashes);

}  // namespace graft
