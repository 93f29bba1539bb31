#include "checkpoint/hub_dataset.h"

#include <httplib.h>

#include <atomic>
#include <map>
#include <mutex>
#include <thread>

#include "base/environment_variable_test.h"
#include "base/hash.h"
#include "base/progress.h"
#include "checkpoint/fixture_test.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using testing::Folder;

using Files = std::map<std::string, std::string>;

// A hub with the data set org/data, and its rows server: `train` has 250 rows, `test` 3, in each configuration.
class FakeDatasetHub {
 public:
  explicit FakeDatasetHub(Files files) : files_(std::move(files)) {
    server_.Get("/api/datasets/org/data/revision/main", [this](const auto& request, auto& response) {
      tokens_ += request.get_header_value("Authorization") + ";";
      response.set_content(listing(), "application/json");
    });
    server_.Get(R"(/datasets/org/data/resolve/c0ffee/(.+))",
                [this](const httplib::Request& request, httplib::Response& response) {
                  ranges_ += request.get_header_value("Range") + ";";
                  response.set_content(files_.at(request.matches[1].str()), "application/octet-stream");
                });
    server_.Get("/splits", [this](const auto&, auto& response) {
      response.set_header("X-Revision", rows_commit_);
      response.set_content(splits(), "application/json");
    });
    server_.Get("/rows", [this](const auto& request, auto& response) { answer_rows(request, response); });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    while (!server_.is_running()) std::this_thread::yield();
    Progress::set_quiet(true);
  }
  ~FakeDatasetHub() {
    server_.stop();
    thread_.join();
  }

  HubOptions options(const fs::path& cache) const {
    HubOptions options;
    options.endpoint = "http://127.0.0.1:" + std::to_string(port_);
    options.rows_server = options.endpoint;
    options.cache = cache;
    options.token = "secret";
    return options;
  }

  static std::string row(int number) { return R"({"zebra":)" + std::to_string(number) + R"(,"ant":["é",null]})"; }
  static std::string rows(int count) {
    std::string lines;
    for (int number = 0; number < count; ++number) lines += row(number) + "\n";
    return lines;
  }

  Files files_;
  std::string promised_;  // instead of the SHA-256 of a file
  std::vector<std::string> configs_ = {"default"};
  std::string rows_commit_ = "c0ffee";
  std::string extra_;                     // further members of an answer with rows
  std::atomic<int> busy_ = 0;             // answers that are 429 before one is not
  std::atomic<int> refuses_from_ = 1000;  // rows from there on are refused for good
  std::atomic<int> first_row_ = 0;        // what the server calls its row 0
  std::atomic<int> uncut_ = 1000;         // rows that an answer may have before values are cut
  std::string tokens_, ranges_, offsets_;

 private:
  std::string listing() const {
    std::string siblings;
    for (const auto& [name, content] : files_) {
      if (!siblings.empty()) siblings += ",";
      siblings += R"({"rfilename":")" + name + R"(","size":)" + std::to_string(content.size()) +
                  R"(,"lfs":{"sha256":")" + (promised_.empty() ? sha256(content) : promised_) + R"("}})";
    }
    return R"({"sha":"c0ffee","siblings":[)" + siblings + "]}";
  }

  std::string splits() const {
    std::string all;
    for (const auto& config : configs_) {
      for (const auto* split : {"train", "test"}) {
        if (!all.empty()) all += ",";
        all += R"({"dataset":"org/data","config":")" + config + R"(","split":")" + split + R"("})";
      }
    }
    return R"({"splits":[)" + all + R"(],"pending":[],"failed":[]})";
  }

  void answer_rows(const httplib::Request& request, httplib::Response& response) {
    const std::lock_guard lock(mutex_);
    const int offset = std::stoi(request.get_param_value("offset"));
    const int length = std::stoi(request.get_param_value("length"));
    const int total = request.get_param_value("split") == "train" ? 250 : 3;
    offsets_ += std::to_string(offset) + "+" + std::to_string(length) + ";";
    response.set_header("X-Revision", rows_commit_);
    if (busy_ > 0) {
      --busy_;
      response.status = 429;
      response.set_header("Retry-After", "0");
      return response.set_content(R"({"error":"slow down"})", "application/json");
    }
    if (offset >= refuses_from_) {
      response.status = 501;
      return response.set_content(R"({"error":"not \u001b today"})", "application/json");
    }
    std::string all;
    for (int number = offset; number < std::min(total, offset + length); ++number) {
      if (!all.empty()) all += ",";
      all += R"({"row_idx":)" + std::to_string(number + first_row_) + R"(,"row":)" + row(number) +
             R"(,"truncated_cells":[)" + (length > uncut_ ? R"("ant")" : "") + "]}";
    }
    response.set_content(
        R"({"features":[],"rows":[)" + all + R"(],"num_rows_total":)" + std::to_string(total) + extra_ + "}",
        "application/json");
  }

