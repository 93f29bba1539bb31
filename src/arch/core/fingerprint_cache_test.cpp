#include "arch/core/fingerprint_cache.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "arch/core/fingerprint.h"
#include "arch/core/fingerprint_test_support.h"
#include "checkpoint/fixture_test.h"

namespace graft {
namespace {

namespace fs = std::filesystem;
using testing::FingerprintReads;
using testing::Folder;
using testing::kTableValues;
using testing::one_layer;

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  return files;
}

TEST(KeptFingerprint, IsReadOnceForAFile) {
  const Folder folder;
  const fs::path cache = folder.path() / "cache";
  const auto first = one_layer(folder);
  const std::string want = base_fingerprint(*first);
  EXPECT_EQ(kept_fingerprint(*first, cache), want);
  const auto again = load_model(first->parameters().files().front().parent_path().string());
  const FingerprintReads reads;
  EXPECT_EQ(kept_fingerprint(*again, cache), want);
  EXPECT_EQ(reads.count(), 1) << "the sampled one alone";
  EXPECT_EQ(files_in(cache).size(), 1u);
}

TEST(KeptFingerprint, OfAnotherFileIsItsOwn) {
  const Folder folder;
  const fs::path cache = folder.path() / "cache";
  const auto blocks = hashed_stretches(kTableValues, 2);
  const auto base = one_layer(folder), other = one_layer(folder, blocks[30].first + blocks[30].count);
  ASSERT_EQ(base->fingerprint(2), other->fingerprint(2));
  EXPECT_EQ(kept_fingerprint(*base, cache), base_fingerprint(*base));
  EXPECT_EQ(kept_fingerprint(*other, cache), base_fingerprint(*other));
  EXPECT_NE(kept_fingerprint(*other, cache), kept_fingerprint(*base, cache));
  const auto packed =
      load_model(base->parameters().files().front().parent_path().string(), {at::kFloat, at::kCPU, WeightFormat::Q8_0});
  EXPECT_EQ(kept_fingerprint(*packed, cache), base_fingerprint(*packed));
  EXPECT_EQ(files_in(cache).size(), 3u);
}

TEST(KeptFingerprint, ThatIsDamagedIsReadAgain) {
  const Folder folder;
  const fs::path cache = folder.path() / "cache";
  const auto base = one_layer(folder);
  const std::string want = kept_fingerprint(*base, cache);
  const fs::path place = files_in(cache).at(0);
  for (const std::string& damaged : {std::string(), want.substr(0, want.size() / 2), base_fingerprint(*base, 2)}) {
    write_file(place, damaged);
    EXPECT_EQ(kept_fingerprint(*base, cache), want);
    EXPECT_EQ(read_file(place), want) << "and kept again";
  }
}

TEST(KeptFingerprint, IsReadWhereNothingCanBeKept) {
  const Folder folder;
  const auto base = one_layer(folder);
  const fs::path file = folder.file("file", "no folder");
  EXPECT_EQ(kept_fingerprint(*base, file / "cache"), base_fingerprint(*base));
}

}  // namespace
}  // namespace graft
