#include "corpus/plain_words.h"

#include <gmock/gmock.h>

#include <set>

namespace graft {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> words_of(const std::string& text) {
  PlainWords words;
  words.append(text);
  std::vector<std::string> all;
  for (std::size_t i = 0; i < words.size(); ++i) all.emplace_back(words.word(i));
  return all;
}

TEST(PlainWords, HaveNoCaseAndNoPunctuation) {
  EXPECT_THAT(words_of("Don't  PANIC -- it's (only) a \"test\",\nnumber 4.2!"),
              ElementsAre("dont", "panic", "its", "only", "a", "test", "number", "42"));
  EXPECT_THAT(words_of(" ... \t\n"), ElementsAre());
  EXPECT_THAT(words_of(""), ElementsAre());
}

TEST(PlainWords, KnowUnicode) {
  EXPECT_THAT(words_of("«ÉTÉ»\u00A0à Zürich\u2003– \u201CОтец\u201D 5€"),
              ElementsAre("été", "à", "zürich", "отец", "5€"));
  // Lower-case letters with more bytes than the capital.
  EXPECT_THAT(words_of(std::string("\u023A\u023A\u023A\u023A")), ElementsAre("\u2C65\u2C65\u2C65\u2C65"));
}

TEST(PlainWords, ComeInPieces) {
  PlainWords words;
  words.append("One, two");
  words.append("three");
  words.append("");
  words.append(" Four.");
  EXPECT_EQ(words.size(), 4u);
  EXPECT_EQ(words.all(), "one two three four");
  EXPECT_EQ(words.run(1, 2), "two three");
  words.drop_front(0);
  words.drop_front(2);
  EXPECT_EQ(words.all(), "three four");
  words.append("five");
  EXPECT_EQ(words.word(2), "five");
  words.drop_front(3);
  EXPECT_EQ(words.all(), "");
  words.append("six");
  EXPECT_EQ(words.all(), "six");
  words.clear();
  EXPECT_EQ(words.size(), 0u);
}

TEST(RunHashes, AreThoseOfTheWordsWhereverTheyStand) {
  PlainWords words, others;
  words.append("a b c d a b c");
  others.append("x a b c");
  RunHashes hashes(3), other(3);
  hashes.follow(words);
  other.follow(others);
  EXPECT_EQ(hashes.hash(0, 3), hashes.hash(4, 3));
  EXPECT_EQ(hashes.hash(0, 3), other.hash(1, 3));
  const std::set<std::uint64_t> different = {hashes.hash(0, 1), hashes.hash(0, 2), hashes.hash(0, 3),
                                             hashes.hash(1, 3), hashes.hash(1, 2), hashes.hash(1, 1)};
  EXPECT_EQ(different.size(), 6u);
  const std::uint64_t before = hashes.hash(4, 3);
  hashes.drop_front(4);
  EXPECT_EQ(hashes.hash(0, 3), before);
}

TEST(RunHashes, TellTheOrderOfWords) {
  PlainWords words;
  words.append("a b b a");
  RunHashes hashes(2);
  hashes.follow(words);
  EXPECT_NE(hashes.hash(0, 2), hashes.hash(2, 2));
}

TEST(HashOfWord, DependsOnEveryByteAndOnTheLength) {
  std::set<std::uint64_t> hashes;
  const std::string word = "abcdefghijklmnopq";
  for (std::size_t i = 0; i <= word.size(); ++i) {
    hashes.insert(hash_of_word(word.substr(0, i)));
    std::string changed = word;
    if (i < word.size()) changed[i] = 'z';
    hashes.insert(hash_of_word(changed));
  }
  hashes.insert(hash_of_word(std::string("a\0", 2)));
  EXPECT_EQ(hashes.size(), 2 * word.size() + 2);
}

}  // namespace
}  // namespace graft
