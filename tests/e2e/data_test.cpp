// graft data as a user meets it: files in, files out, one line for a mistake.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "command.h"
#include "data/parquet_test_support.h"

namespace graft::e2e {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Words = std::vector<std::string>;

const std::string kSentence = "the quick brown fox jumps over the lazy dog while nobody at all is looking";

class Data : public ::testing::Test {
 protected:
  Data() {
    folder_.file("pairs.yaml",
                 "name: pairs\nformat: jsonl\nsplits: {validation: val.jsonl}\nlabel: label\nlabels: [a, b]\n"
                 "templates:\n  - {name: first, prompt: 'Say {text}:'}\n");
    std::string rows;
    for (int row = 0; row < 20; ++row) rows += row_of(row);
    folder_.file("pairs/val.jsonl", rows);
    folder_.file("corpus.jsonl", json{{"text", "nothing of it"}}.dump() + "\n" +
                                     json{{"text", "He wrote: \"" + upper(text_of(3)) + "!\" and left"}}.dump() + "\n");
  }

  static std::string text_of(int row) { return kSentence + " at number " + std::to_string(row); }
  static std::string row_of(int row) {
    return json{{"text", text_of(row)}, {"label", row % 2 == 0 ? "a" : "b"}}.dump() + "\n";
  }
  static std::string upper(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::toupper(c); });
    return text;
  }

  Outcome run(const Words& arguments) const {
    Words words = {"data"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    return graft(folder(), words);
  }
  const fs::path& folder() const { return folder_.path(); }
  json lines(const std::string& file) const {
    json all = json::array();
    for (const auto& line : lines_of(folder() / file)) all.push_back(json::parse(line));
    return all;
  }
  /// The evaluation's examples with their ids, as a check tells them in which all are dirty.
  json all_examples() {
    folder_.file("all.jsonl", read_file(folder() / "pairs/val.jsonl"));
    EXPECT_EQ(run({"contamination", "--train", "all.jsonl", "--task", "pairs.yaml", "--data", "pairs", "--common",
                   "100", "--output", "ids"})
                  .code,
              0);
    return lines("ids/dirty.jsonl");
  }

  Folder folder_;
};

// Arrow, which reads Parquet, takes longer to load than a short command runs: the loader tells when it is loaded.
TEST_F(Data, ParquetIsReadAndOtherwiseCostsNothing) {
  if (!reads_parquet()) GTEST_SKIP() << kNoParquet;
  ::setenv("LD_DEBUG", "files", 1);
  const Outcome without = run({"stats", "corpus.jsonl"});
  const Outcome with = run({"stats", parquet_file("train-00000-of-00002.parquet").string(), "--json"});
  ::unsetenv("LD_DEBUG");
  ASSERT_EQ(without.code, 0) << without.err;
  EXPECT_EQ(without.err.find("libarrow"), std::string::npos);
  ASSERT_EQ(with.code, 0) << with.err;
  EXPECT_NE(with.err.find("libarrow"), std::string::npos);
  EXPECT_EQ(json::parse(with.out).at("documents").at("all").at("documents"), 300);
  const std::string whole = read_file(parquet_file("types.parquet"));
  folder_.file("cut.parquet", whole.substr(0, whole.size() / 2));
  expect_refused(run({"stats", "cut.parquet"}), 4, {"cut.parquet: cannot be read as Parquet", "fetch it again"});
}

