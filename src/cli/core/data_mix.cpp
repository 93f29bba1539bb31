// graft data mix: documents of several sources by weight, into one file.
#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/progress.h"
#include "cli/core/columns.h"
#include "cli/core/data_tools.h"
#include "cli/core/options.h"
#include "corpus/source_mix.h"
#include "corpus/tally_file.h"
#include "report/markup.h"
#include "text/tokenizer.h"

namespace graft {
namespace {

struct Arguments {
  std::vector<std::string> sources;
  std::string output, tokenizer;
  std::int64_t documents = 0, tokens = 0;
  DocumentSettings settings;
};

Arguments arguments;

void declare(CLI::App& app) {
  Arguments& a = arguments;
  app.add_option("--source", a.sources, "NAME=FILE:WEIGHT, once for each; FILE may be a folder")->required();
  app.add_option("--documents", a.documents, "documents to write")->check(count_from(1));
  app.add_option("--tokens", a.tokens, "or: tokens to write, at least; weights then share out tokens")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1'000'000'000'000'000}));
  app.add_option("--tokenizer", a.tokenizer, "model folder or .gguf file that says what a token is");
  app.add_option("--output", a.output, "new .jsonl file; each line tells its source")->required();
  add_document_options(app, a.settings);
}

void check(const Arguments& a) {
  if ((a.documents > 0) == (a.tokens > 0))
    fail(Category::InvalidArgument, "--documents", "say how much to write with --documents or with --tokens");
  if ((a.tokens > 0) != !a.tokenizer.empty())
    fail(Category::InvalidArgument, "--tokenizer", "belongs to --tokens: name the model whose tokens are counted");
}

void print(const SourceMix& mix) {
  std::vector<std::vector<std::string>> lines = {{"", "weight", "share", "documents", "epochs"}};
  if (arguments.tokens > 0) lines[0].insert(lines[0].begin() + 4, "tokens");
  const auto parts = mix.parts();
  std::int64_t all = 0;
  for (const auto& part : parts) all += part.amount;
  for (const auto& part : parts) {
    lines.push_back({part.name, percent(part.share),
                     percent(static_cast<double>(part.amount) / static_cast<double>(all)), grouped(part.documents),
                     fmt::format("{:.2f}", part.epochs)});
    if (arguments.tokens > 0) lines.back().insert(lines.back().begin() + 4, grouped(part.amount));
  }
  print_columns(lines);
}

std::vector<TallySource> sources_of(const SourceMix& mix) {
  std::vector<TallySource> sources;
  for (const auto& part : mix.parts()) sources.push_back({part.name, part.share, part.documents, part.epochs});
  return sources;
}

int run() {
  const Arguments& a = arguments;
  check(a);
  std::vector<MixSource> sources;
  for (const auto& text : a.sources) sources.push_back(mix_source_of(text));
  SourceMix mix(std::move(sources), a.settings);
  const auto tokenizer = a.tokenizer.empty() ? nullptr : open_tokenizer(a.tokenizer);
  DocumentWriter output(a.output, a.settings.field);
  const TallyFile history(a.output, mix.files());
  Tally tally;
  const std::int64_t wanted = std::max(a.documents, a.tokens);
  Progress progress("mix", wanted);
  for (std::int64_t written = 0; written < wanted;) {
    Document document;
    const std::size_t source = mix.next(document);
    // A text without tokens counts too: else it would be asked for again and again.
    const std::size_t amount = tokenizer ? std::max<std::size_t>(1, tokenizer->encode(document.text).size()) : 1;
    mix.count(source, static_cast<std::int64_t>(amount));
    written += static_cast<std::int64_t>(amount);
    output.write(document.text, mix.name(source));
    tally.count("kept", document.text.size());
    if (written < wanted) progress.update(written);
  }
  progress.finish();
  output.commit();
  history.write("mix", tally, sources_of(mix));
  print(mix);
  fmt::print("output: {}\n", a.output);
  return 0;
}

}  // namespace

namespace data_tools {
const Verb mix{"mix", "documents of several sources by weight, with the epochs of each",
               "  graft data mix --source web=web.jsonl:0.6 --source books=books/:0.3 --source wiki=wiki.jsonl:0.1 "
               "--documents 100000 --output mix.jsonl\n"
               "  graft data mix --source web=web.jsonl:3 --source wiki=wiki.jsonl:1 --tokens 10000000 --tokenizer "
               "./smollm2 --output mix.jsonl\n",
               declare, run};
}  // namespace data_tools
}  // namespace graft
