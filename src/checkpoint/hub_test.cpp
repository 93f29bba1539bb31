#include "checkpoint/hub.h"

#include <httplib.h>

#include <atomic>
#include <filesystem>
#include <future>
#include <map>
#include <mutex>
#include <thread>

#include "base/hash.h"
#include "base/progress.h"
#include "base/variable_test_support.h"
#include "checkpoint/fixture_test.h"
#include "checkpoint/writer.h"

namespace graft {
namespace {

using testing::expect_error;
using testing::Folder;
using testing::Variable;

// A hub with one repository, whose weights lie behind a redirect to another "host".
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
      const std::string listing =
          R"({"sha":"c0ffee","siblings":[{"rfilename":"config.json","blobId":"abc","size":2},)" + other +
          R"({"rfilename":"README.md","blobId":"123","size":1},
        {"rfilename":")" +
          weight_name_ + R"(","size":)" + std::to_string(weights_.size()) + R"(,"lfs":{"sha256":")" + promised_ +
          R"("}})" + gguf_siblings() + "]}";
      response.set_content(listing, "application/json");
    });
    server_.Get("/api/models/org/private/revision/main", [](const auto&, auto& response) { response.status = 401; });
    server_.Get("/org/model/resolve/c0ffee/config.json",
                [](const auto&, auto& response) { response.set_content("{}", "text/plain"); });
    server_.Get("/org/model/resolve/c0ffee/model.safetensors", [this](const auto&, auto& response) {
      response.set_header("X-Linked-Etag", "\"" + promised_ + "\"");
      response.set_redirect("http://localhost:" + std::to_string(port_) + "/cdn?signature=a%2Bb");
    });
    server_.Get(R"(/org/model/resolve/c0ffee/(.+\.gguf))", [this](const httplib::Request& request, auto& response) {
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

  HubOptions options(const std::filesystem::path& cache) const {
    HubOptions options;
    options.endpoint = "http://127.0.0.1:" + std::to_string(port_);
    options.cache = cache;
    options.token = "secret";
    return options;
  }

  std::string weights_;
  std::string promised_;
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

  httplib::Server server_;
  std::mutex mutex_;  // of token_ and ranges_
  int port_ = 0;
  std::thread thread_;
};

TEST(Hub, FetchesWhatAModelNeedsIntoTheUsualLayout) {
  const Folder folder;
  FakeHub hub(std::string(50000, 'w'));
  const auto snapshot = pull("org/model", hub.options(folder.path()));
  EXPECT_EQ(snapshot, folder.path() / "models--org--model/snapshots/c0ffee");
  EXPECT_EQ(read_file(snapshot / "config.json"), "{}");
  EXPECT_EQ(read_file(snapshot / "model.safetensors"), hub.weights_);
  EXPECT_TRUE(std::filesystem::is_symlink(snapshot / "model.safetensors"));
  EXPECT_EQ(read_file(folder.path() / "models--org--model/blobs" / hub.promised_), hub.weights_);
  EXPECT_EQ(read_file(folder.path() / "models--org--model/refs/main"), "c0ffee");
  EXPECT_FALSE(std::filesystem::exists(snapshot / "pytorch_model.bin"));
  EXPECT_FALSE(std::filesystem::exists(snapshot / "README.md"));
  EXPECT_EQ(hub.token_, "Bearer secret");
  EXPECT_FALSE(hub.leaked_) << "the token went to another host";
  pull("org/model", hub.options(folder.path()));
  EXPECT_EQ(hub.requests_, 1) << "a file that is there was fetched again";
}

TEST(Hub, GoesOnAfterABrokenConnection) {
  const Folder folder;
  FakeHub hub(std::string(50000, 'a') + std::string(50000, 'b'));
  hub.breaks_ = 2;
  const auto snapshot = pull("org/model", hub.options(folder.path()));
  EXPECT_EQ(read_file(snapshot / "model.safetensors"), hub.weights_);
  EXPECT_EQ(hub.requests_, 3);
  EXPECT_NE(hub.ranges_.find("bytes="), std::string::npos) << hub.ranges_;
}

TEST(Hub, GoesOnWithThePartOfAnEarlierRun) {
  const Folder folder;
  FakeHub hub(std::string(50000, 'a') + std::string(50000, 'b'));
  write_file(folder.path() / "models--org--model/blobs" / (hub.promised_ + ".incomplete"),
             hub.weights_.substr(0, 70000));
  const auto snapshot = pull("org/model", hub.options(folder.path()));
  EXPECT_EQ(read_file(snapshot / "model.safetensors"), hub.weights_);
  EXPECT_EQ(hub.ranges_, "bytes=70000-;");
}

// A lock of a file is one of its descriptor, so that two threads meet as two processes do.
TEST(Hub, WhoWantsTheSameMeanwhileWaits) {
  const Folder folder;
  FakeHub hub(std::string(2'000'000, 'w'));
  const auto pulled = [&] { return read_file(pull("org/model", hub.options(folder.path())) / "model.safetensors"); };
  auto first = std::async(std::launch::async, pulled), second = std::async(std::launch::async, pulled);
  EXPECT_EQ(first.get(), hub.weights_);
  EXPECT_EQ(second.get(), hub.weights_);
  EXPECT_EQ(hub.requests_, 1);
  for (const auto& entry : std::filesystem::directory_iterator(folder.path() / "models--org--model/blobs"))
    EXPECT_NE(entry.path().extension(), ".incomplete") << entry.path();
}

TEST(Hub, RefusesAWrongHashAndKeepsNothingOfIt) {
  const Folder folder;
  FakeHub hub(std::string(5000, 'w'));
  hub.promised_ = std::string(64, '0');
  expect_error(Category::Corruption, "SHA-256", [&] { pull("org/model", hub.options(folder.path())); });
  const auto root = folder.path() / "models--org--model";
  EXPECT_FALSE(std::filesystem::exists(root / "snapshots/c0ffee/model.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(root / "refs/main"));
  EXPECT_FALSE(std::filesystem::exists(root / "blobs" / (hub.promised_ + ".incomplete")));
}

TEST(Hub, FetchesOnlyTheFilesThatMatch) {
  const Folder folder;
  FakeHub hub("w");
  HubOptions options = hub.options(folder.path());
  options.files = {"conf*"};
  const auto file = pull("org/model", options);
  EXPECT_EQ(file, folder.path() / "models--org--model/snapshots/c0ffee/config.json");
  EXPECT_EQ(read_file(file), "{}");
  EXPECT_EQ(hub.requests_, 0) << "the weights were not asked for";
  options.files = {"*.safetensors", "config.jso?"};
  EXPECT_EQ(pull("org/model", options), file.parent_path());
  EXPECT_EQ(hub.requests_, 1);
}

// A model of three files, with a tensor in each.
std::map<std::string, std::string> parts_of_model(const Folder& folder, const std::string& stem) {
  std::map<std::string, std::string> files;
  for (unsigned number = 0; number < 3; ++number) {
    const std::string name = fmt::format("{}-{:05}-of-00003.gguf", stem, number + 1);
    const nlohmann::json keys = {{"split.no", number}, {"split.count", 3u}, {"general.name", stem}};
    const auto writer = write_gguf(folder.path() / "made.gguf", {{fmt::format("t{}", number), DType::F32, {4}}}, keys);
    writer->write(std::vector<std::byte>(16));
    writer->finish();
    files[name] = read_file(folder.path() / "made.gguf");
    std::filesystem::remove(folder.path() / "made.gguf");
  }
  return files;
}

TEST(Hub, OnePartOfAModelBringsTheOthersAlong) {
  const Folder folder;
  FakeHub hub("w");
  hub.gguf_ = parts_of_model(folder, "q8/tiny");
  hub.gguf_.merge(parts_of_model(folder, "q4/tiny"));
  HubOptions options = hub.options(folder.path());
  options.files = {"q8/tiny-00002-of-00003.gguf"};
  const auto snapshot = folder.path() / "models--org--model/snapshots/c0ffee";
  const auto first = snapshot / "q8/tiny-00001-of-00003.gguf";
  EXPECT_EQ(pull("org/model", options), first);
  EXPECT_FALSE(std::filesystem::exists(snapshot / "q4"));
  const auto model = open_checkpoint(first);
  EXPECT_EQ(model->tensors().size(), 3u);
  EXPECT_EQ(model->metadata().at("general.name"), "q8/tiny");
  options.files = {"q8/*"};
  EXPECT_EQ(pull("org/model", options), first);
  options.files = {"*-00001-of-00003.gguf"};
  EXPECT_EQ(pull("org/model", options), snapshot) << "two models";
  EXPECT_EQ(open_checkpoint(snapshot / "q4")->tensors().size(), 3u);
}

TEST(Hub, APartThatIsNowhereIsNamed) {
  const Folder folder;
  FakeHub hub("w");
  hub.gguf_ = parts_of_model(folder, "tiny");
  HubOptions options = hub.options(folder.path());
  options.files = {"tiny-00001*"};
  const auto first = pull("org/model", options);
  std::filesystem::remove(first.parent_path() / "tiny-00003-of-00003.gguf");
  options.offline = true;
  expect_error(Category::NotFound, "'tiny-00003-of-00003.gguf' is a part of the model and is not in the cache",
               [&] { pull("org/model", options); });
  options.offline = false;
  hub.gguf_.erase("tiny-00003-of-00003.gguf");
  expect_error(Category::NotFound, "'tiny-00003-of-00003.gguf' is a part of the model and is not in the repository",
               [&] { pull("org/model", options); });
}

TEST(Hub, WhoAsksForNoneOfTheGgufFilesIsTold) {
  const Folder folder;
  FakeHub hub("w");
  hub.weight_name_ = "tiny.Q4_0.gguf";
  hub.other_weights_ = false;
  expect_error(Category::NotFound, "--file 'tiny.Q4_0.gguf'", [&] { pull("org/model", hub.options(folder.path())); });
}

TEST(Hub, AnswersFromTheCacheOffline) {
  const Folder folder;
  HubOptions offline;
  {
    FakeHub hub(std::string(5000, 'w'));
    offline = hub.options(folder.path());
    pull("org/model", offline);
  }
  offline.offline = true;
  EXPECT_EQ(read_file(pull("org/model", offline) / "config.json"), "{}");
  expect_error(Category::NotFound, "not in the cache", [&] { pull("org/other", offline); });
  offline.files = {"*.safetensors"};
  EXPECT_EQ(pull("org/model", offline).filename(), "model.safetensors");
  offline.files = {"absent.gguf"};
  expect_error(Category::NotFound, "absent.gguf", [&] { pull("org/model", offline); });
}

TEST(Hub, TheCacheIsWhereTheEnvironmentSaysOrNowhere) {
  const Variable hub_cache("HF_HUB_CACHE"), hub_home("HF_HOME"), cache("XDG_CACHE_HOME"), home("HOME");
  hub_cache.set("/somewhere/hub");
  hub_home.set("/somewhere/home");
  cache.set("/somewhere/cache");
  home.set("/home/ada");
  EXPECT_EQ(hub_options_from_environment().cache, "/somewhere/hub");
  hub_cache.set(nullptr);
  EXPECT_EQ(hub_options_from_environment().cache, "/somewhere/home/hub");
  hub_home.set(nullptr);
  EXPECT_EQ(hub_options_from_environment().cache, "/somewhere/cache/huggingface/hub");
  cache.set(nullptr);
  EXPECT_EQ(hub_options_from_environment().cache, "/home/ada/.cache/huggingface/hub");
  home.set(nullptr);
  HubOptions options = hub_options_from_environment();
  EXPECT_TRUE(options.cache.empty());
  expect_error(Category::InvalidArgument, "HF_HUB_CACHE: is not set", [&] { pull("org/model", options); });
  options.offline = true;
  expect_error(Category::InvalidArgument, "HF_HUB_CACHE: is not set", [&] { pull("org/model", options); });
}

TEST(Hub, SaysWhatIsWrong) {
  const Folder folder;
  FakeHub hub("w");
  HubOptions options = hub.options(folder.path());
  expect_error(Category::NotFound, "404", [&] { pull("org/absent", options); });
  expect_error(Category::InvalidArgument, "no access", [&] { pull("org/private", options); });
  options.token.clear();
  expect_error(Category::InvalidArgument, "HF_TOKEN", [&] { pull("org/private", options); });
  options.files = {"model.safetensor"};
  expect_error(Category::NotFound, "did you mean 'model.safetensors'", [&] { pull("org/model", options); });
  options.files = {"config.json", "../../secret"};
  expect_error(Category::InvalidArgument, "secret", [&] { pull("org/model", options); });
  options = hub.options(folder.path());
  expect_error(Category::InvalidArgument, "organisation/name", [&] { pull("../x", options); });
  hub.weight_name_ = "../../../evil";
  expect_error(Category::Corruption, "not a path inside", [&] { pull("org/model", options); });
  options.endpoint = "ftp://x";
  expect_error(Category::InvalidArgument, "HF_ENDPOINT", [&] { pull("org/model", options); });
  // Port 1 of this machine: refused at once, as with no network.
  options.endpoint = "http://127.0.0.1:1";
  expect_error(Category::Io, "cannot be reached", [&] { pull("org/model", options); });
}

}  // namespace
}  // namespace graft