TEST_F(Data, ContaminationNamesExamplesAndPlaces) {
  folder_.file("sentence.txt", "Once more: " + kSentence + ".");
  const Outcome end = run({"contamination", "--train", "corpus.jsonl", "--task", "pairs.yaml", "--data", "pairs",
                           "--ngram", "18", "--output", "seen"});
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.out.find("pairs: 20 examples, 18-grams"), std::string::npos) << end.out;
  EXPECT_NE(end.out.find("MB/s"), std::string::npos) << end.out;
  const json result = json::parse(read_file(folder() / "seen/contamination.json"));
  EXPECT_EQ(result.at("dirty"), 1);
  EXPECT_EQ(result.at("clean"), 19);
  EXPECT_EQ(result.at("training").at("documents"), 2);
  EXPECT_NE(result.at("command").get<std::string>().find("graft data contamination --train corpus.jsonl"),
            std::string::npos);
  const json dirty = lines("seen/dirty.jsonl");
  ASSERT_EQ(dirty.size(), 1u);
  EXPECT_EQ(dirty[0].at("training_document"), "corpus.jsonl:2");
  EXPECT_EQ(dirty[0].at("where"), "pairs/val.jsonl:4");
  EXPECT_EQ(dirty[0].at("ngram"), text_of(3));
  // All of them share the sentence.
  const Outcome all = run({"contamination", "--train", "sentence.txt", "corpus.jsonl", "--task", "pairs.yaml", "--data",
                           "pairs", "--output", "seen"});
  ASSERT_EQ(all.code, 0) << all.err;
  EXPECT_EQ(json::parse(read_file(folder() / "seen/contamination.json")).at("dirty"), 20);
  EXPECT_TRUE(leftovers(folder()).empty());
}

TEST_F(Data, ContaminationPartsTheScoresOfARun) {
  std::string predictions;
  for (const auto& line : all_examples()) {
    const bool dirty = line.at("where") == "pairs/val.jsonl:4";
    for (const char* phase : {"before", "after"}) {
      const int right = dirty || phase == std::string("before") ? 1 : 0;
      predictions += json{{"phase", phase}, {"id", line.at("id")}, {"truth", 1}, {"prediction", right}}.dump() + "\n";
    }
  }
  folder_.file("run/predictions.jsonl", predictions);
  const Words check = {"contamination", "--train", "corpus.jsonl",  "--task", "pairs.yaml", "--data", "pairs",
                       "--ngram",       "18",      "--predictions", "run",    "--output",   "seen"};
  const Outcome end = run(check);
  ASSERT_EQ(end.code, 0) << end.err;
  const json scores = json::parse(read_file(folder() / "seen/contamination.json")).at("scores");
  ASSERT_EQ(scores.size(), 2u);
  EXPECT_EQ(scores[1].at("setting"), "after");
  EXPECT_EQ(scores[1].at("all").at("accuracy"), 0.05);
  EXPECT_EQ(scores[1].at("clean").at("accuracy"), 0.0);
  EXPECT_EQ(scores[1].at("clean").at("examples"), 19);
  EXPECT_EQ(scores[1].at("dirty").at("accuracy"), 1.0);
  EXPECT_NE(end.out.find("after"), std::string::npos) << end.out;
  folder_.file("run/predictions.jsonl",
               json{{"phase", "after"}, {"id", "other"}, {"truth", 1}, {"prediction", 1}}.dump() + "\n");
  expect_refused(run(check), 2, {"--predictions: none of its 1 examples is among the evaluation's 20"});
}

TEST_F(Data, ContaminationPartsTheScoresOfTexts) {
  std::string predictions;
  for (const auto& line : all_examples()) {
    const bool dirty = line.at("where") == "pairs/val.jsonl:4";
    predictions += json{{"phase", "after"},
                        {"id", line.at("id")},
                        {"output", dirty ? "known" : "guessed"},
                        {"references", {"known"}}}
                       .dump() +
                   "\n";
  }
  folder_.file("run/predictions.jsonl", predictions);
  Words check = {"contamination", "--train", "corpus.jsonl",  "--task", "pairs.yaml", "--data", "pairs",
                 "--ngram",       "18",      "--predictions", "run",    "--output",   "seen"};
  expect_refused(run(check), 2, {"--metric: run does not say what its texts are measured by"});
  check.insert(check.end(), {"--metric", "exact_match"});
  const Outcome end = run(check);
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.out.find("after (exact_match)"), std::string::npos) << end.out;
  const json scores = json::parse(read_file(folder() / "seen/contamination.json")).at("scores");
  ASSERT_EQ(scores.size(), 1u);
  EXPECT_EQ(scores[0].at("metric"), "exact_match");
  EXPECT_EQ(scores[0].at("all").at("score"), 0.05);
  EXPECT_EQ(scores[0].at("clean").at("score"), 0.0);
  EXPECT_EQ(scores[0].at("clean").at("bootstrap_95")[1], 0.0);
  EXPECT_EQ(scores[0].at("dirty").at("score"), 1.0);
  EXPECT_EQ(scores[0].at("dirty").at("examples"), 1);
  check.back() = "exact_mtach";
  expect_refused(run(check), 2, {"did you mean 'exact_match'?"});
}

