#include "checkpoint/kept_blocks.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/environment_variable_test.h"
#include "base/file.h"
#include "checkpoint/fixture_test.h"
#include "checkpoint/writer.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using testing::Folder;

std::vector<std::byte> some_bytes(std::size_t count, std::uint32_t seed) {
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) {
    seed = seed * 1664525U + 1013904223U;
    byte = static_cast<std::byte>(seed >> 24);
  }
  return bytes;
}

bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

std::vector<fs::path> files_of(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  return files;
}

// A checkpoint, and blocks of two matrices that fill no line of 64 bytes.
class Kept : public ::testing::Test {
 protected:
  Kept() : cache_(folder_.path() / "cache"), source_(checkpoint("model.safetensors")) {}

  std::unique_ptr<TensorSource> checkpoint(const std::string& name) const {
    const auto writer = write_safetensors(folder_.path() / name, {{"a", DType::F32, {2}}});
    writer->write(some_bytes(8, 1));
    writer->finish();
    return open_checkpoint(folder_.path() / name);
  }

  KeptBlocks opened(WeightFormat format = WeightFormat::Q4_1) const { return {cache_, *source_, format}; }

  void keep() const { opened().keep({{first_, a_}, {second_, b_}}); }

  // The blocks that were kept, at addresses that every kernel takes.
  bool holds_all(const KeptBlocks& kept) const {
    const TensorInfo *a = kept.find(first_), *b = kept.find(second_);
    if (a == nullptr || b == nullptr) return false;
    for (const TensorInfo* info : {a, b})
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(kept.file()->bytes(*info).data()) % 64, 0u);
    return same(kept.file()->bytes(*a), a_) && same(kept.file()->bytes(*b), b_);
  }

  const TensorPlan first_{"layer.0", DType::Q4_1, {4, 64}}, second_{"layer.1", DType::Q5_0, {3, 32}};
  const std::vector<std::byte> a_ = some_bytes(160, 2), b_ = some_bytes(66, 3);
  Folder folder_;
  fs::path cache_;
  std::unique_ptr<TensorSource> source_;
};

TEST_F(Kept, AreFoundByTheNextProcess) {
  EXPECT_EQ(opened().file(), nullptr);
  keep();
  const KeptBlocks kept = opened();
  EXPECT_TRUE(holds_all(kept));
  EXPECT_EQ(files_of(cache_), std::vector<fs::path>{kept.place()});
  EXPECT_EQ(kept.find({"layer.0", DType::Q5_0, {4, 64}}), nullptr);
  EXPECT_EQ(kept.find({"layer.0", DType::Q4_1, {2, 128}}), nullptr);
  EXPECT_EQ(kept.find({"layer.2", DType::Q4_1, {4, 64}}), nullptr);
}

TEST_F(Kept, AreOfOneFormatAndOneCheckpointAsItIs) {
  keep();
  EXPECT_EQ(opened(WeightFormat::Q4_K).file(), nullptr);
  const auto other = checkpoint("other.safetensors");
  EXPECT_EQ(KeptBlocks(cache_, *other, WeightFormat::Q4_1).file(), nullptr);
  checkpoint("model.safetensors");  // the same bytes in another file
  EXPECT_EQ(opened().file(), nullptr);
  fs::remove(folder_.path() / "model.safetensors");
  EXPECT_TRUE(opened().place().empty());
  keep();
  EXPECT_EQ(files_of(cache_).size(), 1u);
}

TEST_F(Kept, OfACheckpointThatChangedMeanwhileAreNotWritten) {
  const KeptBlocks kept = opened();
  checkpoint("model.safetensors");
  kept.keep({{first_, a_}});
  EXPECT_FALSE(fs::exists(cache_));
}

// What another model's file, or one of another version (which the name's hash and the file's tell), is under this name.
TEST_F(Kept, UnderAnothersNameAreLeftAlone) {
  keep();
  const auto other = checkpoint("other.safetensors");
  const KeptBlocks before(cache_, *other, WeightFormat::Q4_1);
  fs::copy_file(opened().place(), before.place());
  EXPECT_EQ(KeptBlocks(cache_, *other, WeightFormat::Q4_1).file(), nullptr);
  write_file(before.place(), "something else");
  EXPECT_EQ(KeptBlocks(cache_, *other, WeightFormat::Q4_1).file(), nullptr);
  EXPECT_TRUE(holds_all(opened()));
}

TEST_F(Kept, ThatAreCutShortAreLeftAloneAndWrittenAgain) {
  keep();
  const std::string whole = read_file(opened().place());
  const auto end = static_cast<std::size_t>(opened().find(second_)->offset + b_.size());
  for (std::size_t size = 0; size < end; size += 7) {
    write_file(opened().place(), whole.substr(0, size));
    ASSERT_EQ(opened().file(), nullptr) << size;
  }
  keep();
  EXPECT_TRUE(holds_all(opened()));
}

