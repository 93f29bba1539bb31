// graft data filter and graft data classifier: which documents are worth their place.
#include <fmt/format.h>

#include <cstdio>
#include <optional>

#include "base/error.h"
#include "base/progress.h"
#include "cli/core/columns.h"
#include "cli/core/data_tools.h"
#include "cli/core/options.h"
#include "corpus/filter.h"
#include "corpus/quality.h"
#include "corpus/tally_file.h"
#include "report/markup.h"
#include "statistics/proportion.h"

namespace graft {
namespace {

struct FilterArguments {
  std::vector<std::string> files;
  std::string output, dropped, classifier, language;
  DocumentSettings documents;
  FilterSettings rules;
  double alpha = 9, min_language = 0.5;
  std::uint64_t seed = 0;
};

struct ClassifierArguments {
  std::vector<std::string> good, bad;
  std::string output;
  DocumentSettings documents;
  QualitySettings settings;
  bool characters = false;
};

FilterArguments filter_arguments;
ClassifierArguments classifier_arguments;

void declare_filter(CLI::App& app) {
  FilterArguments& a = filter_arguments;
  add_documents(app, a.files, a.documents);
  app.add_option("--output", a.output, "new .jsonl file for what is kept")->required();
  app.add_option("--min-words", a.rules.min_words, "fewer words: dropped");
  app.add_option("--max-words", a.rules.max_words, "more words: dropped");
  app.add_option("--min-letters-share", a.rules.min_letters_share,
                 "least share of letters among the characters that are no white space, 0 to 1");
  app.add_option("--max-repeated-lines", a.rules.max_repeated_lines,
                 "largest share of lines that repeat an earlier line, 0 to 1");
  app.add_option("--min-word-length", a.rules.min_word_length, "least mean length of words, in characters");
  app.add_option("--max-word-length", a.rules.max_word_length, "largest mean length of words, in characters");
  app.add_option("--language", a.language,
                 "of graft data classifier --characters: drops what is not in the language of its good texts");
  app.add_option("--min-language", a.min_language, "score from which a document is in that language, 0 to 1")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--classifier", a.classifier, "of graft data classifier: keeps a document by chance and its score");
  app.add_option("--alpha", a.alpha, "the larger, the fewer documents of low scores are kept")
      ->check(CLI::Range(0.01, 1000.0))
      ->capture_default_str();
  app.add_option("--seed", a.seed, "of that chance")->check(count_from(0))->capture_default_str();
  app.add_option("--dropped", a.dropped, "new .jsonl file that lists what is dropped, and why");
}

// Why documents are dropped, the cheapest rules first.
class Judge {
 public:
  explicit Judge(const FilterArguments& a) : a_(a), rng_(a.seed) {
    check_filter(a_.rules);
    if (!a_.classifier.empty()) quality_ = QualityModel::load(a_.classifier);
    if (a_.language.empty()) return;
    language_ = QualityModel::load(a_.language);
    if (language_->kind() != FeatureKind::Characters)
      fail(Category::InvalidArgument, "--language",
           "'{}' learnt words, which tell no language; train it with --characters", a_.language);
  }

  /// Empty: the document is kept. `scores` gets what was measured.
  std::string reason(const std::string& text, nlohmann::ordered_json& scores) {
    std::string why = broken_rule(text, a_.rules);
    if (why.empty() && language_) why = language_reason(text, scores);
    if (!why.empty() || !quality_) return why;
    const double score = quality_->score(text);
    scores["score"] = score;
    return keeps(score, a_.alpha, rng_) ? "" : "the classifier's score and chance";
  }

 private:
  std::string language_reason(const std::string& text, nlohmann::ordered_json& scores) const {
    const TextFeatures features = text_features(text, language_->bits(), FeatureKind::Characters);
    if (features.empty()) return "no letters that tell a language";
    const double score = language_->score(features);
    scores["language"] = score;
    return score < a_.min_language ? fmt::format("a language score below {:g}", a_.min_language) : "";
  }