TEST_F(Data, ContaminationRefusesWhatItCannotRead) {
  const Words task = {"contamination", "--task", "pairs.yaml", "--data", "pairs", "--train"};
  const auto with = [&](const std::string& train) {
    Words words = task;
    words.push_back(train);
    return run(words);
  };
  folder_.file("bad.jsonl", "{\"text\": \"x\"}\n{\"text\": \n");
  folder_.file("other.jsonl", "{\"txet\": \"x\"}\n");
  folder_.file("empty.txt", "");
  expect_refused(with("bad.jsonl"), 4, {"bad.jsonl:2: is not valid JSON"});
  expect_refused(with("other.jsonl"), 2, {"other.jsonl:1: has no field 'text'", "did you mean 'txet'?"});
  expect_refused(with("empty.txt"), 2, {"empty.txt: holds no text"});
  expect_refused(with("none.jsonl"), 3, {"none.jsonl"});
  folder_.file("nothing.jsonl", "\n");
  expect_refused(run({"contamination", "--train", "corpus.jsonl", "--eval", "nothing.jsonl"}), 2, {"has no rows"});
  expect_refused(run({"contamination", "--train", "corpus.jsonl"}), 2, {"--task: name either a task"});
  Words words = task;
  words.insert(words.end(), {"corpus.jsonl", "--ngram", "few"});
  expect_refused(run(words), 2, {"--ngram: 'few'"});
  words = task;
  words.insert(words.end(), {"corpus.jsonl", "--output", "corpus.jsonl"});
  expect_refused(run(words), 6, {"corpus.jsonl"});
}

