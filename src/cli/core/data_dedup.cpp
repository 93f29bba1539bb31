// graft data dedup: keeps the first of documents that say nearly the same.
#include <fmt/format.h>

#include "base/error.h"
#include "base/progress.h"
#include "cli/core/data_tools.h"
#include "cli/core/options.h"
#include "corpus/near_duplicates.h"
#include "corpus/tally_file.h"

namespace graft {
namespace {

struct Arguments {
  std::vector<std::string> files;
  std::string output, dropped;
  DocumentSettings documents;
  DuplicateSettings duplicates;
};

Arguments arguments;

void declare(CLI::App& app) {
  Arguments& a = arguments;
  add_documents(app, a.files, a.documents);
  app.add_option("--output", a.output, "new .jsonl file for what is kept")->required();
  app.add_option("--threshold", a.duplicates.threshold, "Jaccard coefficient from which documents are duplicates")
      ->check(CLI::Range(0.01, 1.0))
      ->capture_default_str();
  app.add_option("--hashes", a.duplicates.hashes, "values of a signature, 4 bytes each")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--shingle", a.duplicates.shingle, "words of a shingle, case and punctuation aside")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_flag("--exact", a.duplicates.exact, "compare shingles and not signatures; keeps 8 bytes a word in memory");
  app.add_option("--seed", a.duplicates.seed, "of the hash functions")->check(count_from(0))->capture_default_str();
  app.add_option("--dropped", a.dropped, "new .jsonl file that lists what is dropped, and what it repeats");
}

// The second time, documents are written.
class Keeper {
 public:
  Keeper(const NearDuplicates& duplicates, const Arguments& a)
      : duplicates_(duplicates),
        firsts_(duplicates.clusters()),
        output_(a.output, a.documents.field),
        dropped_(a.dropped, a.output),
        reader_(a.files, a.documents, "write") {}

  Tally run() {
    Tally tally;
    std::vector<Place> places;
    for (Document document; reader_.next(document);) {
      const std::size_t number = places.size();
      places.push_back(document.place);
      refuse_change(places.size());
      const std::uint32_t first = firsts_[number];
      tally.count(first == number ? "kept" : "like an earlier document", document.text.size());
      if (first == number) {
        output_.write(document.text);
      } else {
        dropped_.write(reader_.where(document.place), "like an earlier document",
                       {{"of", reader_.where(places[first])},
                        {"likeness", duplicates_.likeness(first, static_cast<std::uint32_t>(number))}});
      }
    }
    if (places.size() < firsts_.size()) refuse_change(firsts_.size() + 1);
    output_.commit();
    dropped_.commit();
    return tally;
  }

 private:
  void refuse_change(std::size_t count) const {
    if (count > firsts_.size())
      fail(Category::InvalidArgument, "dedup", "the files changed while they were read; start again");
  }

  const NearDuplicates& duplicates_;
  std::vector<std::uint32_t> firsts_;
  DocumentWriter output_;
  DroppedList dropped_;
  DocumentReader reader_;
};

int run() {
  const Arguments& a = arguments;
  const ReadingTime time;
  NearDuplicates duplicates(a.duplicates);
  DocumentWriter(a.output, a.documents.field);  // a slip is told before anything is read
  DroppedList(a.dropped, a.output);
  DocumentReader reader(a.files, a.documents, "read");
  refuse_pipes(reader);
  const TallyFile history(a.output, reader.files());
  for (Document document; reader.next(document);) duplicates.add(document.text);
  note_garbled(reader);
  const Tally tally = Keeper(duplicates, a).run();
  const Bands& bands = duplicates.bands();
  history.write("dedup", tally);
  print_tally(tally.lines());
  fmt::print("{} bands of {} values find documents of likeness {:g} with a probability of {:.3f}\n", bands.bands,
             bands.rows, a.duplicates.threshold, bands.chance(a.duplicates.threshold));
  fmt::print("read twice: {}\noutput: {}\n", time.told(2 * reader.bytes()), a.output);
  return 0;
}

}  // namespace

namespace data_tools {
const Verb dedup{"dedup", "keep the first of documents that say nearly the same (MinHash)",
                 "  graft data dedup corpus/*.jsonl --output unique.jsonl\n"
                 "  graft data dedup pages.txt --paragraphs --threshold 0.9 --exact --output unique.jsonl --dropped "
                 "dropped.jsonl\n",
                 declare, run};
}  // namespace data_tools
}  // namespace graft
