// A hub for tests, on this machine.
#pragma once

#include <httplib.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "base/environment_variable_test.h"
#include "base/hash.h"
#include "base/progress.h"
#include "checkpoint/hub.h"

namespace graft::testing {

/// A hub with one repository, org/model, whose weights lie behind a redirect to another "host".
class FakeHub {
 public:
  explicit FakeHub(std::string weights) : weights_(std::move(weights)), promised_(sha256(weights_)) {
    server_.Get("/api/models/org/model/revision/main", [this](const httplib::Request& request,
                                                              httplib::Response& response) {
      {
        const std::lock_guard lock(mutex_);
        token_ = request.get_header_value("Authorization");
      }
      const std::string other = other_weights_ ? R"({"rfilename":"pytorch_model.bin","blobId":"def","size":1},)" : "";
      const std::string listing = R"({"sha":"c0ffee","siblings":[{"rfilename":"config.json","blobId":"abc","size":)" +
                                  std::to_string(config_.size()) + "}," + other +
                                  R"({"rfilename":"README.md","blobId":"123","size":1},
        {"rfilename":")" + weight_name_ +
                                  R"(","size":)" + std::to_string(weights_.size()) + R"(,"lfs":{"sha256":")" +
                                  promised_ + R"("}})" + gguf_siblings() + "]}";
      response.set_content(listing, "application/json");
    });
    server_.Get("/api/models/org/private/revision/main", [](const auto&, auto& response) { response.status = 401; });
    server_.Get("/org/model/resolve/c0ffee/config.json",
                [this](const auto&, auto& response) { response.set_content(config_, "text/plain"); });
    server_.Get("/org/model/resolve/c0ffee/model.safetensors", [this](const auto&, auto& response) {
      response.set_header("X-Linked-Etag", "\"" + promised_ + "\"");
      response.set_redirect("http://localhost:" + std::to_string(port_) + "/cdn?signature=a%2Bb");
    });
    server_.Get(R"(/org/model/resolve/c0ffee/(.+\.(gguf|model)))",
                [this](const httplib::Request& request, auto& response) {
                  const auto found = gguf_.find(request.matches[1].str());
                  if (found == gguf_.end()) {
                    response.status = 404;
                  } else {
                    response.set_content(found->second, "application/octet-stream");
                  }
                });
    server_.Get("/cdn", [this](const httplib::Request& request, httplib::Response& response) {
      ++requests_;
      leaked_ = leaked_ || request.has_header("Authorization");
      {
        const std::lock_guard lock(mutex_);
        ranges_ += request.get_header_value("Range") + ";";
      }
      response.set_content_provider(weights_.size(), "application/octet-stream",
                                    [this](std::size_t offset, std::size_t length, httplib::DataSink& sink) {
                                      const std::size_t end = offset + std::min(length, std::size_t{1000});
                                      if (breaks_ > 0 && end > weights_.size() / 2) {
                                        --breaks_;
                                        return false;
                                      }
                                      return sink.write(weights_.data() + offset, end - offset);
                                    });
    });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
    Progress::set_quiet(true);
  }
  ~FakeHub() {
    server_.stop();
    thread_.join();
  }

  FakeHub(const FakeHub&) = delete;

  int port() const { return port_; }
  std::string endpoint() const { return "http://127.0.0.1:" + std::to_string(port_); }

  HubOptions options(const std::filesystem::path& cache) const {
    HubOptions options;
    options.endpoint = endpoint();
    options.cache = cache;
    options.token = "secret";
    return options;
  }

  std::string weights_;
  std::string promised_;
  std::string config_ = "{}";  // to be set before anything is asked for
  std::string weight_name_ = "model.safetensors";
  bool other_weights_ = true;                // PyTorch's beside them
  std::map<std::string, std::string> gguf_;  // further files by name; to be set before anything is asked for
  std::string token_;
  std::string ranges_;
  std::atomic<int> requests_ = 0;
  std::atomic<int> breaks_ = 0;
  std::atomic<bool> leaked_ = false;

 private:
  std::string gguf_siblings() const {
    std::string siblings;
    for (const auto& [name, content] : gguf_)
      siblings += R"(,{"rfilename":")" + name + R"(","blobId":")" + sha256(content).substr(0, 40) + R"("})";
    return siblings;
  }

  const ProxyVariables no_proxy_;
  httplib::Server server_;
  std::mutex mutex_;  // of token_ and ranges_
  int port_ = 0;
  std::thread thread_;
};

}  // namespace graft::testing