  const ProxyVariables no_proxy_;
  httplib::Server server_;
  std::mutex mutex_;
  int port_ = 0;
  std::thread thread_;
};

TEST(HubDataset, FetchesTheFilesThatGraftReadsIntoTheUsualLayout) {
  const Folder folder;
  FakeDatasetHub hub(Files{{"README.md", "# data"},
                           {"dataset_infos.json", "{}"},
                           {"data/train.jsonl", "{\"a\":1}\n"},
                           {"data/test.csv", "a\n1\n"},
                           {"data/train.parquet", "PAR1"}});
  const PulledDataset pulled = pull_dataset("org/data", hub.options(folder.path()));
  const fs::path root = folder.path() / "datasets--org--data";
  EXPECT_EQ(pulled.place, root / "snapshots/c0ffee/data");
  EXPECT_EQ(read_file(pulled.place / "train.jsonl"), "{\"a\":1}\n");
  EXPECT_EQ(read_file(pulled.place / "test.csv"), "a\n1\n");
  EXPECT_TRUE(fs::is_symlink(pulled.place / "train.jsonl"));
  EXPECT_FALSE(fs::exists(pulled.place / "train.parquet"));
  EXPECT_FALSE(fs::exists(root / "snapshots/c0ffee/README.md"));
  EXPECT_FALSE(fs::exists(root / "snapshots/c0ffee/dataset_infos.json"));
  EXPECT_EQ(read_file(root / "refs/main"), "c0ffee");
  EXPECT_EQ(hub.tokens_, "Bearer secret;");
  ASSERT_EQ(pulled.notices.size(), 1u);
  EXPECT_NE(pulled.notices[0].find("1 Parquet"), std::string::npos) << pulled.notices[0];
  EXPECT_EQ(hub.offsets_, "") << "rows were asked for";
}

TEST(HubDataset, APatternSelectsFiles) {
  const Folder folder;
  FakeDatasetHub hub(Files{{"a/train.jsonl", "1"}, {"b/train.jsonl", "2"}, {"b/pictures.zip", "PK"}});
  HubOptions options = hub.options(folder.path());
  options.files = {"*.zip"};
  EXPECT_EQ(read_file(pull_dataset("org/data", options).place), "PK");
  options.files = {"*/train.jsonl"};
  EXPECT_EQ(pull_dataset("org/data", options).place, folder.path() / "datasets--org--data/snapshots/c0ffee");
  options.files = {"a/trian.jsonl"};
  expect_error(Category::NotFound, "did you mean 'a/train.jsonl'", [&] { pull_dataset("org/data", options); });
  expect_error(Category::InvalidArgument, "the ones or the others",
               [&] { pull_dataset("org/data", options, {.config = "", .split = "train"}); });
}

TEST(HubDataset, FilesGoOnAndAreChecked) {
  const Folder folder;
  const std::string content(50000, 'x');
  FakeDatasetHub hub(Files{{"train.jsonl", content}});
  const fs::path blobs = folder.path() / "datasets--org--data/blobs";
  write_file(blobs / (sha256(content) + ".incomplete"), content.substr(0, 20000));
  EXPECT_EQ(read_file(pull_dataset("org/data", hub.options(folder.path())).place / "train.jsonl"), content);
  EXPECT_EQ(hub.ranges_, "bytes=20000-;");
  hub.promised_ = std::string(64, '0');
  fs::remove_all(folder.path() / "datasets--org--data");
  expect_error(Category::Corruption, "SHA-256", [&] { pull_dataset("org/data", hub.options(folder.path())); });
}

TEST(HubDataset, FetchesRowsWhereAllIsParquet) {
  const Folder folder;
  FakeDatasetHub hub(Files{{"README.md", "# data"}, {"data/train-00000.parquet", "PAR1"}});
  const PulledDataset pulled = pull_dataset("org/data", hub.options(folder.path()));
  EXPECT_EQ(pulled.place, folder.path() / "datasets--org--data/rows/c0ffee/default");
  EXPECT_EQ(read_file(pulled.place / "train.jsonl"), FakeDatasetHub::rows(250));
  EXPECT_EQ(read_file(pulled.place / "test.jsonl"), FakeDatasetHub::rows(3));
  EXPECT_EQ(hub.offsets_, "0+100;100+100;200+100;0+100;");
  EXPECT_TRUE(pulled.notices.empty());
  pull_dataset("org/data", hub.options(folder.path()));
  EXPECT_EQ(hub.offsets_, "0+100;100+100;200+100;0+100;") << "rows that are there were fetched again";
}

