#include "checkpoint/hub.h"

#include <filesystem>
#include <future>
#include <map>

#include "base/hash.h"
#include "checkpoint/fake_hub_test.h"
#include "checkpoint/fixture_test.h"
#include "checkpoint/writer.h"

namespace graft {
namespace {

using testing::expect_error;
using testing::FakeHub;
using testing::Folder;

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

TEST(Hub, ATokenizerComesUnderEveryNameThatIsRead) {
  const Folder folder;
  FakeHub hub("w");
  const auto names = {"spiece.model", "tokenizer.model", "sentencepiece.bpe.model"};
  for (const char* name : names) hub.gguf_[name] = name;
  const auto snapshot = pull("org/model", hub.options(folder.path()));
  for (const char* name : names) EXPECT_EQ(read_file(snapshot / name), name);
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
