// What a cache keeps of beams. tests/laws hold what it keeps of texts to the bytes that are there.
#include "generate/cached_step.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "generate/tiny_llama_test.h"

namespace graft {
namespace {

TEST(KeptBytes, BeamsShareFullPagesAndCopyTheLast) {
  const auto model = tiny_llama();
  const auto kept = [&model](std::int64_t read, std::int64_t written, std::int64_t beams) {
    return kept_bytes(*model, {1, read, written, beams}, KvFormat::Dense);
  };
  EXPECT_EQ(kept(20, 10, 4), 4 * kept(20, 10, 1)) << "no page of the prompt is full";
  EXPECT_EQ(kept(1000, 10, 4), kept(1000, 0, 1) + 3 * kept(KvCache::kPageTokens - 1, 0, 1) + 4 * kept(0, 10, 1));
}

TEST(KeptBytes, HeadsThatShareKeysKeepThemOnce) {
  const auto model = tiny_llama();  // two layers; four heads of eight numbers, two of keys
  EXPECT_EQ(kept_bytes(*model, {1, 1, 0, 1}, KvFormat::Dense), 2 * 2 * 2 * 8 * 4);
  EXPECT_EQ(kept_bytes(*model, {1, 1, 0, 1}, KvFormat::EightBit), 2 * 2 * 2 * (8 + 4));
}

}  // namespace
}  // namespace graft
