#include "checkpoint/proxy.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "base/error_test_support.h"

namespace graft {
namespace {

using Environment = std::map<std::string, std::string>;

std::optional<Proxy> chosen(const Environment& environment, bool https, const HostPort& target) {
  return proxy_for(https, target, [&](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? std::string() : found->second;
  });
}

// "variable host:port credentials", or "none".
std::string told(const std::optional<Proxy>& proxy) {
  if (!proxy) return "none";
  const std::string credentials = proxy->credentials.empty() ? "" : " " + proxy->credentials;
  return proxy->variable + " " + proxy->at.host + ":" + std::to_string(proxy->at.port) + credentials;
}

TEST(Proxy, TheVariablesAreThoseOfCurl) {
  struct Case {
    Environment environment;
    bool https;
    const char* expected;
  };
  const std::vector<Case> cases = {
      {{}, true, "none"},
      {{{"https_proxy", "http://p:1"}}, true, "https_proxy p:1"},
      {{{"https_proxy", "http://p:1"}}, false, "none"},
      {{{"http_proxy", "http://p:1"}}, true, "none"},
      {{{"http_proxy", "http://p:1"}}, false, "http_proxy p:1"},
      {{{"HTTP_PROXY", "http://p:1"}}, false, "none"},
      {{{"HTTPS_PROXY", "http://p:1"}}, true, "HTTPS_PROXY p:1"},
      {{{"https_proxy", "http://p:1"}, {"HTTPS_PROXY", "http://q:2"}}, true, "https_proxy p:1"},
      {{{"https_proxy", ""}, {"HTTPS_PROXY", "http://q:2"}}, true, "HTTPS_PROXY q:2"},
      {{{"ALL_PROXY", "http://p:1"}}, true, "ALL_PROXY p:1"},
      {{{"ALL_PROXY", "http://p:1"}, {"all_proxy", "http://q:2"}}, false, "all_proxy q:2"},
      {{{"ALL_PROXY", "http://p:1"}, {"https_proxy", "http://q:2"}}, true, "https_proxy q:2"},
      {{{"https_proxy", "http://p:1"}, {"NO_PROXY", "hub.example"}}, true, "none"},
      {{{"https_proxy", "http://p:1"}, {"NO_PROXY", "hub.example"}, {"no_proxy", "other"}}, true, "https_proxy p:1"},
  };
  for (const Case& one : cases)
    EXPECT_EQ(told(chosen(one.environment, one.https, {"hub.example", one.https ? 443 : 80})), one.expected)
        << ::testing::PrintToString(one.environment);
}

TEST(Proxy, ValuesMayLeaveOutSchemePortAndUser) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"p", "https_proxy p:80"},
      {"p:3128", "https_proxy p:3128"},
      {"HTTP://p:3128/", "https_proxy p:3128"},
      {"http://[fd00::1]:3128", "https_proxy fd00::1:3128"},
      {"http://user:pass@p:3128", "https_proxy p:3128 Basic dXNlcjpwYXNz"},
      {"us%65r:pass@p", "https_proxy p:80 Basic dXNlcjpwYXNz"},
      {"http://user@p", "https_proxy p:80 Basic dXNlcjo="},
      {"me:a://b@p", "https_proxy p:80 Basic bWU6YTovL2I="},
      {"http://a:b%40c%@d@p", "https_proxy p:80 Basic YTpiQGMlQGQ="},  // a:b@c%@d
  };
  for (const auto& [value, expected] : cases)
    EXPECT_EQ(told(chosen({{"https_proxy", value}}, true, {"hub.example", 443})), expected) << value;
}

TEST(Proxy, NoProxyNamesHostsDomainsAddressesAndBlocks) {
  struct Case {
    const char* entries;
    HostPort target;
    bool exempted;
  };
  const std::vector<Case> cases = {
      {"*", {"hub.example", 443}, true},
      {"a.example, *", {"hub.example", 443}, true},
      {"hub.example", {"HUB.example.", 443}, true},
      {"hub.example", {"cdn.hub.example", 443}, true},
      {".hub.example.", {"hub.example", 443}, true},
      {"*.hub.example", {"cdn.hub.example", 443}, true},
      {"hub.example", {"myhub.example", 443}, false},
      {"cdn.hub.example", {"hub.example", 443}, false},
      {" a.example,,b.example hub.example", {"hub.example", 443}, true},
      {"hub.example:8080", {"hub.example", 443}, false},
      {"hub.example:443", {"hub.example", 443}, true},
      {"localhost", {"127.0.0.1", 80}, false},
      {"127.0.0.1", {"127.0.0.1", 80}, true},
      {"127.0.0.1:81", {"127.0.0.1", 80}, false},
      {"0.0.1", {"127.0.0.1", 80}, false},
      {"10.0.0.0/8", {"10.200.0.1", 80}, true},
      {"10.0.0.0/9", {"10.200.0.1", 80}, false},
      {"10.200.0.0/31", {"10.200.0.1", 80}, true},
      {"0.0.0.0/0", {"10.200.0.1", 80}, true},
      {"10.0.0.0/8", {"10.example", 80}, false},
      {"10.0.0.0/33,10.0.0.0/,x/8,/8", {"10.0.0.0", 80}, false},
      {"fd00::/8", {"fd12::1", 80}, true},
      {"fd00::/8", {"10.200.0.1", 80}, false},
      {"::1", {"0:0::1", 80}, true},
      {"[::1]:80", {"::1", 80}, true},
      {"[::1]:81", {"::1", 80}, false},
      {"", {"hub.example", 443}, false},
      {".,:,[,hub.example:x", {"hub.example", 443}, false},
  };
  for (const Case& one : cases) {
    const Environment environment = {{"https_proxy", "http://p:1"}, {"no_proxy", one.entries}};
    EXPECT_EQ(!chosen(environment, true, one.target), one.exempted) << one.entries << " for " << one.target.host;
  }
}

TEST(Proxy, OnesThatCannotBeUsedAreToldWithoutTheirPasswords) {
  const auto refused = [](const char* value) {
    return error_of([&] { chosen({{"https_proxy", value}}, true, {"hub.example", 443}); });
  };
  for (const char* scheme : {"socks5://", "https://"}) {
    const std::string said = refused((scheme + std::string("me:secret@p:1")).c_str());
    EXPECT_TRUE(said.starts_with("Unsupported https_proxy: names the proxy " + std::string(scheme) + "***@p:1,"))
        << said;
    EXPECT_NE(said.find("list hub.example in no_proxy"), std::string::npos) << said;
  }
  for (const char* place : {"", ":3128", "p:port", "p:0", "p:65536", "p p", "[::1", "[p]", "[::1]3128"}) {
    const std::string said = refused(("http://me:secret@" + std::string(place)).c_str());
    EXPECT_TRUE(said.starts_with("InvalidArgument https_proxy: 'http://***@" + std::string(place) + "' is not"))
        << said;
  }
  EXPECT_EQ(told(chosen({{"https_proxy", "socks5://p:1"}, {"no_proxy", "*"}}, true, {"hub.example", 443})), "none");
}

}  // namespace
}  // namespace graft
