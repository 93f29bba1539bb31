// Requests through proxies; without one, the tests of the hub make them.
#include "checkpoint/http_get.h"

#include <gmock/gmock.h>
#include <httplib.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>

#include "base/environment_variable_test.h"
#include "base/error_test_support.h"
#include "checkpoint/fake_hub_test.h"
#include "checkpoint/fake_proxy_test.h"
#include "checkpoint/fixture_test.h"

namespace graft {
namespace {

using testing::expect_error;
using testing::FakeHub;
using testing::FakeProxy;
using testing::Folder;
using ::testing::StartsWith;

using PrivateKey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;

// Signed by its own key.
Certificate certificate_of(const char* host, EVP_PKEY* key) {
  Certificate made(X509_new(), X509_free);
  X509_set_version(made.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(made.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(made.get()), -3600);
  X509_gmtime_adj(X509_getm_notAfter(made.get()), 3600);
  X509_NAME* const name = X509_get_subject_name(made.get());
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>(host), -1, -1, 0);
  X509_set_issuer_name(made.get(), name);
  X509_set_pubkey(made.get(), key);
  X509_sign(made.get(), key, EVP_sha256());
  return made;
}

// A server over TLS by the name of hub.invalid, which says to whoever asks for /headers what headers it was sent.
class TlsHub {
 public:
  TlsHub() {
    server_.Get("/headers", [](const httplib::Request& request, httplib::Response& response) {
      std::string all;
      for (const auto& [name, value] : request.headers) all += name + ": " + value + "\n";
      response.set_content(all, "text/plain");
    });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
  }
  ~TlsHub() {
    server_.stop();
    thread_.join();
  }

  int port() const { return port_; }
  void write_certificate(const std::filesystem::path& place) const {
    std::FILE* const file = std::fopen(place.c_str(), "w");
    ASSERT_NE(file, nullptr);
    PEM_write_X509(file, certificate_.get());
    std::fclose(file);
  }

 private:
  const PrivateKey key_{EVP_EC_gen("P-256"), EVP_PKEY_free};
  const Certificate certificate_ = certificate_of("hub.invalid", key_.get());
  httplib::SSLServer server_{certificate_.get(), key_.get()};
  int port_ = 0;
  std::thread thread_;
};

// Nobody but the proxy knows hub.invalid.
TEST(HttpGet, GoesThroughTheProxyAndARedirectElsewhereAsTheEnvironmentHasItThere) {
  const Folder folder;
  FakeHub hub(std::string(50000, 'w'));
  const FakeProxy proxy(hub.port());
  const ProxyVariables variables;
  variables.set("http_proxy", "http://user:pass@" + proxy.place());
  variables.set("no_proxy", "localhost");
  HubOptions options = hub.options(folder.path());
  options.endpoint = "http://hub.invalid";
  EXPECT_EQ(read_file(pull("org/model", options) / "model.safetensors"), hub.weights_);
  EXPECT_EQ(hub.token_, "Bearer secret");
  EXPECT_EQ(hub.requests_, 1);
  const auto heads = proxy.heads();
  ASSERT_EQ(heads.size(), 3u) << "the list, config.json, and where the weights are";
  for (const auto& head : heads) {
    EXPECT_TRUE(head.starts_with("GET http://hub.invalid")) << head;
    EXPECT_NE(head.find("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"), std::string::npos) << head;
  }
}

TEST(HttpGet, HttpsGoesThroughATunnelAndTheProxyAloneLearnsItsCredentials) {
  const Folder folder;
  const TlsHub hub;
  const FakeProxy proxy(hub.port());
  const ProxyVariables variables;
  const EnvironmentVariable trusted("SSL_CERT_FILE");
  variables.set("HTTPS_PROXY", "http://user:pass@" + proxy.place());
  const auto get = [] { return http_get({.url = "https://hub.invalid/headers", .token = "secret"}); };
  trusted.set(nullptr);
  expect_error(Category::Io, "SSL_CERT_FILE", get);
  hub.write_certificate(folder.path() / "hub.pem");
  trusted.set((folder.path() / "hub.pem").c_str());
  const HttpReply reply = get();
  EXPECT_EQ(reply.status, 200);
  EXPECT_NE(reply.body.find("Authorization: Bearer secret\n"), std::string::npos) << reply.body;
  EXPECT_NE(reply.body.find("Host: hub.invalid\n"), std::string::npos) << reply.body;
  EXPECT_EQ(reply.body.find("Basic"), std::string::npos) << reply.body;
  const std::string head = proxy.heads().back();
  EXPECT_TRUE(head.starts_with("CONNECT hub.invalid:443 HTTP/1.1\r\n")) << head;
  EXPECT_NE(head.find("\r\nHost: hub.invalid"), std::string::npos) << head;
  EXPECT_NE(head.find("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"), std::string::npos) << head;
  EXPECT_EQ(head.find("secret"), std::string::npos) << head;
}

TEST(HttpGet, AProxyThatRefusesIsToldByItsVariable) {
  const ProxyVariables variables;
  const auto said = [&](const char* url, const std::string& proxy) {
    variables.set("all_proxy", proxy);
    return error_of([&] { http_get({.url = url, .token = ""}); });
  };
  // httplib's own tunnel waits for ever over "Connection: close".
  const FakeProxy asks(1, "HTTP/1.1 407 Authenticate\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
  for (const char* url : {"http://hub.invalid/", "https://hub.invalid/"}) {
    EXPECT_THAT(said(url, asks.place()),
                StartsWith("InvalidArgument all_proxy: the proxy " + asks.place() + " asks for a user"));
    EXPECT_THAT(said(url, "http://me:wrong@" + asks.place()),
                StartsWith("InvalidArgument all_proxy: the proxy http://***@" + asks.place() + " does not accept"));
    EXPECT_THAT(said(url, "127.0.0.1:1"), StartsWith("Io all_proxy: the proxy 127.0.0.1:1 cannot be reached"));
  }
  const FakeProxy forbids(1, "HTTP/1.0 403 Filtered\r\n\r\n"), breaks(1, "HTTP/1.1 503 Down\r\n\r\n"),
      talks(1, "220 mail\r\n\r\n");
  const char* const hub = "https://hub.invalid/";
  EXPECT_THAT(said(hub, forbids.place()), StartsWith("InvalidArgument all_proxy: the proxy " + forbids.place() +
                                                     " does not connect to hub.invalid (403)"));
  EXPECT_THAT(said(hub, breaks.place()),
              StartsWith("Io all_proxy: the proxy " + breaks.place() + " does not connect to hub.invalid (503)"));
  const std::string no_proxy = std::is_final_v<httplib::SSLClient>
                                   ? "Io https://hub.invalid: cannot be reached through the proxy of all_proxy"
                                   : "Io all_proxy: the proxy " + talks.place() + " does not answer as an HTTP proxy";
  EXPECT_THAT(said(hub, talks.place()), StartsWith(no_proxy)) << "newer versions of httplib tell no more";
}

TEST(HttpGet, AnAddressWithAPasswordIsRefusedWithoutIt) {
  const std::string said = error_of([] { http_get({.url = "https://me:secret@hub.invalid/list", .token = ""}); });
  EXPECT_THAT(said, StartsWith("InvalidArgument https://***@hub.invalid: is not an address")) << said;
}

}  // namespace
}  // namespace graft
