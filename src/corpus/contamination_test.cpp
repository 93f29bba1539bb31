#include "corpus/contamination.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "corpus/corpus_test_support.h"
#include "statistics/words.h"

namespace graft {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Texts = std::vector<std::string>;

Contamination found_in(const Texts& training, const Texts& examples, const ContaminationSettings& settings = {}) {
  ContaminationCheck check(examples, settings);
  for (std::size_t d = 0; d < training.size(); ++d)
    check.read({training[d], {0, static_cast<std::int64_t>(d) + 1}, true, true});
  return check.result();
}

std::vector<std::size_t> dirty_of(const Contamination& result) {
  std::vector<std::size_t> dirty;
  for (const auto& one : result.dirty) dirty.push_back(one.example);
  return dirty;
}

ContaminationSettings order(std::size_t words) {
  ContaminationSettings settings;
  settings.order = words;
  return settings;
}

// Words `first` to `last` of a text, with other case and punctuation.
std::string disguised(const std::string& text, std::size_t first, std::size_t count) {
  const auto words = split_words(text);
  std::string out = "\"";
  for (std::size_t i = first; i < first + count; ++i) {
    std::string word(words[i]);
    if (i % 2 == 0) std::transform(word.begin(), word.end(), word.begin(), [](char c) { return c == 'w' ? 'W' : c; });
    out += word + (i % 3 == 0 ? ", " : i % 3 == 1 ? "\n" : " -- ");
  }
  return out + "\"";
}

TEST(GramOrder, IsTheFifthPercentileWithinTheBounds) {
  std::vector<std::size_t> lengths(100, 50);
  EXPECT_EQ(gram_order(lengths), 13u);
  std::fill(lengths.begin(), lengths.begin() + 4, 2);
  lengths[50] = 10;
  EXPECT_EQ(gram_order(lengths), 10u) << "4 of 100 are shorter than the fifth";
  std::fill(lengths.begin(), lengths.begin() + 5, 3);
  EXPECT_EQ(gram_order(lengths), 8u);
  EXPECT_EQ(gram_order(std::vector<std::size_t>{9}), 9u);
  EXPECT_EQ(gram_order(Texts{"a, b - c d e f g h i"}), 9u) << "punctuation is no word";
  EXPECT_THAT(error_of([] { gram_order(std::vector<std::size_t>()); }), HasSubstr("no examples"));
}

TEST(Contamination, PlantedRunsAreFoundAndNothingElse) {
  Rng rng(7);
  for (const std::size_t n : {1u, 2u, 8u, 13u, 20u}) {
    Texts examples, training;
    // With 10^9 words nothing is shared by chance.
    for (int e = 0; e < 200; ++e) examples.push_back(random_text(rng, 40, 1'000'000'000));
    std::set<std::size_t> planted;
    for (int d = 0; d < 300; ++d) {
      std::string text = random_text(rng, 30, 1'000'000'000);
      if (d % 3 == 0) {
        const auto example = static_cast<std::size_t>(rng.below(200));
        const bool enough = d % 2 == 0 || n == 1;
        const std::size_t words = enough ? n : n - 1;
        text += " " + disguised(examples[example], static_cast<std::size_t>(rng.below(40 - words + 1)), words) + " " +
                random_text(rng, 5, 1'000'000'000);
        if (enough) planted.insert(example);
      }
      training.push_back(text);
    }
    const auto result = found_in(training, examples, order(n));
    EXPECT_EQ(dirty_of(result), std::vector<std::size_t>(planted.begin(), planted.end())) << n;
    EXPECT_EQ(result.order, n);
    EXPECT_EQ(result.examples, 200);
    EXPECT_EQ(result.training_documents, 300);
  }
}

TEST(Contamination, ACollisionOfHashesInventsNothing) {
  Rng rng(3);
  Texts examples, training;
  for (int e = 0; e < 50; ++e) examples.push_back(random_text(rng, 12));
  for (int d = 0; d < 50; ++d) training.push_back(random_text(rng, 60) + " " + (d == 17 ? examples[5] : ""));
  for (const int bits : {64, 8, 2, 1}) {
    ContaminationSettings settings = order(8);
    settings.hash_bits = bits;
    EXPECT_THAT(dirty_of(found_in(training, examples, settings)), ElementsAre(5)) << bits;
  }
}

TEST(Contamination, TheFirstMatchIsTold) {
  const Texts examples = {"one two three four five six seven eight nine ten"};
  const auto result = found_in(
      {"nothing", "x Two, three, FOUR five six: seven eight nine y", "two three four five six seven eight nine"},
      examples, order(8));
  ASSERT_EQ(result.dirty.size(), 1u);
  const DirtyExample& dirty = result.dirty.front();
  EXPECT_EQ(dirty.gram, "two three four five six seven eight nine");
  EXPECT_EQ(dirty.place.line, 2);
  EXPECT_EQ(dirty.documents, 2);
  EXPECT_EQ(dirty.matched, 1);
  EXPECT_EQ(dirty.grams, 3);
  EXPECT_EQ(result.training_words, 1 + 10 + 8);
}

TEST(Contamination, ShorterExamplesAreLookedForWhole) {
  const Texts examples = {"red green blue", "red green", "?!", "blue green red"};
  const auto result = found_in({"a red, green; blue b"}, examples, order(8));
  EXPECT_THAT(dirty_of(result), ElementsAre(0, 1));
  EXPECT_EQ(result.shorter, 3);
  EXPECT_EQ(result.empty, 1);
  EXPECT_EQ(result.dirty[0].gram, "red green blue");
}

TEST(Contamination, CommonNgramsAreNotLookedAt) {
  const Texts examples = {"to be or not to be", "all rights reserved by the owner"};
  Texts training(10, "All rights reserved by the owner.");
  EXPECT_THAT(dirty_of(found_in(training, examples, order(6))), ElementsAre(1)) << "ten documents are not too many";
  // Twice in one document is one document.
  training.back() += " All rights reserved by the owner.";
  EXPECT_THAT(dirty_of(found_in(training, examples, order(6))), ElementsAre(1));
  training.emplace_back("all rights reserved by the owner and to be or not to be");
  const auto result = found_in(training, examples, order(6));
  EXPECT_THAT(dirty_of(result), ElementsAre(0));
  EXPECT_EQ(result.common, 1);
  ContaminationSettings settings = order(6);
  settings.most_in = 11;
  EXPECT_THAT(dirty_of(found_in(training, examples, settings)), ElementsAre(0, 1));
}

TEST(Contamination, DocumentsDoNotRunIntoEachOther) {
  EXPECT_THAT(dirty_of(found_in({"one two", "three four"}, {"one two three four"}, order(4))), IsEmpty());
}

TEST(Contamination, ChunksOfAnySizeFindTheSame) {
  const Folder folder;
  Rng rng(11);
  Texts examples;
  for (int e = 0; e < 20; ++e) examples.push_back(random_text(rng, 30, 1'000'000));
  std::string text;
  for (int e = 0; e < 20; e += 3)
    text += random_text(rng, 20, 1'000'000) + "\n\n" + disguised(examples[static_cast<std::size_t>(e)], 4, 13) + "\n";
  const std::string file = folder.file("train.txt", text).string();
  for (const std::size_t chunk : {1u, 2u, 3u, 5u, 7u, 16u, 31u, 64u, 200u, 1u << 20}) {
    DocumentSettings settings;
    settings.chunk_bytes = chunk;
    DocumentReader reader({file}, settings);
    ContaminationCheck check(examples, order(13));
    for (Piece piece; reader.next(piece);) check.read(piece);
    const auto result = check.result();
    EXPECT_THAT(dirty_of(result), ElementsAre(0, 3, 6, 9, 12, 15, 18)) << chunk;
    EXPECT_EQ(result.training_documents, 1);
  }
}

TEST(Contamination, NeedsSomethingToLookFor) {
  EXPECT_THAT(error_of([] { ContaminationCheck({}, {}); }), HasSubstr("no examples to look for"));
  const Texts blank = {"?", ""};
  EXPECT_THAT(error_of([&] { ContaminationCheck check(blank, {}); }), HasSubstr("no example holds a word"));
}

TEST(Overlap, CountsHeldOutExamplesThatShareARun) {
  Rng rng(5);
  const std::string shared = random_text(rng, 13);
  const Texts tuned_on = {"a " + shared + " b", "a short one", "x"};
  const Texts held_out = {shared + " and more", random_text(rng, 30), "Short one", "short a", ""};
  const Overlap overlap = overlap_of(tuned_on, held_out);
  EXPECT_EQ(overlap.examples, 5);
  EXPECT_EQ(overlap.shared, 2);
  EXPECT_EQ(overlap.dirty, (std::vector<std::size_t>{0, 2}));
  EXPECT_EQ(overlap_text(overlap), "2 of 5 held-out examples share an 8-gram with the tuning examples");
  EXPECT_EQ(overlap_of({}, {}).order, 13u);
  EXPECT_EQ(overlap_of({}, held_out).shared, 0);
  EXPECT_EQ(overlap_of(tuned_on, {}).examples, 0);
  // However many tuning examples have it.
  EXPECT_EQ(overlap_of(Texts(50, shared), held_out).shared, 1);
}

TEST(Overlap, LooksForAsManyWordsAsTheHeldOutExamplesHave) {
  Rng rng(6);
  const std::string ten = random_text(rng, 10);
  const Texts tuned_on = {random_text(rng, 20) + " " + ten + " " + random_text(rng, 20)};
  // Ten words in common are all of a short example, and less than is looked for where examples are long.
  const Overlap of_short = overlap_of(tuned_on, Texts{ten + " x", random_text(rng, 11)});
  EXPECT_EQ(of_short.order, 11u);
  EXPECT_EQ(of_short.shared, 0);
  EXPECT_EQ(overlap_of(tuned_on, Texts{ten, random_text(rng, 11)}).order, 10u);
  EXPECT_EQ(overlap_of(tuned_on, Texts{ten, random_text(rng, 11)}).shared, 1);
  const Overlap of_long = overlap_of(tuned_on, Texts{ten + " " + random_text(rng, 30), random_text(rng, 40)});
  EXPECT_EQ(of_long.order, 13u);
  EXPECT_EQ(of_long.shared, 0);
  EXPECT_EQ(overlap_of(tuned_on, Texts{ten + " " + random_text(rng, 30)}, 10).shared, 1) << "an order that is given";
  EXPECT_EQ(overlap_text(of_short), "0 of 2 held-out examples share an 11-gram with the tuning examples");
}

}  // namespace
}  // namespace graft