  const FilterArguments& a_;
  std::optional<QualityModel> quality_, language_;
  Rng rng_;
};

int run_filter() {
  const FilterArguments& a = filter_arguments;
  Judge judge(a);
  const ReadingTime time;
  DocumentReader reader(a.files, a.documents, "filter");
  DocumentWriter output(a.output, a.documents.field);
  DroppedList dropped(a.dropped, a.output);
  const TallyFile history(a.output, reader.files());
  Tally tally;
  for (Document document; reader.next(document);) {
    nlohmann::ordered_json scores = nlohmann::ordered_json::object();
    const std::string why = judge.reason(document.text, scores);
    tally.count(why.empty() ? "kept" : why, document.text.size());
    if (why.empty()) {
      output.write(document.text);
    } else {
      dropped.write(reader.where(document.place), why, scores);
    }
  }
  output.commit();
  dropped.commit();
  note_garbled(reader);
  history.write("filter", tally);
  print_tally(tally.lines());
  fmt::print("read {}\noutput: {}\n", time.told(reader.bytes()), a.output);
  return 0;
}

void declare_classifier(CLI::App& app) {
  ClassifierArguments& a = classifier_arguments;
  app.add_option("--good", a.good,
                 "files of text as it should be: .txt, .jsonl, .csv, .tsv or .parquet, folders of them")
      ->required();
  app.add_option("--bad", a.bad, "files of text as it comes")->required();
  app.add_option("--output", a.output, "new file for the classifier (.json)")->required();
  app.add_flag("--characters", a.characters,
               "learn runs of 1 to 4 characters and not words: good texts of one language, bad ones of others");
  app.add_option("--bits", a.settings.bits, "words, or runs of characters, are hashed to 2^bits features")
      ->check(CLI::Range(1, 26))
      ->capture_default_str();
  app.add_option("--epochs", a.settings.epochs, "passes over the texts")->check(count_from(1))->capture_default_str();
  app.add_option("--held-out", a.settings.held_out, "share of either kind to check the classifier on")
      ->check(CLI::Range(0.0, 0.9))
      ->capture_default_str();
  app.add_option("--seed", a.settings.seed, "of the order and of what is held out")
      ->check(count_from(0))
      ->capture_default_str();
  add_document_options(app, a.documents);
}

void add_all(QualityTrainer& trainer, const std::vector<std::string>& files, bool good) {
  DocumentReader reader(files, classifier_arguments.documents, good ? "read good" : "read bad");
  for (Document document; reader.next(document);) trainer.add(document.text, good);
  note_garbled(reader);
}

std::vector<std::string> check_line(const char* kind, std::int64_t right, std::int64_t texts) {
  if (texts == 0) return {kind, "0", "-"};
  const double part = static_cast<double>(right) / static_cast<double>(texts);
  const Interval interval = wilson(part, texts);
  return {kind, grouped(texts),
          fmt::format("{} ({:.1f}–{:.1f})", percent(part), 100 * interval.low, 100 * interval.high)};
}

int run_classifier() {
  const ClassifierArguments& a = classifier_arguments;
  if (std::error_code ignored; std::filesystem::exists(a.output, ignored))
    fail(Category::InvalidArgument, a.output, "exists already; name a new file");
  AtomicFile(a.output);  // a slip is told before anything is read
  QualitySettings settings = a.settings;
  settings.kind = a.characters ? FeatureKind::Characters : FeatureKind::Words;
  QualityTrainer trainer(settings);
  add_all(trainer, a.good, true);
  add_all(trainer, a.bad, false);
  QualityCheck check;
  const QualityModel model = trainer.train(check);
  model.save(a.output);
  fmt::print("on texts that were held out, right by a score above one half or not:\n");
  print_columns({{"", "texts", "right"},
                 check_line("good", check.good_right, check.good),
                 check_line("bad", check.bad_right, check.bad)});
  fmt::print("output: {}\n", a.output);
  return 0;
}

}  // namespace

namespace data_tools {
const Verb filter{
    "filter", "keep documents by rules, by their language, and by a classifier's score",
    "  graft data filter corpus/*.jsonl --min-words 50 --max-words 100000 --min-letters-share 0.6 --output "
    "kept.jsonl\n"
    "  graft data filter corpus/*.jsonl --classifier quality.json --output kept.jsonl --dropped "
    "dropped.jsonl\n"
    "  graft data filter corpus/*.jsonl --language german.json --min-language 0.7 --output german.jsonl\n",
    declare_filter, run_filter};
const Verb classifier{
    "classifier", "train a classifier of graft data filter: of quality (GPT-3, appendix A) or of a language",
    "  graft data classifier --good wiki.jsonl books/ --bad crawl.jsonl --output quality.json\n"
    "  graft data classifier --characters --good german.txt --bad english.txt french.txt --paragraphs "
    "--output german.json\n",
    declare_classifier, run_classifier};
}  // namespace data_tools
}  // namespace graft