TEST(HubDataset, FetchesParquetWhereGraftReadsIt) {
  const Folder folder;
  FakeDatasetHub hub(Files{{"README.md", "# data"},
                           {"data/train-00000-of-00002.parquet", "PAR1a"},
                           {"data/train-00001-of-00002.parquet", "PAR1b"},
                           {"data/test-00000-of-00001-0a1b2c3d.parquet", "PAR1c"}});
  HubOptions options = hub.options(folder.path());
  options.parquet = true;
  const fs::path data = folder.path() / "datasets--org--data/snapshots/c0ffee/data";
  const RowsChoice test = {.config = "", .split = "test"};
  EXPECT_EQ(pull_dataset("org/data", options, test).place, data / "test-00000-of-00001-0a1b2c3d.parquet");
  EXPECT_FALSE(fs::exists(data / "train-00000-of-00002.parquet"));
  EXPECT_EQ(pull_dataset("org/data", options, {.config = "default", .split = "train"}).place, data);
  const PulledDataset pulled = pull_dataset("org/data", options);
  EXPECT_EQ(pulled.place, data);
  EXPECT_TRUE(pulled.notices.empty());
  EXPECT_EQ(read_file(data / "train-00001-of-00002.parquet"), "PAR1b");
  EXPECT_EQ(hub.offsets_, "") << "rows were asked for";
  options.offline = true;
  EXPECT_EQ(pull_dataset("org/data", options).place, data);
  EXPECT_EQ(pull_dataset("org/data", options, test).place, data / "test-00000-of-00001-0a1b2c3d.parquet");
}

TEST(HubDataset, ParquetOfOneConfigurationIsChosenByItsFolder) {
  const Folder folder;
  FakeDatasetHub hub(Files{{"anatomy/test-00000-of-00001.parquet", "PAR1a"},
                           {"botany/test-00000-of-00001.parquet", "PAR1b"},
                           {"botany/train-00000-of-00001.parquet", "PAR1c"}});
  HubOptions options = hub.options(folder.path());
  options.parquet = true;
  const fs::path snapshot = folder.path() / "datasets--org--data/snapshots/c0ffee";
  expect_error(Category::InvalidArgument, "--config: anatomy, botany", [&] { pull_dataset("org/data", options); });
  EXPECT_EQ(pull_dataset("org/data", options, {.config = "botany", .split = ""}).place, snapshot / "botany");
  EXPECT_EQ(read_file(snapshot / "botany/train-00000-of-00001.parquet"), "PAR1c");
  EXPECT_FALSE(fs::exists(snapshot / "anatomy"));
  // What lies in another way is the rows server's to find.
  hub.configs_ = {"zoology"};
  EXPECT_EQ(pull_dataset("org/data", options, {.config = "zoology", .split = "test"}).place,
            folder.path() / "datasets--org--data/rows/c0ffee/zoology/test.jsonl");
}

TEST(HubDataset, OtherFilesThatGraftReadsComeWithParquet) {
  const Folder folder;
  FakeDatasetHub hub(Files{{"data/train.parquet", "PAR1"}, {"data/test.jsonl", "{}"}});
  HubOptions options = hub.options(folder.path());
  options.parquet = true;
  const PulledDataset pulled = pull_dataset("org/data", options);
  EXPECT_TRUE(pulled.notices.empty());
  EXPECT_TRUE(fs::exists(pulled.place / "train.parquet") && fs::exists(pulled.place / "test.jsonl"));
}

TEST(HubDataset, RowsGoOnWhereTheyStopped) {
  const Folder folder;
  FakeDatasetHub hub(Files{{"train.parquet", "PAR1"}});
  hub.refuses_from_ = 100;
  const RowsChoice train = {.config = "", .split = "train"};
  expect_error(Category::Unsupported, "not   today",
               [&] { pull_dataset("org/data", hub.options(folder.path()), train); });
  const fs::path rows = folder.path() / "datasets--org--data/rows/c0ffee/default";
  EXPECT_FALSE(fs::exists(rows / "train.jsonl"));
  // As a process that is killed while it writes leaves it.
  write_file(rows / "train.jsonl.incomplete", read_file(rows / "train.jsonl.incomplete") + "{\"zeb");
  hub.refuses_from_ = 1000;
  hub.offsets_.clear();
  const PulledDataset pulled = pull_dataset("org/data", hub.options(folder.path()), train);
  EXPECT_EQ(pulled.place, rows / "train.jsonl");
  EXPECT_EQ(read_file(pulled.place), FakeDatasetHub::rows(250));
  EXPECT_EQ(hub.offsets_, "100+100;200+100;");
  EXPECT_FALSE(fs::exists(rows / "train.jsonl.incomplete"));
}

