#include "adapters/core/manifest.h"

#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "adapters/core/combination.h"
#include "adapters/core/peft.h"
#include "arch/core/fingerprint_test_support.h"
#include "base/error_test_support.h"
#include "base/rng.h"
#include "checkpoint/fixture_test.h"

namespace graft {
namespace {

using Json = nlohmann::json;
using testing::expect_error;
using testing::FingerprintReads;
using testing::Folder;
using testing::kTableValues;
using testing::one_layer;

TEST(Manifest, OfAnEarlierVersionIsHeldToItsRule) {
  const Folder folder;
  const auto blocks = hashed_stretches(kTableValues, 2);
  const auto base = one_layer(folder), at_the_beginning = one_layer(folder, 0),
             in_a_block = one_layer(folder, blocks[30].first),
             between_blocks = one_layer(folder, blocks[30].first + blocks[30].count);
  const auto check = [](const std::string& fingerprint, const Model& model) {
    return checked_manifest(Json{{"base", fingerprint}}.dump(), "file", "adapter", model);
  };
  const std::vector<const Model*> changed = {at_the_beginning.get(), in_a_block.get(), between_blocks.get()};
  for (const int version : {1, 2, 3}) {
    SCOPED_TRACE(version);
    const std::string kept = base_fingerprint(*base, version);
    EXPECT_NO_THROW(check(kept, *base));
    for (int seen = 0; seen < 3; ++seen) {
      const std::string told = error_of([&] { check(kept, *changed[static_cast<std::size_t>(seen)]); });
      if (seen >= version) {
        EXPECT_EQ(told, "nothing") << seen;
        continue;
      }
      EXPECT_TRUE(
          told.starts_with("InvalidArgument adapter: this adapter was trained on another base model: the first "
                           "tensor that differs is 'model.embed_tokens.weight"))
          << told;
      EXPECT_TRUE(told.ends_with("; give the model that it was trained on, or train an adapter on this one")) << told;
    }
  }
  expect_error(Category::Unsupported, "'fingerprint 4'", [&] { check("fingerprint 4\n", *base); });
}

// 256 adapters over one base would else read it 256 times.
TEST(Manifest, OfManyAdaptersReadsTheirBaseOnce) {
  const Folder folder;
  const auto place = [&folder](int adapter) { return folder.path() / std::to_string(adapter); };
  {
    const auto base = one_layer(folder);
    Rng rng(1);
    const auto adapter = MethodChoice("ia3+layernorm").create(*base, Json::object(), rng);
    const FingerprintReads saving;
    for (const int i : {0, 1, 2}) save_adapter(place(i), *adapter, *base, {});
    EXPECT_EQ(saving.count(), 1);
  }
  for (int loaded = 0; loaded < 2; ++loaded) {  // what one model keeps, another does not have
    const auto base = one_layer(folder);
    const FingerprintReads loading;
    for (const int i : {0, 1, 2}) EXPECT_EQ(load_adapter(place(i), *base).method, "ia3+layernorm");
    EXPECT_EQ(loading.count(), 1);
  }
  const auto other = one_layer(folder, 0);
  const FingerprintReads refusing;
  for (const int i : {0, 1, 2})
    expect_error(Category::InvalidArgument, "another base model", [&] { load_adapter(place(i), *other); });
  EXPECT_EQ(refusing.count(), 1);
}

/// Counts how often a file is opened, as the kernel tells it.
class FileOpens {
 public:
  // Closing counts as an event, too, so that two openings in a row are not told as one.
  explicit FileOpens(const std::filesystem::path& file) : queue_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
    EXPECT_GE(::inotify_add_watch(queue_, file.c_str(), IN_OPEN | IN_CLOSE), 0) << file;
  }
  ~FileOpens() { ::close(queue_); }
  FileOpens(const FileOpens&) = delete;

  /// Since this began, or was asked last.
  int count() const {
    std::array<char, 4096> told{};
    int opens = 0;
    for (ssize_t bytes = 0; (bytes = ::read(queue_, told.data(), told.size())) > 0;) {
      for (ssize_t at = 0; at < bytes; at += static_cast<ssize_t>(sizeof(inotify_event))) {  // a file's have no name
        std::uint32_t mask = 0;
        std::memcpy(&mask, told.data() + at + offsetof(inotify_event, mask), sizeof mask);
        opens += (mask & IN_OPEN) != 0 ? 1 : 0;
      }
    }
    return opens;
  }

