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
  std::string output, dropped, classifier;
  DocumentSettings documents;
  FilterSettings rules;
  double alpha = 9;
  std::uint64_t seed = 0;
};

struct ClassifierArguments {
  std::vector<std::string> good, bad;
  std::string output;
  DocumentSettings documents;
  QualitySettings settings;
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
  app.add_option("--classifier", a.classifier, "of graft data classifier: keeps a document by chance and its score");
  app.add_option("--alpha", a.alpha, "the larger, the fewer documents of low scores are kept")
      ->check(CLI::Range(0.01, 1000.0))
      ->capture_default_str();
  app.add_option("--seed", a.seed, "of that chance")->check(count_from(0));
  app.add_option("--dropped", a.dropped, "new .jsonl file that lists what is dropped, and why");
}

int run_filter() {
  const FilterArguments& a = filter_arguments;
  check_filter(a.rules);
  std::optional<QualityModel> model;
  if (!a.classifier.empty()) model = QualityModel::load(a.classifier);
  const ReadingTime time;
  DocumentReader reader(a.files, a.documents, "filter");
  DocumentWriter output(a.output, a.documents.field);
  DroppedList dropped(a.dropped, a.output);
  const TallyFile history(a.output, reader.files());
  Rng rng(a.seed);
  Tally tally;
  for (Document document; reader.next(document);) {
    std::string why = broken_rule(document.text, a.rules);
    nlohmann::ordered_json more = nlohmann::ordered_json::object();
    if (why.empty() && model) {
      const double score = model->score(document.text);
      if (!keeps(score, a.alpha, rng)) why = "the classifier's score and chance";
      more["score"] = score;
    }
    tally.count(why.empty() ? "kept" : why, document.text.size());
    if (why.empty()) {
      output.write(document.text);
    } else {
      dropped.write(reader.where(document.place), why, more);
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
  app.add_option("--good", a.good, "files of text as it should be: .txt, .jsonl, .csv or .tsv, folders of them")
      ->required();
  app.add_option("--bad", a.bad, "files of text as it comes")->required();
  app.add_option("--output", a.output, "new file for the classifier (.json)")->required();
  app.add_option("--bits", a.settings.bits, "words are hashed to 2^bits features")
      ->check(CLI::Range(1, 26))
      ->capture_default_str();
  app.add_option("--epochs", a.settings.epochs, "passes over the texts")->check(count_from(1))->capture_default_str();
  app.add_option("--held-out", a.settings.held_out, "share of either kind to check the classifier on")
      ->check(CLI::Range(0.0, 0.9))
      ->capture_default_str();
  app.add_option("--seed", a.settings.seed, "of the order and of what is held out")->check(count_from(0));
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
  QualityTrainer trainer(a.settings);
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
    "filter", "keep documents by rules, and by a classifier's score",
    "  graft data filter corpus/*.jsonl --min-words 50 --max-words 100000 --min-letters-share 0.6 --output "
    "kept.jsonl\n"
    "  graft data filter corpus/*.jsonl --classifier quality.json --output kept.jsonl --dropped "
    "dropped.jsonl\n",
    declare_filter, run_filter};
const Verb classifier{"classifier", "train the classifier of graft data filter (GPT-3, appendix A)",
                      "  graft data classifier --good wiki.jsonl books/ --bad crawl.jsonl --output quality.json\n",
                      declare_classifier, run_classifier};
}  // namespace data_tools
}  // namespace graft