TEST(HubDataset, ABusyServerIsAskedAgain) {
  const Folder folder;
  FakeDatasetHub hub(Files{{"train.parquet", "PAR1"}});
  const RowsChoice test = {.config = "", .split = "test"};
  hub.busy_ = 2;
  EXPECT_EQ(read_file(pull_dataset("org/data", hub.options(folder.path()), test).place), FakeDatasetHub::rows(3));
  EXPECT_EQ(hub.offsets_, "0+100;0+100;0+100;");
  hub.busy_ = 1000;
  expect_error(Category::Io, "slow down",
               [&] { pull_dataset("org/data", hub.options(folder.path()), {.config = "", .split = "train"}); });
}

TEST(HubDataset, ValuesThatTheServerCutsAreNeverTaken) {
  const Folder folder;
  FakeDatasetHub hub(Files{{"train.parquet", "PAR1"}});
  hub.uncut_ = 30;
  const RowsChoice test = {.config = "", .split = "test"};
  EXPECT_EQ(read_file(pull_dataset("org/data", hub.options(folder.path()), test).place), FakeDatasetHub::rows(3));
  EXPECT_EQ(hub.offsets_, "0+100;0+50;0+25;");
  hub.uncut_ = 0;
  expect_error(Category::Unsupported, "'ant' of row 0",
               [&] { pull_dataset("org/data", hub.options(folder.path()), {.config = "", .split = "train"}); });
}

TEST(HubDataset, ConfigurationsAreNamedWhereThereAreSeveral) {
  const Folder folder;
  FakeDatasetHub hub(Files{{"train.parquet", "PAR1"}});
  hub.configs_ = {"anatomy", "botany"};
  const auto pulled = [&](const RowsChoice& rows) {
    return pull_dataset("org/data", hub.options(folder.path()), rows);
  };
  expect_error(Category::InvalidArgument, "--config: anatomy, botany", [&] { pulled({}); });
  expect_error(Category::NotFound, "did you mean 'botany'", [&] { pulled({.config = "botani", .split = ""}); });
  expect_error(Category::NotFound, "no split 'dev'", [&] { pulled({.config = "botany", .split = "dev"}); });
  EXPECT_EQ(pulled({.config = "botany", .split = ""}).place, folder.path() / "datasets--org--data/rows/c0ffee/botany");
  hub.configs_ = {"anatomy", "default"};
  EXPECT_EQ(pulled({}).place.filename(), "default");
  hub.configs_ = {"../evil"};
  expect_error(Category::Corruption, "cannot be a file's name", [&] { pulled({}); });
}

TEST(HubDataset, AnswersFromTheCacheOffline) {
  const Folder folder;
  HubOptions offline;
  {
    FakeDatasetHub hub(Files{{"train.parquet", "PAR1"}});
    offline = hub.options(folder.path());
    pull_dataset("org/data", offline);
    offline.files = {"*.parquet"};
    pull_dataset("org/data", offline);
  }
  offline.offline = true;
  EXPECT_EQ(pull_dataset("org/data", offline).place.filename(), "train.parquet");
  offline.files.clear();
  const fs::path rows = folder.path() / "datasets--org--data/rows/c0ffee/default";
  EXPECT_EQ(pull_dataset("org/data", offline).place, rows) << "a file that graft does not read is no data";
  EXPECT_EQ(pull_dataset("org/data", offline, {.config = "", .split = "test"}).place, rows / "test.jsonl");
  expect_error(Category::NotFound, "no split 'dev'",
               [&] { pull_dataset("org/data", offline, {.config = "", .split = "dev"}); });
  expect_error(Category::NotFound, "not in the cache", [&] { pull_dataset("org/other", offline); });
}

TEST(HubDataset, SaysWhatIsWrongWithRows) {
  const Folder folder;
  FakeDatasetHub hub(Files{{"train.parquet", "PAR1"}});
  HubOptions options = hub.options(folder.path());
  const auto pulled = [&] { return pull_dataset("org/data", options); };
  options.rows_server.clear();
  expect_error(Category::InvalidArgument, "HF_DATASETS_SERVER", pulled);
  options.rows_server = "http://127.0.0.1:1";
  expect_error(Category::Io, "HF_DATASETS_SERVER", pulled);
  options = hub.options(folder.path());
  hub.rows_commit_ = "bad0bad";
  expect_error(Category::Corruption, "bad0bad", pulled);
  hub.rows_commit_ = "c0ffee";
  hub.first_row_ = 7;
  expect_error(Category::Corruption, "row 0", pulled);
  hub.first_row_ = 0;
  hub.extra_ = R"(,"partial":true)";
  const auto notices = pulled().notices;
  ASSERT_EQ(notices.size(), 2u);
  EXPECT_NE(notices[0].find("first part of the split 'train'"), std::string::npos) << notices[0];
}

}  // namespace
}  // namespace graft