TEST_F(Data, SlipsAreToldAsOfAnyVerb) {
  expect_refused(run({}), 2, {"data: name a tool (known: contamination", "see graft data --help"});
  expect_refused(run({"dedpu"}), 2, {"unknown tool 'dedpu' (did you mean 'dedup'?); see graft data --help"});
  expect_refused(run({"dedup", "corpus.jsonl", "--outptu", "x"}), 2,
                 {"data dedup: unknown option '--outptu' (did you mean '--output'?); see graft data dedup --help"});
  expect_refused(run({"dedup", "corpus.jsonl", "--output", ""}), 2, {"--output: is empty; see graft data dedup"});
  const Outcome help = run({"mix", "--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_NE(help.out.find("Examples:\n  graft data mix"), std::string::npos) << help.out;
}

TEST_F(Data, DedupFilterAndStatsTellWhatBecameOfDocuments) {
  std::string text;
  for (int row = 0; row < 3; ++row) text += json{{"text", text_of(7)}}.dump() + "\n";
  text += json{{"text", "one two three"}}.dump() + "\n" + json{{"text", "1 2 3 4 5 6"}}.dump() + "\n";
  folder_.file("in.jsonl", text);
  const Outcome dedup = run({"dedup", "in.jsonl", "--output", "unique.jsonl", "--dropped", "dropped.jsonl"});
  ASSERT_EQ(dedup.code, 0) << dedup.err;
  EXPECT_EQ(lines("unique.jsonl").size(), 3u);
  EXPECT_EQ(lines("unique.jsonl")[0].at("text"), text_of(7));
  ASSERT_EQ(lines("dropped.jsonl").size(), 2u);
  EXPECT_EQ(lines("dropped.jsonl")[1].at("where"), "in.jsonl:3");
  EXPECT_EQ(lines("dropped.jsonl")[1].at("of"), "in.jsonl:1");
  EXPECT_NE(dedup.out.find("like an earlier document"), std::string::npos) << dedup.out;
  expect_refused(run({"dedup", "in.jsonl", "--output", "unique.jsonl"}), 2, {"unique.jsonl: exists already"});
  for (const char* tool : {"dedup", "filter"}) {
    expect_refused(run({tool, "in.jsonl", "--output", "new.jsonl", "--dropped", "in.jsonl"}), 2,
                   {"in.jsonl: exists already"});
    expect_refused(run({tool, "in.jsonl", "--output", "new.jsonl", "--dropped", "./new.jsonl"}), 2,
                   {"--dropped: './new.jsonl' is the file of --output too"});
    EXPECT_EQ(read_file(folder() / "in.jsonl"), text) << "it was overwritten";
    EXPECT_FALSE(fs::exists(folder() / "new.jsonl"));
    EXPECT_TRUE(leftovers(folder()).empty());
  }

  const Outcome filter =
      run({"filter", "unique.jsonl", "--min-words", "4", "--min-letters-share", "0.5", "--output", "kept.jsonl"});
  ASSERT_EQ(filter.code, 0) << filter.err;
  EXPECT_EQ(lines("kept.jsonl").size(), 1u);
  EXPECT_NE(filter.out.find("fewer than 4 words"), std::string::npos) << filter.out;
  EXPECT_NE(filter.out.find("are letters"), std::string::npos) << filter.out;

  const Outcome history = run({"stats", "kept.jsonl"});
  ASSERT_EQ(history.code, 0) << history.err;
  EXPECT_NE(history.out.find("graft data dedup: in.jsonl to unique.jsonl"), std::string::npos) << history.out;
  EXPECT_NE(history.out.find("graft data filter: unique.jsonl to kept.jsonl"), std::string::npos) << history.out;
  EXPECT_LT(history.out.find("like an earlier document"), history.out.find("fewer than 4 words")) << history.out;
  const json made = json::parse(run({"stats", "kept.jsonl", "--json"}).out).at("made_by");
  ASSERT_EQ(made.size(), 2u);
  EXPECT_EQ(made[0].at("documents").at("like an earlier document").at("documents"), 2);
  EXPECT_EQ(made[1].at("documents").at("all").at("documents"), 3);
  write_file(folder() / "kept.jsonl", read_file(folder() / "kept.jsonl") + json{{"text", "more"}}.dump() + "\n");
  const Outcome changed = run({"stats", "kept.jsonl"});
  EXPECT_NE(changed.err.find("kept.jsonl was changed since"), std::string::npos) << changed.err;
  EXPECT_EQ(changed.out.find("graft data filter"), std::string::npos) << changed.out;
  folder_.file("other.jsonl.tally", "mine");
  expect_refused(run({"filter", "in.jsonl", "--output", "other.jsonl"}), 4, {"other.jsonl.tally: is no tally"});
  EXPECT_FALSE(fs::exists(folder() / "other.jsonl"));

  const Outcome stats = run({"stats", "in.jsonl"});
  ASSERT_EQ(stats.code, 0) << stats.err;
  EXPECT_NE(stats.out.find("repeats an earlier document to the letter"), std::string::npos) << stats.out;
  const json told = json::parse(run({"stats", "in.jsonl", "--json"}).out);
  EXPECT_EQ(told.at("documents").at("all").at("documents"), 5);
  EXPECT_EQ(told.at("documents").at("kept").at("documents"), 3);
  EXPECT_EQ(told.at("words").at("quantiles").at("1"), 18);
  folder_.file("latin.txt", "caf\xE9");
  EXPECT_NE(run({"stats", "latin.txt", "in.jsonl"}).err.find("1 of 6 documents hold bytes that are not UTF-8"),
            std::string::npos);
  EXPECT_EQ(stats.err.find("UTF-8"), std::string::npos) << stats.err;
}

TEST_F(Data, AClassifierIsTrainedAndUsed) {
  std::string good, bad;
  for (int row = 0; row < 60; ++row) {
    good += json{{"text", "a fine sentence about gardens " + std::to_string(row)}}.dump() + "\n";
    bad += json{{"text", "click buy now cheap " + std::to_string(row)}}.dump() + "\n";
  }
  folder_.file("good.jsonl", good);
  folder_.file("bad.jsonl", bad);
  const Words train = {"classifier", "--good", "good.jsonl", "--bad", "bad.jsonl", "--output", "quality.json"};
  const Outcome end = run(train);
  ASSERT_EQ(end.code, 0) << end.err;
  EXPECT_NE(end.out.find("100.0%"), std::string::npos) << end.out;
  expect_refused(run(train), 2, {"quality.json: exists already"});
  const Outcome filter = run({"filter", "good.jsonl", "bad.jsonl", "--classifier", "quality.json", "--output",
                              "kept.jsonl", "--dropped", "dropped.jsonl"});
  ASSERT_EQ(filter.code, 0) << filter.err;
  const auto kept = lines("kept.jsonl");
  const auto fine = std::count_if(kept.begin(), kept.end(), [](const json& line) {
    return line.at("text").get<std::string>().starts_with("a fine");
  });
  EXPECT_GT(fine, 30);
  EXPECT_LT(static_cast<std::int64_t>(kept.size()) - fine, 20);
  EXPECT_TRUE(lines("dropped.jsonl")[0].contains("score"));
  expect_refused(run({"filter", "good.jsonl", "--classifier", "good.jsonl", "--output", "x.jsonl"}), 4,
                 {"good.jsonl: is no classifier"});
}

TEST_F(Data, ALanguageIsKept) {
  std::string english, other;
  for (int row = 0; row < 20; ++row) {
    english += json{{"text", "the thing that was there with them " + std::to_string(row)}}.dump() + "\n";
    other += json{{"text", "das was nicht dort gewesen ist und auch " + std::to_string(row)}}.dump() + "\n";
  }
  folder_.file("english.jsonl", english);
  folder_.file("other.jsonl", other);
  const Words train = {"classifier", "--good", "english.jsonl", "--bad", "other.jsonl", "--output"};
  const auto with = [&train](const Words& more) {
    Words words = train;
    words.insert(words.end(), more.begin(), more.end());
    return words;
  };
  ASSERT_EQ(run(with({"english.json", "--characters"})).code, 0);
  ASSERT_EQ(run(with({"words.json"})).code, 0);
  folder_.file("in.jsonl", json{{"text", "then the other thing"}}.dump() + "\n" +
                               json{{"text", "nicht gewesen, und dort auch nicht"}}.dump() + "\n" +
                               json{{"text", "1 2 3"}}.dump() + "\n");
  const Outcome filter =
      run({"filter", "in.jsonl", "--language", "english.json", "--output", "kept.jsonl", "--dropped", "dropped.jsonl"});
  ASSERT_EQ(filter.code, 0) << filter.err;
  ASSERT_EQ(lines("kept.jsonl").size(), 1u);
  EXPECT_EQ(lines("kept.jsonl")[0].at("text"), "then the other thing");
  ASSERT_EQ(lines("dropped.jsonl").size(), 2u);
  EXPECT_EQ(lines("dropped.jsonl")[0].at("why"), "a language score below 0.5");
  EXPECT_TRUE(lines("dropped.jsonl")[0].contains("language"));
  EXPECT_EQ(lines("dropped.jsonl")[1].at("why"), "no letters that tell a language");
  expect_refused(run({"filter", "in.jsonl", "--language", "words.json", "--output", "x.jsonl"}), 2,
                 {"--language: 'words.json' learnt words", "--characters"});
}

TEST_F(Data, AMixtureKeepsToItsWeights) {
  folder_.file("a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"aa\"}\n");
  folder_.file("b.jsonl", "{\"text\": \"b\"}\n");
  const Outcome end =
      run({"mix", "--source", "a=a.jsonl:2", "--source", "b=b.jsonl:1", "--documents", "9", "--output", "mix.jsonl"});
  ASSERT_EQ(end.code, 0) << end.err;
  const auto all = lines("mix.jsonl");
  ASSERT_EQ(all.size(), 9u);
  EXPECT_EQ(std::count_if(all.begin(), all.end(), [](const json& line) { return line.at("source") == "a"; }), 6);
  EXPECT_NE(end.out.find("3.00"), std::string::npos) << end.out;
  folder_.file("x.jsonl.tally", "mine");
  expect_refused(run({"mix", "--source", "a=a.jsonl", "--documents", "9", "--output", "x.jsonl"}), 4,
                 {"x.jsonl.tally: is no tally"});
  EXPECT_FALSE(fs::exists(folder() / "x.jsonl"));
  expect_refused(run({"mix", "--source", "a=a.jsonl", "--output", "x.jsonl"}), 2, {"--documents"});
  expect_refused(run({"mix", "--source", "a=a.jsonl", "--tokens", "9", "--output", "x.jsonl"}), 2, {"--tokenizer"});
}

TEST_F(Data, StatsOfAMixtureTellWhatItsSourcesDroppedAndTheirEpochs) {
  folder_.file("raw.jsonl", "{\"text\": \"one two three\"}\n{\"text\": \"one\"}\n{\"text\": \"one two four\"}\n");
  folder_.file("wiki.jsonl", "{\"text\": \"w\"}\n");
  ASSERT_EQ(run({"filter", "raw.jsonl", "--min-words", "2", "--output", "web.jsonl"}).code, 0);
  ASSERT_EQ(run({"mix", "--source", "web=web.jsonl:2", "--source", "wiki=wiki.jsonl", "--documents", "9", "--output",
                 "mix.jsonl"})
                .code,
            0);
  const Outcome end = run({"stats", "mix.jsonl"});
  ASSERT_EQ(end.code, 0) << end.err;
  for (const char* part : {"graft data filter: raw.jsonl to web.jsonl", "fewer than 2 words",
                           "graft data mix: web.jsonl, wiki.jsonl to mix.jsonl", "epochs", "3.00"})
    EXPECT_NE(end.out.find(part), std::string::npos) << part << "\n" << end.out;
  const json made = json::parse(run({"stats", "mix.jsonl", "--json"}).out).at("made_by");
  ASSERT_EQ(made.size(), 2u);
  EXPECT_FALSE(made[0].contains("sources"));
  EXPECT_EQ(made[1].at("documents").at("kept").at("documents"), 9);
  EXPECT_EQ(made[1].at("sources")[0].at("name"), "web");
  EXPECT_EQ(made[1].at("sources")[0].at("epochs"), 3.0);
  EXPECT_EQ(made[1].at("sources")[1].at("documents"), 3);
}

TEST_F(Data, NothingIsLeftWhereNothingCanBeWritten) {
  Limits small;
  small.file_bytes = 1000;
  std::string text;
  for (int row = 0; row < 100; ++row) text += json{{"text", text_of(row) + std::to_string(row * row)}}.dump() + "\n";
  folder_.file("in.jsonl", text);
  const Outcome end = graft(folder(), {"data", "filter", "in.jsonl", "--output", "out.jsonl"}, small);
  expect_refused(end, 7, {"out.jsonl"});
  EXPECT_FALSE(fs::exists(folder() / "out.jsonl"));
  EXPECT_TRUE(leftovers(folder()).empty());
}

}  // namespace
}  // namespace graft::e2e