 private:
  int queue_;
};

// Its header is read and checked once, then, and what its tensors are held to cannot be of another file.
TEST(Manifest, IsReadWithTheTensorsFromOneOpenFile) {
  const Folder folder;
  const auto base = one_layer(folder);
  Rng rng(1);
  save_adapter(folder.path() / "own", *MethodChoice("lora").create(*base, Json::object(), rng), *base, {});
  const auto file = folder.path() / "own/adapter_model.safetensors";
  const FileOpens opens(file);
  open_checkpoint(file);
  const int once = opens.count();
  EXPECT_GT(once, 0);
  EXPECT_FALSE(load_adapter(folder.path() / "own", *base).manifest.is_null());
  EXPECT_EQ(opens.count(), once);
}

TEST(Manifest, TellsTensorsThatAreNotTheFilesOwn) {
  const Folder folder;
  const auto base = one_layer(folder);
  Rng rng(1);
  const auto adapter = MethodChoice("lora").create(*base, Json::object(), rng);
  save_adapter(folder.path() / "own", *adapter, *base, {});
  const auto file = folder.path() / "own/adapter_model.safetensors";
  const std::string manifest = open_checkpoint(file)->metadata().at(kManifestKey);
  EXPECT_EQ(Json::parse(manifest).at(kTensorsKey).get<std::string>(), content_hash(*open_checkpoint(file)));
  EXPECT_NO_THROW(load_adapter(folder.path() / "own", *base));
  NamedTensors tensors = read_tensors(file);
  tensors.front().second.view({-1})[0] += 1;
  write_tensors(file, tensors, {{kManifestKey, manifest}});
  expect_error(Category::Corruption, file.string() + ": its tensors are not those that it was saved with",
               [&] { load_adapter(folder.path() / "own", *base); });
  Json earlier = Json::parse(manifest);
  earlier.erase(kTensorsKey);
  write_tensors(file, tensors, {{kManifestKey, earlier.dump()}});
  EXPECT_NO_THROW(load_adapter(folder.path() / "own", *base)) << "an earlier graft's does not tell";
  write_tensors(file, tensors);
  EXPECT_NO_THROW(load_adapter(folder.path() / "own", *base)) << "nor does another program's";
}

// Of the two letters, in this order.
std::shared_ptr<const Tokenizer> letters(const Folder& folder, const std::string& first, const std::string& second) {
  const Json file = {{"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
                     {"model", {{"type", "BPE"}, {"vocab", {{first, 0}, {second, 1}}}, {"merges", Json::array()}}}};
  return open_tokenizer(folder.file(first + ".json", file.dump()));
}

TEST(Manifest, AnotherTokenizerIsRefused) {
  const Folder folder;
  const auto own = letters(folder, "a", "b"), other = letters(folder, "b", "a");
  const Json manifest = {{kTokenizerKey, tokenizer_mark(*own)}};
  EXPECT_TRUE(tokenizer_mark(*own).starts_with("v2:"));
  EXPECT_NO_THROW(refuse_other_tokenizer(manifest, "adapter", *own));
  const std::string refused = error_of([&] { refuse_other_tokenizer(manifest, "adapter", *other); });
  EXPECT_TRUE(refused.starts_with("InvalidArgument adapter: this adapter was trained with another tokenizer (v2:"))
      << refused;
  for (const auto& tokenizer : {own, other})
    EXPECT_NE(refused.find(tokenizer_mark(*tokenizer).substr(0, 15)), std::string::npos) << refused;
  EXPECT_EQ(refused.find(own->hash()), std::string::npos) << "hashes are shortened: " << refused;
}

TEST(Manifest, WithoutAMarkOfThisVersionNoTokenizerIsRefused) {
  const Folder folder;
  const auto other = letters(folder, "b", "a");
  EXPECT_NO_THROW(refuse_other_tokenizer(Json(), "adapter", *other)) << "PEFT's own";
  EXPECT_NO_THROW(refuse_other_tokenizer(Json::object(), "adapter", *other));
  for (const std::string& mark : {std::string(64, '0'), "v1:" + std::string(64, '0'), std::string("v22:0")})
    EXPECT_NO_THROW(refuse_other_tokenizer({{kTokenizerKey, mark}}, "adapter", *other)) << mark;
}

TEST(Manifest, OfEveryPartTellsItsTokenizer) {
  namespace fs = std::filesystem;
  const Folder folder;
  const auto base = one_layer(folder);
  const auto own = letters(folder, "a", "b"), other = letters(folder, "b", "a");
  Rng rng(1);
  const auto adapter = MethodChoice("ia3+layernorm").create(*base, Json::object(), rng);
  const auto save = [&](const char* name, const Tokenizer& tokenizer) {
    Manifest manifest;
    manifest.fields[kTokenizerKey] = tokenizer_mark(tokenizer);
    save_adapter(folder.path() / name, *adapter, *base, manifest);
  };
  save("own", *own);
  save("other", *other);
  EXPECT_EQ(load_adapter(folder.path() / "own", *base, *own).parts.size(), 2u);
  for (const std::string part : {"ia3", "layernorm"}) {
    const fs::path mixed = folder.path() / ("mixed-" + part);
    fs::copy(folder.path() / "own", mixed, fs::copy_options::recursive);
    fs::copy(folder.path() / "other" / part, mixed / part,
             fs::copy_options::recursive | fs::copy_options::overwrite_existing);
    expect_error(Category::InvalidArgument,
                 (mixed / part).string() + ": this adapter was trained with another tokenizer",
                 [&] { load_adapter(mixed, *base, *own); });
  }
}

}  // namespace
}  // namespace graft