// Behind the header there is padding; of the two versions of GGUF each is read as the other.
TEST_F(Kept, WithADamagedHeaderAreLeftAlone) {
  keep();
  const fs::path place = opened().place();
  const std::string whole = read_file(place);
  const auto header = static_cast<std::size_t>(opened().find(first_)->offset);
  std::size_t refused = 0;
  for (std::size_t at = 0; at < header; ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << at % 8));
    write_file(place, damaged);
    const KeptBlocks kept = opened();
    if (kept.file() == nullptr) {
      ++refused;
    } else {
      EXPECT_TRUE(holds_all(kept)) << at;
    }
  }
  EXPECT_GE(refused, header - 64);
}

TEST_F(Kept, ThatAreDamagedAreToldOnce) {
  keep();
  const fs::path place = opened().place();
  write_file(place, "GGUF");
  ::testing::internal::CaptureStderr();
  opened();
  opened();
  EXPECT_EQ(
      ::testing::internal::GetCapturedStderr(),
      "graft: note: " + place.string() + " is damaged or not what its name says; its weights are quantised again\n");
}

TEST_F(Kept, AreWholeHoweverManyWrite) {
  keep();
  std::atomic<int> broken = 0;
  const auto write_and_read = [&] {
    for (int i = 0; i < 20; ++i) {
      keep();
      if (!holds_all(opened())) ++broken;
    }
  };
  std::thread one(write_and_read), other(write_and_read);
  one.join();
  other.join();
  EXPECT_EQ(broken, 0);
  EXPECT_EQ(files_of(cache_), std::vector<fs::path>{opened().place()});
}

TEST_F(Kept, StayMappedWhenOthersTakeTheirPlace) {
  keep();
  const KeptBlocks before = opened();
  before.keep({{first_, a_}});
  EXPECT_TRUE(holds_all(before));
  fs::remove(before.place());
  EXPECT_TRUE(holds_all(before));
}

TEST_F(Kept, ThatCannotBeWrittenAreDoneWithout) {
  const auto file = folder_.file("file", "no folder");
  for (const fs::path& nowhere : {file / "cache", fs::path("/proc/graft")}) {
    const KeptBlocks kept(nowhere, *source_, WeightFormat::Q4_1);
    EXPECT_EQ(kept.file(), nullptr);
    ::testing::internal::CaptureStderr();
    kept.keep({{first_, a_}});
    EXPECT_EQ(::testing::internal::GetCapturedStderr().find("graft: note: quantised weights are not kept"), 0u);
    EXPECT_EQ(KeptBlocks(nowhere, *source_, WeightFormat::Q4_1).file(), nullptr);
  }
}

TEST_F(Kept, OnAFullDiskLeaveNothing) {
  const KeptBlocks kept = opened();
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const auto old = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{128, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  kept.keep({{first_, a_}});
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old);
  EXPECT_TRUE(fs::is_empty(cache_));
}

TEST_F(Kept, ThatNobodyUsesGo) {
  keep();
  const auto now = fs::file_time_type::clock::now();
  const std::string key(64, '0'), other(64, '1');
  const auto file = [&](const std::string& name, int hours) {
    write_file(cache_ / name, "x");
    fs::last_write_time(cache_ / name, now - std::chrono::hours(hours));
    return cache_ / name;
  };
  const auto unused = file(key + ".blocks", 24 * 31), used = file(other + ".blocks", 24 * 29),
             unfinished = file(key + ".blocks.tmp-120000000001", 25),
             begun = file(other + ".blocks.tmp-120000000001", 1), model = file("model.gguf", 24 * 365);
  fs::last_write_time(opened().place(), now - std::chrono::hours(24 * 365));
  opened();  // uses it
  KeptBlocks(cache_, *checkpoint("other.safetensors"), WeightFormat::Q4_1).keep({{first_, a_}});
  EXPECT_FALSE(fs::exists(unused));
  EXPECT_FALSE(fs::exists(unfinished));
  for (const fs::path& stays : {used, begun, model, opened().place()}) EXPECT_TRUE(fs::exists(stays)) << stays;
}

TEST(WeightCacheFolder, IsWhereTheEnvironmentSays) {
  const EnvironmentVariable chosen("GRAFT_WEIGHT_CACHE"), cache("XDG_CACHE_HOME");
  chosen.set(nullptr);
  cache.set("/somewhere/cache");
  EXPECT_EQ(weight_cache_folder(), "/somewhere/cache/graft/weights");
  cache.set("relative");
  EXPECT_TRUE(weight_cache_folder().empty());
  chosen.set("/large/disk");
  EXPECT_EQ(weight_cache_folder(), "/large/disk");
  chosen.set("no");
  EXPECT_TRUE(weight_cache_folder().empty());
  for (const char* wrong : {"off", "disk/weights"}) {
    chosen.set(wrong);
    expect_error(Category::InvalidArgument, "GRAFT_WEIGHT_CACHE: '" + std::string(wrong) + "' is neither",
                 [] { weight_cache_folder(); });
  }
}

}  // namespace
}  // namespace graft
